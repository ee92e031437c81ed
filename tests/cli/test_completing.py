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


@pytest.mark.parametrize(
    ("line", "values"),
    [("train schedule=", "constant cosine steps"), ("sample mode=p", "posterior prior"),
     ("eval robustness=", "false true"), ("train device=c", "cpu cuda"),
     ("train network.activation=s", "sigmoid silu"),
     ("train dataset=folder dataset.fit=pa", "pad patches"), ("train model.posterior=std", "std std_raw"),
     ("train experiment=lecture_v", "lecture_vae_logvar lecture_vae_std"),
     ("train experiment=published/row1_", "published/row1_deep_ae"), ("train -m model=ae,v", "ae,vae"),
     ("train -m latent=2,", ""), ("encode on_bad=s", "skip stop")],
)  # fmt: skip
def test_completion_offers_closed_lists_and_presets(monkeypatch, capsys, line, values):
    key = line.split()[-1].partition("=")[0]
    words = [word for word in offered(monkeypatch, capsys, f"aectl {line}") if word]
    assert words == [f"{key}={value}" for value in values.split()]


@pytest.mark.parametrize(
    ("line", "keys"),
    [("train noise=blur noise.", "noise.clip noise.sigma"), ("train noise=poisson noise.p", "noise.peak"),
     ("train model=iwae model.", "model.logvar_clip model.posterior"), ("train adam.b", "adam.beta1 adam.beta2"),
     ("train lat", "latent"), ("eval nois", "")],
)  # fmt: skip
def test_completion_offers_the_settings_of_the_chosen_choice(monkeypatch, capsys, line, keys):
    words = [word for word in offered(monkeypatch, capsys, f"aectl {line}") if word]
    assert words == [f"{key}=" for key in keys.split()]


def test_completion_offers_paths(tmp_path, monkeypatch, capsys):
    for name in ("photos", "photos/within", ".hidden"):
        (tmp_path / name).mkdir()
    for name in ("pair.npz", "photos/a.png", "two words.png", ".secret"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for line, words in (
        ("aectl encode input=", ["input=pair.npz", "input=photos/"]),
        ("aectl encode input=photos/", ["input=photos/a.png", "input=photos/within/"]),
        ("aectl train dataset=folder dataset.root=~/ph", ["dataset.root=~/photos/"]),
        ("aectl train data.root=.", ["data.root=.hidden/", "data.root=.secret"]),
        ("aectl eval run=ph", ["run=photos/"]), ("aectl encode input=none/", []),
        ("aectl denoise reference=./pho", ["reference=./photos/"]),
    ):  # fmt: skip
        assert [word for word in offered(monkeypatch, capsys, line) if word] == words, line


@pytest.mark.slow
def test_bash_completes_words_with_an_equals_sign(tmp_path):
    """Its own completion machinery, with the script that `aectl -sc install=bash` prints."""
    (tmp_path / "aectl").write_text(f'#!/bin/sh\nexec {sys.executable} -m aectl "$@"\n')
    (tmp_path / "aectl").chmod(0o755)
    script = (
        'eval "$(aectl -sc install=bash)"\nCOMP_LINE="aectl train schedule=c"; COMP_POINT=${#COMP_LINE}\n'
        "COMP_WORDS=(aectl train schedule=c); COMP_CWORD=2\nhydra_bash_completion\n"
        'echo "${COMPREPLY[@]}"; complete -p aectl'
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.splitlines()[0].split() == ["schedule=constant", "schedule=cosine"], done
    assert "hydra_bash_completion" in done.stdout.splitlines()[1]
