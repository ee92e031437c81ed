"""`aectl runs`, and the ways to say which run is meant."""

import fcntl
import json
import os
import re
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
import yaml
from conftest import SMALL

from aectl.cli import launching, paths
from aectl.cli.composing import composed
from aectl.errors import CheckpointError
from aectl.runs import checkpoint, finding, layout, locks, opening, papers, states

pytestmark = pytest.mark.usefixtures("without_pictures")

QUICK = [*SMALL, "network.hidden=[4]", "epochs=1", "figures_every=0"]


def made(folder_name: str, epochs: int = 2, result: dict | None = None, done: int = 1, **settings) -> Path:
    """A run's folder as training leaves it, without its tensors."""
    folder = Path("outputs/train") / folder_name
    folder.mkdir(parents=True)
    config = {
        "dataset": {"name": "mnist"}, "noise": {"name": "none"}, "network": {"name": "mlp"}, "model": {"name": "vae"},
        "prior": {"name": "normal"}, "val/loss": {"name": "elbo"}, "latent": 2, "epochs": epochs, **settings,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    records = [{"epoch": epoch + 1, "val/loss": 100.0 - epoch} for epoch in range(done)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    saved(folder, 3)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def saved(folder: Path, step: int) -> None:
    """A checkpoint of the right sizes."""
    path = folder / f"checkpoints/step-{step:08d}"
    path.mkdir(parents=True)
    files = dict.fromkeys(layout.FILES, b"12345")
    for file, data in files.items():
        (path / file).write_bytes(data)
    entries = {file: {"bytes": len(data), "sha256": ""} for file, data in files.items()}
    (path / layout.MANIFEST).write_text(json.dumps({"format": 1, "files": entries}))


def table(shown: str) -> list[dict[str, str]]:
    """The rows of what the command printed, by column."""
    head, *rows = [line for line in shown.splitlines() if "  " in line and not line.startswith("run=")]
    starts = [match.start() for match in re.finditer(r"\S+(?: \S+)*", head)]
    names = re.findall(r"\S+(?: \S+)*", head)
    return [
        {name: row[start:end].strip() for name, start, end in zip(names, starts, [*starts[1:], None], strict=True)}
        for row in rows
    ]


def test_every_state_is_told_by_what_a_run_left(aectl):
    made("2026-11-01_10-00-00_vae-latent2-aaaaaa", result={"status": "completed", "val/loss": 98.5})
    made("2026-11-01_10-00-00_vae-latent2-bbbbbb", done=1)
    made(
        "2026-11-01_10-00-00_vae-latent2-cccccc",
        result={"status": "failed", "exit_code": 5, "error": "kl is not finite"},
    )
    damaged = made("2026-11-01_10-00-00_vae-latent2-dddddd", result={"status": "completed", "val/loss": 1.0})
    (damaged / "checkpoints/step-00000003/model.safetensors").write_bytes(b"123")
    training = made("2026-11-01_10-00-00_vae-latent2-eeeeee", name="baseline")
    Path("outputs/train/notes").mkdir()
    Path("outputs/train/a file").write_text("nothing of ours")
    with locks.locked(training):
        rows = {row["id"]: row for row in table(aectl("runs").out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "aaaaaa": "done", "bbbbbb": "stopped 1/2", "cccccc": "diverged", "dddddd": "damaged",
        "eeeeee": "training 1/2",
    }  # fmt: skip
    assert rows["eeeeee"]["name"] == "baseline"
    assert rows["aaaaaa"]["model"] == "vae, latent 2"
    assert rows["aaaaaa"]["data"] == "mnist"
    assert rows["aaaaaa"]["val loss"].split()[0] == "98.50"
    assert rows["bbbbbb"]["val loss"].split()[0] == "100.00"


def test_a_run_without_a_checkpoint_is_damaged_and_what_that_rests_on_is_said(aectl):
    bare = made("2026-11-01_10-00-00_vae-latent2-aaaaaa")
    shutil.rmtree(bare / "checkpoints")
    shown = aectl("runs").out
    assert table(shown)[0]["state"] == "damaged"
    assert "no checkpoint has its files in the sizes that it lists; aectl doctor run=aaaaaa reads every byte" in shown
    job = Path("outputs/multirun/2026-11-01_10-00-00-bbbbbb/0_vae-latent2")
    job.mkdir(parents=True)
    (job / "result.json").write_text(json.dumps({"status": "failed", "exit_code": 2, "error": "latent=-1"}))
    assert states.of_run(job).state == "failed"


@pytest.mark.parametrize(
    ("result", "state"), [({"status": "completed", "val/loss": 90.0}, "done"), ({"status": "failed", "exit_code": 5},
                                                                                "diverged")]
)  # fmt: skip
def test_how_a_run_ended_is_forgotten_once_it_has_gone_on(aectl, result, state):
    run = made("2026-11-01_10-00-00_vae-latent2-aaaaaa", done=2, result={**result, "step": 3}, epochs=9)
    assert states.of_run(run).state == state
    saved(run, 7)
    now = states.of_run(run)
    assert (now.state, now.best) == ("stopped 2/9", 99.0)


def test_a_training_loss_is_no_validation_loss(aectl):
    run = made("2026-11-01_10-00-00_vae-latent2-aaaaaa", result={"status": "completed", "objective": 7.0})
    assert states.of_run(run).best is None
    (run / "result.json").unlink()
    (run / "metrics.jsonl").write_text('{"epoch": 1, "train/loss": 5.0, "val/loss": null}\n{"val/loss": 6}\n')
    assert states.of_run(run).best == 6


def test_what_somebody_has_to_type_is_never_cut(aectl):
    name, folder = "a-name-" + "x" * 50, "a_folder_that_was_renamed_to_" + "y" * 40
    made(folder, name=name)
    (row,) = table(aectl("runs").out)
    assert row["name"] == name
    assert finding.run(row["id"]) == finding.run(name) == Path("outputs/train") / folder


def test_looking_leaves_nothing_behind_and_stops_nobody(aectl, tmp_path):
    run = made("2026-11-01_10-00-00_vae-latent2-aaaaaa")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert aectl("runs").status == 0
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    with locks.locked(run):
        assert locks.held(run)
        assert locks.held(run), "a look does not take the lock away"
    assert not locks.held(run)


def test_orders_and_how_many(aectl):
    for number, (name, objective) in enumerate((("b", 3.0), ("c", 1.0), ("a", 2.0))):
        run = made(
            f"2026-11-01_10-00-00_vae-latent2-{name * 6}",
            name=name,
            result={"status": "completed", "val/loss": objective},
        )
        (run / "more").write_bytes(b"0" * 1_000_000 * number)
        os.utime(run / "checkpoints/step-00000003", (1e9 + number, 1e9 + number))
    order = {
        sort: [row["name"] for row in table(aectl("runs", f"sort={sort}").out)]
        for sort in ("age", "name", "val", "size")
    }
    assert order == {"age": ["a", "c", "b"], "name": ["a", "b", "c"], "val": ["c", "a", "b"], "size": ["a", "c", "b"]}
    shown = aectl("runs", "last=1").out
    assert [row["name"] for row in table(shown.partition("and 2")[0])] == ["a"]
    assert "and 2 more: last=null shows all" in shown


def test_whatever_lies_in_outputs_is_passed_over_in_silence(aectl, tmp_path):
    assert "no run below outputs" in aectl("runs").out
    broken = made("2026-11-01_10-00-00_vae-latent2-aaaaaa")
    for text in ("[", "latent: {}", "- a\n- b", "\0", "model: 3", "model: {name: vae}\nnoise: null"):
        (broken / "config.yaml").write_text(text)
        for strange in ("{", "5\n[]", "[" * 100_000, '{"epoch": [], "val/loss": "low"}', "\0"):
            for file in ("metrics.jsonl", "result.json", "checkpoints/step-00000003/config.json"):
                (broken / file).write_text(strange)
            assert len(states.all_of_them()) == 1
        done = aectl("runs")
        assert (done.status, done.err) == (0, "")
        assert "aaaaaa" in done.out
    (broken / "metrics.jsonl").unlink()
    os.mkfifo(broken / "metrics.jsonl")
    for name in ("0_x", "²_x", "٣_x", "x"):
        (tmp_path / f"outputs/multirun/strange/{name}").mkdir(parents=True)
        (tmp_path / f"outputs/multirun/strange/{name}/result.json").write_text("[1]")
    (tmp_path / "outputs/multirun/strange/file").write_text("")
    assert aectl("runs").status == 0
    assert aectl("report", "sweep=strange").status == 3


def test_a_run_is_meant_by_its_path_its_name_or_a_part_of_its_folders_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = made("2026-11-01_10-00-00_baseline_vae-latent2-aaaaaa", name="baseline")
    second = made("2026-11-02_10-00-00_vae-latent4-bbbbbb")
    for word in ("baseline", "aaaaaa", "vae-latent2-aaaaaa", first.name, str(first), f"{first}/", "11-01", "latent2",
                 f"{first}/checkpoints/step-00000003"):  # fmt: skip
        assert finding.run(word) == first, word
    os.utime(first / "checkpoints/step-00000003", (1e9, 1e9))
    assert finding.run("latest") == second
    Path("aaaaaa").mkdir()
    assert finding.run("aaaaaa") == Path("aaaaaa"), "a path that is there comes first"


def test_what_means_several_runs_or_none_is_refused_by_those_it_could_mean(aectl):
    for name in ("aaaaaa", "bbbbbb"):
        made(f"2026-11-01_10-00-00_vae-latent2-{name}", name="twin")
    refused = aectl("eval", "run=twin")
    assert refused.status == 2
    assert re.search(r"run=twin: means 2 of them, newest first: (aaaaaa|bbbbbb), (aaaaaa|bbbbbb); give", refused.err)
    missing = aectl("eval", "run=aaaaab")
    assert missing.status == 4
    assert "did you mean 'aaaaaa'?" in missing.err
    assert "aectl runs lists them" in missing.err


def test_a_named_run_is_found_gone_on_with_and_in_its_folders_name(aectl, only_run):
    done = aectl("train", *QUICK, "name=baseline")
    assert done.status == 0, done.err
    assert re.fullmatch(r"[0-9_-]+_baseline_vae-latent2-[0-9a-f]{6}", only_run().name)
    assert aectl("train", "resume=baseline", "epochs=2").status == 0
    assert [record["epoch"] for record in papers.read_metrics(only_run())] == [1, 2]
    assert aectl("sample", "run=baseline", "n=4", "device=cpu").status == 0
    (row,) = table(aectl("runs").out)
    assert (row["name"], row["state"]) == ("baseline", "done")
    refused = aectl("train", "resume=baseline", "name=other")
    assert "name=other: a resumed run keeps its own settings" in refused.err
    for word in ("a/b", "latest", "'null'", "-x", "", ".", "a b"):
        assert aectl("train", *QUICK, f"name={word}").status == 2
    assert len(list(Path("outputs/train").iterdir())) == 1


@pytest.mark.parametrize("name", ["1e3", "007", "2024_01", "true", "'quoted'"])
def test_a_name_is_what_was_typed(monkeypatch, name):
    assert composed("train", f"name={name}").name == name.strip("'")
    given = [paths.for_hydra(one) for one in ("name=another", f"name={name}")]
    for variable in ("AECTL_STAMP", "AECTL_UNIQUE"):
        monkeypatch.setenv(variable, "")
    launching.name_launch("2026", "aaaaaa", given)
    assert os.environ["AECTL_STAMP"] == f"2026_{name}".replace("'", "")
    launching.name_launch("2026", "aaaaaa", [paths.for_hydra(f"name={name},b", multirun=True)])
    assert os.environ["AECTL_STAMP"] == "2026", "no name of the whole sweep"


def test_a_named_sweep_is_found(aectl):
    assert aectl("train", "-m", *QUICK, "latent=1,2", "name=pair").status == 0
    (row,) = table(aectl("runs").out)
    assert (row["name"], row["state"]) == ("pair", "sweep: 2 of 2 done")
    assert finding.sweep("pair", "sweep", layout.RESULT) == next(Path("outputs/multirun").iterdir())
    assert finding.sweep("latest", "sweep", layout.RESULT) == next(Path("outputs/multirun").iterdir())
    single = made("2026-11-01_10-00-00_pair_vae-latent2-aaaaaa", name="pair")
    assert finding.run("pair") == single, "a run before the jobs of a sweep"
    assert sorted(finding.jobs()) == sorted(
        f"{next(iter(finding.sweeps()))}/{number}_vae-latent{number + 1}" for number in (0, 1)
    )


def test_a_run_that_diverged_is_called_that_and_nothing_else(aectl, only_run):
    broke = aectl("train", *QUICK, "lr=1e12", "epochs=2")
    assert broke.status == 5
    result = json.loads((only_run() / "result.json").read_text())
    assert (result["status"], result["exit_code"], result["step"]) == ("failed", 5, 0)
    (row,) = table(aectl("runs").out)
    assert row["state"] == "diverged"
    done = aectl("eval", "device=cpu")
    assert done.status == 0, done.err
    assert "This run diverged: " in done.out
    assert "collapsed" not in done.out


@pytest.fixture
def run(small_run, tmp_path) -> Path:
    """A copy of a run that was trained."""
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def test_a_run_that_is_still_training_is_said_to_be(aectl, run):
    commands = (("sample", f"run={run}", "n=4", "device=cpu"), ("doctor", f"run={run}"))
    with locks.locked(run):
        shown, looked = (aectl(*command).out for command in commands)
    assert "is still training; this is its checkpoint of epoch 1" in shown
    assert "is still training; these are its checkpoints of now" in looked
    assert not any("still training" in aectl(*command).out for command in commands)


def test_a_checkpoint_that_training_replaces_meanwhile_is_looked_for_again(run, monkeypatch):
    real, calls = checkpoint.load, []

    def load(path: Path) -> checkpoint.Checkpoint:
        calls.append(path)
        if len(calls) == 2:  # between the newest and the best
            (run / "checkpoints/step-00000099").mkdir()
            raise CheckpointError("is missing")
        return real(path)

    monkeypatch.setattr(checkpoint, "load", load)
    assert opening.open_run(str(run), "best", torch.device("cpu")).progress.epoch == 1
    assert len(calls) == 5
    monkeypatch.setattr(checkpoint, "load", lambda path: calls.append(path) or real(Path("nowhere")))
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        opening.open_run(str(run), "best", torch.device("cpu"))
    assert len(calls) == 5 + len(checkpoint.listing(run / "checkpoints")), "damage is looked at once"


def test_the_doctor_calls_nothing_damaged_that_training_has_taken_away(aectl, run, monkeypatch):
    real = checkpoint.load

    def load(path: Path) -> checkpoint.Checkpoint:
        if path.name == "step-00000000":
            shutil.rmtree(path)
        return real(path)

    monkeypatch.setattr(checkpoint, "load", load)
    looked = aectl("doctor", f"run={run}")
    assert looked.status == 0, looked.err
    assert not (run / "checkpoints/step-00000000").exists()
    assert "DAMAGED" not in looked.out


def test_a_report_says_which_jobs_still_train(aectl):
    made("../multirun/2026-11-01_10-00-00-aaaaaa/0_vae-latent2")
    with locks.locked(made("../multirun/2026-11-01_10-00-00-aaaaaa/1_vae-latent3", done=2)):
        said = aectl("report", "sweep=aaaaaa", "device=cpu")
        assert [row["state"] for row in table(aectl("runs").out)] == ["sweep: training, 0 of 2 done"]
    assert "is still training, job 1; only what has ended is measured" in said.out
    assert "none of its 2 jobs has finished" in said.err


def test_a_start_waits_for_those_who_look(tmp_path, monkeypatch):
    (tmp_path / layout.LOCK).touch()
    descriptor = os.open(tmp_path / layout.LOCK, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [descriptor]).start()
    with locks.locked(tmp_path):
        assert locks.held(tmp_path)
        monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
        assert locks.held(tmp_path)
    assert not locks.held(tmp_path)
    assert not locks.held(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_sweep_is_not_gone_on_with_by_jobs_that_have_other_folders(aectl):
    made("../multirun/2026-11-01_10-00-00-aaaaaa/0_vae-latent2")
    before = sorted(Path("outputs").rglob("*"))
    refused = aectl("train", "-m", *QUICK, "latent=3,4", "sweep.resume=aaaaaa")
    assert refused.status == 2
    assert "job 0 is 0_vae-latent2 there, not 0_vae-latent3; repeat the command that began the sweep" in refused.err
    assert {path for path in Path("outputs").rglob("*") if "_vae-latent3" in str(path)} == set()
    assert set(before) <= set(Path("outputs").rglob("*"))
    missing = aectl("train", "-m", *QUICK, "latent=1,2", "sweep.resume=aaaabb")
    assert (missing.status, "did you mean 'aaaaaa'?" in missing.err) == (2, True)


def test_an_age_is_in_its_largest_unit(monkeypatch):
    monkeypatch.setattr(states.time, "time", lambda: 1_000_000.0)
    ages = [states.age(1_000_000.0 - seconds) for seconds in (3, 59 * 60 + 59, 3600, 5 * 86400 + 7000, -4)]
    assert ages == ["3 s", "59 min", "1 h", "5 d", "0 s"]
