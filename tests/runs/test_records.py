"""What may stand in each file of a run, and what the files say that do not fit."""

import json
import os
import re

import pytest
from conftest import replace_checkpoint

from aectl.data.datasets.synthetic import Synthetic
from aectl.errors import CheckpointError, DataError
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, opening, papers, records
from aectl.runs.records import Best, Environment, Progress, State
from aectl.settings import typed
from aectl.training import loop
from configs import train_config

RESULT = {"status": "completed", "overrides": ["latent=2"], "step": 4, "seconds": 0.5, "objective": 7.0}
FAILED = {"status": "failed", "overrides": [], "error": "no", "exit_code": 5}


@pytest.mark.parametrize(
    ("progress", "words"),
    [(Progress(step=3, epoch=4), "step: is 3 after 4 epochs and 0 batches"),
     (Progress(step=10**9, batch=10**18), "and 1000000000000000000 batches"),
     (Progress(step=9, epoch=2, since_best=3), "since_best: is 3 after 2 epochs"),
     (Progress(step=9, epoch=2, best=Best(1.0, 12, 2)), "best: is of epoch 2, step 12, which are yet to come"),
     (Progress(step=9, epoch=2, best=Best(1.0, 9, 3)), "best: is of epoch 3")],
)  # fmt: skip
def test_counts_that_cannot_stand_beside_each_other(progress, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        progress.check()


@pytest.mark.parametrize(
    ("progress", "words"),
    [(Progress(step=8, epoch=1, batch=4), "batch: 4 are finished in epochs of 4"),
     (Progress(step=9, epoch=2), "step: is 9 after 2 epochs and 0 batches, in epochs of 4"),
     (Progress(step=8, epoch=2, best=Best(1.0, 5, 1)), "best.step: is 5 at the end of epoch 1, in epochs of 4")],
)  # fmt: skip
def test_counts_that_no_run_of_such_epochs_has(progress, words):
    progress.check()
    with pytest.raises(ValueError, match=re.escape(words)):
        progress.check_within(4)
    Progress(step=11, epoch=2, batch=3, best=Best(1.0, 4, 1), since_best=1).check_within(4)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"step": -1}, "state.step=-1"), ({"epoch": True}, "state.epoch=true"), ({"batch": 1.0}, "state.batch=1.0"),
     ({"best": {"value": 1, "step": 1}}, "state.best.epoch: is missing"), ({"seconds": -1}, "state.seconds=-1"),
     ({"seconds": "1"}, "state.seconds=1"), ({"surprise": 1}, "state.surprise: no such setting"),
     ({"environment": []}, "state.environment: must be a mapping"),
     ({"environment": {"torch": 2}}, "state.environment.torch=2: must be text"),
     ({"environment": {"threads": "1"}}, "state.environment.threads=1: must be a whole number"),
     ({"environment": {"device": "cpu\n"}}, "state.environment.device=cpu: must be a line"),
     ({"environment": {"device": "x" * 101}}, "must be a line of at most 100 letters")],
)  # fmt: skip
def test_a_state_that_cannot_be(change, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        typed.from_dict(State, {"step": 4, "epoch": 1, **change}, "state")


def test_a_run_whose_epochs_have_another_number_of_batches_is_not_gone_on_with(tmp_path):
    data = Synthetic(val_size=10, test_size=10, synthetic_size=60, synthetic_shape=[1, 8, 8])
    config = train_config(
        dataset=data, network=Mlp(hidden=[4]), batch_size=16, epochs=2, device="cpu", figures_every=0
    )
    loop.train(config, tmp_path)
    saved = checkpoint.newest(layout.checkpoints_of(tmp_path))[0]
    assert (saved.state["step"], saved.state["epoch"]) == (6, 2)
    changed = {**saved.state, "epoch": 1, "best": {**saved.state["best"], "epoch": 1, "step": 3}}
    replace_checkpoint(saved, state=changed)
    with pytest.raises(CheckpointError, match="step: is 6 after 1 epochs and 0 batches, in epochs of 3"):
        loop.train(train_config(resume=str(tmp_path)), tmp_path)


def test_a_newer_version_may_say_more_of_where_it_ran_and_how_it_ended():
    state = typed.from_dict(State, {"environment": {"torch": "3", "compiler": ["x"]}}, "state")
    assert state.environment == Environment(torch="3")
    found = records.result({**RESULT, "mood": ["good"], "val/new": 3.5, "val/loss": None})
    assert found == {**RESULT, "val/new": 3.5, "val/loss": None}


@pytest.mark.parametrize(
    ("change", "key"),
    [({"status": "good"}, "status"), ({"status": None}, "status"), ({"overrides": "latent=2"}, "overrides"),
     ({"overrides": [1]}, "overrides"), ({"step": -1}, "step"), ({"step": 10**17}, "step"),
     ({"seconds": "1"}, "seconds"), ({"objective": [1]}, "objective"), ({"learnt": 1}, "learnt"),
     ({"sizes": {"train": "all"}}, "sizes.train"),
     ({"val/loss": "low"}, "val/loss"), ({"val/loss": True}, "val/loss"), ({"exit_code": 1}, "exit_code"),
     ({"error": {}}, "error")],
)  # fmt: skip
def test_a_result_that_cannot_be_is_named_by_its_key(tmp_path, change, key):
    with pytest.raises(ValueError, match=key):
        records.result({**RESULT, **change})
    (tmp_path / "result.json").write_text(json.dumps({**RESULT, **change}))
    assert papers.read_result(tmp_path) == {}
    assert key in papers.damage_of_result(tmp_path)


def test_results_are_read_as_they_stand_with_what_everybody_asks_for(tmp_path):
    assert papers.damage_of_result(tmp_path) is None
    assert records.result(FAILED) == FAILED
    bare = records.result({"status": "failed"})
    assert (bare["overrides"], bare["exit_code"]) == ([], 4)
    assert bare["error"]
    assert records.result({**FAILED, "overrides": ["dataset.root=\udce9"]})["overrides"] == [r"dataset.root=\udce9"]


def lines(folder, *texts: str) -> None:
    (folder / "metrics.jsonl").write_text("".join(texts))


@pytest.mark.parametrize(
    ("texts", "words"),
    [(["5\n"], "line 1: must hold a JSON object"), (["{}\n"], "line 1: epoch: is missing"),
     (['{"epoch": 1}\n'], "line 1: step: is missing"), (['{"epoch": "1", "step": 1}\n'], "line 1: epoch=1: must be"),
     (['{"epoch": 1, "step": 2}\n', '{"epoch": 1, "step": 3}\n'], "line 2: epoch: is 1 after 1"),
     (['{"epoch": 1, "step": 2}\n', '{"epoch": 2, "step": 2}\n'], "line 2: step: is 2 after 2"),
     (['{"epoch": 1, "step": 2, "val/loss": "x"}\n'], "line 1: val/loss=x: must be a number"),
     (['{"epoch": 1, "step": 2}\n', "{\n", '{"epoch": 2, "step": 4}\n'], "line 2: Expecting"),
     (['{"epoch": 1, "step": 2, "x": [[[[[[]]]]]]}\n'], "line 1: is nested too deeply")],
)  # fmt: skip
def test_damaged_metrics_are_refused_by_those_who_rely_on_them(tmp_path, texts, words):
    lines(tmp_path, *texts)
    with pytest.raises(CheckpointError, match=re.escape(words)) as refused:
        papers.read_metrics(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path}/metrics.jsonl: cannot be used (")
    assert isinstance(papers.epochs_seen(tmp_path), list), "those who only look see what comes before"


def test_a_line_that_a_crash_has_cut_short_is_none(tmp_path):
    assert papers.read_metrics(tmp_path) == []
    for rest in ("", '{"epo', '{"epoch": 2, "step": 4', "\0\0\0"):
        lines(tmp_path, '{"epoch": 1, "step": 2}\n', rest)
        assert papers.read_metrics(tmp_path) == [{"epoch": 1, "step": 2}]
    lines(tmp_path, '{"epoch": 1, "step": 2}\n', '{"epoch": 2, "step": 4}')
    assert len(papers.read_metrics(tmp_path)) == 2
    (tmp_path / "metrics.jsonl").unlink()
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(CheckpointError, match="is not a file"):
        papers.read_metrics(tmp_path)


ROW = ["a.png", "f" * 64]


@pytest.mark.parametrize(
    ("document", "words"),
    [({}, "parts: is missing"), ({"parts": []}, "must be train, val, test"), ({"parts": {"train": [ROW]}}, "must be"),
     ({"parts": {"train": [], "val": [], "test": []}}, "parts.train: is empty"),
     ({"parts": {"train": 3, "val": [], "test": []}}, "parts.train: must be a list"),
     ({"parts": {"train": [["a.png"]], "val": [], "test": []}}, "parts.train: has a row"),
     ({"parts": {"train": [["a.png", None]], "val": [], "test": []}}, "parts.train: has a row"),
     ({"parts": {"train": [ROW], "val": [ROW], "test": []}}, "a picture stands there twice"),
     ({"parts": {"train": [ROW] * 1000, "val": [], "test": []}}, "a picture stands there twice"),
     ({"parts": {"train": [ROW], "val": [], "test": []}, "seed": "0"}, "seed=0"),
     ({"parts": {"train": [ROW], "val": [], "test": []}, "more": 0}, "more: no such")],
)  # fmt: skip
def test_a_split_that_cannot_be_is_refused(tmp_path, document, words):
    (tmp_path / "split.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=re.escape(words)):
        papers.read_manifest(tmp_path)
    good = {"parts": {"train": [ROW], "val": [], "test": []}, "seed": 0}
    (tmp_path / "split.json").write_text(json.dumps(good))
    assert papers.read_manifest(tmp_path) == good["parts"]


def test_a_manifest_that_asks_for_more_memory_than_its_files_have_gets_none(tmp_path):
    files = {name: {"bytes": 2**39, "sha256": ""} for name in layout.FILES}
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))
    for name in layout.FILES:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match="does not match the manifest"):
        opening.checkpoint.verify(tmp_path)
