"""`aectl runs`, and the ways to say which run is meant."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SMALL

from aectl.runs import finding, layout, states

QUICK = [*SMALL, "network.hidden=[4]", "epochs=1", "figures_every=0"]


def made(folder_name: str, epochs: int = 2, result: dict | None = None, done: int = 1, **settings) -> Path:
    """A run's folder as training leaves it, without its tensors."""
    folder = Path("outputs/train") / folder_name
    folder.mkdir(parents=True)
    config = {
        "dataset": {"name": "mnist"}, "noise": {"name": "none"}, "network": {"name": "mlp"}, "model": {"name": "vae"},
        "prior": {"name": "normal"}, "objective": {"name": "elbo"}, "latent": 2, "epochs": epochs, **settings,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    records = [{"epoch": epoch + 1, "val/loss": 100.0 - epoch} for epoch in range(done)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    step = folder / "checkpoints/step-00000003"
    step.mkdir(parents=True)
    files = dict.fromkeys(layout.FILES, b"12345")
    for file, data in files.items():
        (step / file).write_bytes(data)
    entries = {file: {"bytes": len(data), "sha256": ""} for file, data in files.items()}
    (step / layout.MANIFEST).write_text(json.dumps({"format": 1, "files": entries}))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


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
    made("2026-11-01_10-00-00_vae-latent2-aaaaaa", result={"status": "completed", "objective": 98.5})
    made("2026-11-01_10-00-00_vae-latent2-bbbbbb", done=1)
    made(
        "2026-11-01_10-00-00_vae-latent2-cccccc",
        result={"status": "failed", "exit_code": 5, "error": "kl is not finite"},
    )
    damaged = made("2026-11-01_10-00-00_vae-latent2-dddddd", result={"status": "completed", "objective": 1.0})
    (damaged / "checkpoints/step-00000003/model.safetensors").write_bytes(b"123")
    training = made("2026-11-01_10-00-00_vae-latent2-eeeeee", name="baseline")
    Path("outputs/train/notes").mkdir()
    Path("outputs/train/a file").write_text("nothing of ours")
    with layout.locked(training):
        rows = {row["id"]: row for row in table(aectl("runs").out)}
    assert {name: row["state"] for name, row in rows.items()} == {
        "aaaaaa": "done", "bbbbbb": "stopped 1/2", "cccccc": "diverged", "dddddd": "damaged",
        "eeeeee": "training 1/2",
    }  # fmt: skip
    assert rows["eeeeee"]["name"] == "baseline"
    assert rows["aaaaaa"]["model"] == "vae, latent 2"
    assert rows["aaaaaa"]["data"] == "mnist"
    assert rows["aaaaaa"]["best loss"].split()[0] == "98.50"
    assert rows["bbbbbb"]["best loss"].split()[0] == "100.00"


def test_looking_leaves_nothing_behind_and_stops_nobody(aectl, tmp_path):
    run = made("2026-11-01_10-00-00_vae-latent2-aaaaaa")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert aectl("runs").status == 0
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    with layout.locked(run):
        assert layout.held(run)
        assert layout.held(run), "a look does not take the lock away"
    assert not layout.held(run)


def test_orders_and_how_many(aectl):
    for number, (name, objective) in enumerate((("b", 3.0), ("c", 1.0), ("a", 2.0))):
        run = made(
            f"2026-11-01_10-00-00_vae-latent2-{name * 6}",
            name=name,
            result={"status": "completed", "objective": objective},
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
        (broken / "metrics.jsonl").write_text("{")
        (broken / "result.json").write_text("[]")
        done = aectl("runs")
        assert (done.status, done.err) == (0, "")
        assert "aaaaaa" in done.out
    (tmp_path / "outputs/multirun/strange/0_x").mkdir(parents=True)
    (tmp_path / "outputs/multirun/strange/file").write_text("")
    assert aectl("runs").status == 0


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
    assert re.search(r"run=twin: means 2 of them, newest first: .*-(aaaaaa|bbbbbb), .*; give more", refused.err)
    missing = aectl("eval", "run=aaaaab")
    assert missing.status == 4
    assert "did you mean 'aaaaaa'?" in missing.err
    assert "aectl runs lists them" in missing.err


def test_a_named_run_is_found_gone_on_with_and_in_its_folders_name(aectl, only_run):
    done = aectl("train", *QUICK, "name=baseline")
    assert done.status == 0, done.err
    assert re.fullmatch(r"[0-9_-]+_baseline_vae-latent2-[0-9a-f]{6}", only_run().name)
    assert aectl("train", "resume=baseline", "epochs=2").status == 0
    assert [record["epoch"] for record in layout.read_metrics(only_run())] == [1, 2]
    assert aectl("sample", "run=baseline", "n=4", "device=cpu").status == 0
    (row,) = table(aectl("runs").out)
    assert (row["name"], row["state"]) == ("baseline", "done")
    for word in ("a/b", "latest", "-x", ""):
        assert aectl("train", *QUICK, f"name={word}").status == 2


def test_a_named_sweep_is_found(aectl):
    assert aectl("train", "-m", *QUICK, "latent=1,2", "name=pair").status == 0
    (row,) = table(aectl("runs").out)
    assert (row["name"], row["state"]) == ("pair", "sweep: 2 of 2 done")
    assert finding.sweep("pair", "sweep", layout.RESULT) == next(Path("outputs/multirun").iterdir())
    assert finding.sweep("latest", "sweep", layout.RESULT) == next(Path("outputs/multirun").iterdir())
    assert sorted(finding.jobs()) == sorted(
        f"{next(iter(finding.sweeps()))}/{number}_vae-latent{number + 1}" for number in (0, 1)
    )


def test_a_run_that_diverged_is_called_that_and_nothing_else(aectl, only_run):
    broke = aectl("train", *QUICK, "lr=1e12", "epochs=2")
    assert broke.status == 5
    result = json.loads((only_run() / "result.json").read_text())
    assert (result["status"], result["exit_code"]) == ("failed", 5)
    (row,) = table(aectl("runs").out)
    assert row["state"] == "diverged"
    done = aectl("eval", "device=cpu")
    assert done.status == 0, done.err
    assert "This run diverged: " in done.out
    assert "collapsed" not in done.out


def test_a_run_that_is_still_training_is_said_to_be(aectl, only_run):
    assert aectl("train", *QUICK).status == 0
    with layout.locked(only_run()):
        shown = aectl("sample", "n=4", "device=cpu")
    assert "is still training; this is its checkpoint of epoch 1" in shown.out + shown.err
    assert "still training" not in aectl("sample", "n=4", "device=cpu").out


@pytest.mark.parametrize(
    ("line", "offered"), [("aectl eval run=", {"run=latest", "run=baseline", "run=aaaaaa", "run=bbbbbb"}),
                          ("aectl train resume=b", {"resume=baseline", "resume=bbbbbb"})]
)  # fmt: skip
def test_completion_offers_ids_and_names(tmp_path, monkeypatch, line, offered):
    monkeypatch.chdir(tmp_path)
    made("2026-11-01_10-00-00_baseline_vae-latent2-aaaaaa", name="baseline")
    made("2026-11-01_10-00-00_vae-latent2-bbbbbb")
    env = {**os.environ, "COMP_LINE": line}
    code = "import sys; from aectl.cli.main import main; sys.argv[1:] = ['-sc', 'query=bash']\ntry: main()\n"
    code += "except SystemExit: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    *words, torch = done.stdout.split()
    assert (set(words), torch) == (offered, "False")


def test_an_age_is_in_its_largest_unit(monkeypatch):
    monkeypatch.setattr(states.time, "time", lambda: 1_000_000.0)
    ages = [states.age(1_000_000.0 - seconds) for seconds in (3, 59 * 60 + 59, 3600, 5 * 86400 + 7000, -4)]
    assert ages == ["3 s", "59 min", "1 h", "5 d", "0 s"]
