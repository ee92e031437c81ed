"""TAB, through what a shell asks for: commands, settings, choices, and the runs that there are."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aectl.cli import main

RUNS = {"2026-11-01_10-00-00_baseline_vae-latent2-aaaaaa": "baseline", "2026-11-02_10-00-00_vae-latent4-bbbbbb": None,
        "renamed by hand": None}  # fmt: skip


@pytest.fixture
def outputs(tmp_path, monkeypatch) -> Path:
    """Three runs, one of them named, and a named sweep of two jobs."""
    monkeypatch.chdir(tmp_path)
    runs = {f"train/{folder}": name for folder, name in RUNS.items()}
    runs |= {f"multirun/2026-11-03_10-00-00_pair-cccccc/{job}_vae-latent{job}": "pair" for job in (0, 1)}
    for folder, name in runs.items():
        path = tmp_path / "outputs" / folder / "checkpoints/step-00000001"
        path.mkdir(parents=True)
        (path / "config.json").write_text(json.dumps({"train": {"name": name}}))
    return tmp_path / "outputs"


def offered(monkeypatch, capsys, line: str, shell: str = "bash") -> list[str]:
    """What is printed for a line, word by word."""
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setattr("sys.argv", ["aectl"])
    with pytest.raises(SystemExit):
        main.main(["-sc", f"query={shell}"])
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [("aectl eval run=", ["run=aaaaaa", "run=baseline", "run=bbbbbb", "run=cccccc/", "run=latest"]),
     ("aectl train resume=b", ["resume=baseline", "resume=bbbbbb"]), ("aectl doctor run=a", ["run=aaaaaa"]),
     ("aectl eval split=val run=cccccc/", ["run=cccccc/0_vae-latent0", "run=cccccc/1_vae-latent1"]),
     ("aectl report sweep=", ["sweep=cccccc", "sweep=latest", "sweep=pair"]),
     ("aectl train -m sweep.resume=p", ["sweep.resume=pair"]), ("aectl ru", ["runs"])],
)  # fmt: skip
def test_completion_offers_ids_and_names(outputs, monkeypatch, capsys, line, words):
    assert offered(monkeypatch, capsys, line) == words


@pytest.mark.parametrize("line", ["aectl eval resume=", "aectl report run=", "aectl train run=", "aectl eval run=zz"])
def test_completion_offers_no_run_where_none_is_taken_or_meant(outputs, monkeypatch, capsys, line):
    assert not "".join(offered(monkeypatch, capsys, line))


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_each_word_stands_on_a_line(outputs, monkeypatch, capsys, shell):
    """Where fish wants it, and Bash does not mind."""
    assert {"model=vae", "model=ae"} <= set(offered(monkeypatch, capsys, "aectl train model=", shell))


def test_completion_of_runs_needs_no_torch_and_no_hydra(outputs):
    code = "import sys; from aectl.cli.main import main; sys.argv[1:] = ['-sc', 'query=bash']\ntry: main()\n"
    code += "except SystemExit: print({'torch', 'hydra', 'numpy'} & set(sys.modules) or '{}')"
    env = {**os.environ, "COMP_LINE": "aectl eval run=base"}
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.split() == ["run=baseline", "{}"]
    assert time.perf_counter() - began < 5, "on a machine however busy; it takes a tenth of a second"
