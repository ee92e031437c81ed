"""Paths are the words that were typed, through the real parser and the real commands."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from aectl import shell, storage
from aectl.cli import paths
from aectl.runs import checkpoint, layout

pytestmark = pytest.mark.usefixtures("without_pictures")

PARSER = OverridesParser.create()
LIKE_VALUES = ["2024_01", "1e3", "true", "Null", "NONE", "inf", "nan", "0x1F", "1_000", "-3", ".5", "on", "0777"]
ODD = ["a b", "it's", 'a"b', "'a", "a\\", "a\\'", "a,b", "a=b", "[a]", "{a: b}", "choice(a)", "a#b", "a: b", "$a",
       "a${b}", "~who-is-that", "latest", "null", "(neu)", "%x", "*", "a\nb", "数", " a ", "'a b'"]  # fmt: skip
ANY_NAME = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12)


def read(override: str) -> object:
    """The value that Hydra and OmegaConf make of an override."""
    config = OmegaConf.create({"value": None})
    OmegaConf.update(config, "value", PARSER.parse_override(override).value())
    return OmegaConf.to_container(config, resolve=True)["value"]


@settings(max_examples=150, deadline=None)
@given(ANY_NAME | st.text("'\"\\,=[]{}()$: ~#1e.tru\n", min_size=1, max_size=9), st.sampled_from(
    sorted(paths.PATH_KEYS)))  # fmt: skip
def test_any_path_reads_as_what_it_is(name, key):
    assert os.path.normpath(read(paths.for_hydra(shell.setting(key, name)))) == os.path.normpath(name)


@settings(max_examples=80, deadline=None)
@given(ANY_NAME)
@example("~")
@example("a\\")
@example("1e3")
def test_in_a_sweep_too_and_through_what_the_sweeper_hands_on(name):
    name = name.replace(",", "-").strip() or "-"  # a comma parts choices, and white space around them is nothing
    override = paths.for_hydra(shell.setting("dataset.root", name), multirun=True)
    handed_on = [PARSER.parse_override(override).get_value_element_as_str()]
    several = paths.for_hydra(shell.setting("dataset.root", name) + ",b", multirun=True)
    handed_on += list(PARSER.parse_override(several).sweep_string_iterator())[:-1]
    assert [os.path.normpath(read(f"x={one}")) for one in handed_on] == 2 * [os.path.normpath(name)]


@pytest.mark.parametrize("name", [*LIKE_VALUES, *ODD])
def test_what_looks_like_a_value_is_a_name_as_typed(name):
    typed = paths.for_hydra(f"output={name}")
    meant = {"null": None, "'a b'": "a b", "~who-is-that": "./~who-is-that", "a${b}": ...}.get(name, name)
    assert meant is ... or read(typed) == meant


@pytest.mark.parametrize(
    ("typed", "choices"),
    [("2024_01,1e3, true", ["2024_01", "1e3", "true"]), ("choice(1,b c)", ["1", "b c"]), ("it's,b", ["it's", "b"]),
     ("'a,b',c", ["a,b", "c"]), ("a", None), ("~,b", [str(Path.home()), "b"])],
)  # fmt: skip
def test_a_sweep_over_paths_takes_each_as_typed(typed, choices):
    parsed = PARSER.parse_override(paths.for_hydra(f"dataset.root={typed}", multirun=True))
    assert parsed.is_sweep_override() == (choices is not None)
    if choices is not None:
        assert [read(f"x={one}") for one in parsed.sweep_string_iterator()] == choices


def test_what_belongs_to_the_sweep_is_one_path_and_other_settings_are_left_alone():
    for key in ("sweep.resume", "hydra.sweep.dir"):
        assert read(paths.for_hydra(f"{key}=a,b", multirun=True)) == "a,b"
    for override in ("latent=1e3", "latent=2,3", "+x=true", "noise=gaussian", "data.memory_gb=1e3", "run=", "--help"):
        assert paths.for_hydra(override) == override
    assert read(paths.for_hydra("++data.root=1e3")) == "1e3"


def test_every_path_setting_is_known():
    assert set(paths.PATH_KEYS) == {
        "run", "resume", "input", "output", "reference", "data.root", "dataset.root", "dataset.noisy", "sweep",
        "sweep.resume", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir",
    }  # fmt: skip


def test_runs_and_files_lie_where_they_were_typed_and_are_found_there(aectl, tmp_path):
    assert aectl("train", *SMALL, "epochs=1", "figures_every=0", "hydra.run.dir=1e3").status == 0
    assert checkpoint.listing(layout.checkpoints_of(tmp_path / "1e3"))
    for name in ("2024_01", "a,b = it's ~"):
        assert aectl("encode", "run=1e3", f"output={name}.npz", "hydra.run.dir=true").status == 0
        assert aectl("decode", "run=1e3", f"input={name}.npz", f"output={name}").status == 0
        assert len(list((tmp_path / name).iterdir())) == 64
    assert (tmp_path / "true").is_dir()
    assert aectl("train", "resume=1e3", "epochs=1").status == 0


def test_a_sweep_lies_and_goes_on_where_it_was_typed_over_paths_as_typed(aectl, tmp_path):
    for name in ("2024_01.npz", "1e3"):
        with (tmp_path / name).open("wb") as file:
            np.savez(file, images=np.random.default_rng(0).random((30, 4, 4)))
    command = ("train", "-m", "dataset=array", "dataset.root=2024_01.npz,1e3", "network.hidden=[4]", "epochs=1")
    swept = aectl(*command, "hydra.sweep.dir=0777")
    assert swept.status == 0, swept.err
    assert len(list((tmp_path / "0777").glob("*/result.json"))) == 2
    assert aectl(*command, "sweep.resume=0777").status == 0


def test_what_comes_next_can_be_pasted(aectl, tmp_path):
    name = "my run's $x; {a} #1"
    said = aectl("train", *SMALL, "epochs=1", "figures_every=0", f"hydra.run.dir={name}").out
    lines = [shlex.split(line) for line in said.partition("next:\n")[2].splitlines()]
    assert [words[:2] for words in lines] == [["aectl", "eval"], ["aectl", "sample"], ["tensorboard", "--logdir"]]
    assert lines[2][2] == name
    assert aectl(*lines[1][1:], "n=2").status == 0
    assert lines[0][2:] == [f"run={name}"]
    encoded = aectl("encode", f"run={name}", f"output={name}.npz")
    (back,) = encoded.out.partition("next:\n")[2].splitlines()
    assert aectl(*shlex.split(back)[1:]).status == 0
    assert (tmp_path / f"{name}_pictures").is_dir()


@pytest.mark.parametrize(
    ("command", "override", "words"),
    [("train", "+experiment=smoke", "leave the + out: experiment=smoke"), ("train", "++model=vae", "leave the + out"),
     ("train", "experiment=null", "is no choice"), ("eval", "+experiment=smoke", "aectl eval has no experiment"),
     ("eval", "noise=gaussian", "aectl eval has no noise"), ("denoise", "+noise=blur", "leave the + out: noise=blur"),
     ("train", "hydra.job.chdir=true", "works in the folder where it is started"),
     ("train", "hydra.run.dir=", "is empty; give a folder"), ("doctor", "data.root=", "is empty")],
)  # fmt: skip
def test_what_hydra_would_mislead_about_is_said_first(aectl, command, override, words):
    refused = aectl(command, override)
    assert (refused.status, len(refused.err.splitlines())) == (2, 1)
    assert override in refused.err or "data.root=" in override
    assert words in refused.err


def test_completion_and_chdir_false_are_left_alone(aectl):
    assert aectl("train", "hydra.job.chdir=false", "--cfg", "job").status == 0


def test_a_tilde_is_a_home_only_at_the_beginning_and_of_somebody(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for typed, path in (
        ("~", "/home/me"), ("~/x", "/home/me/x"), ("./~x", "~x"), ("./~", "~"), ("a/~", "a/~"),
        ("~nobody-at-all/x", "~nobody-at-all/x"),
    ):  # fmt: skip
        assert storage.expanded(typed) == Path(path)


def test_what_comes_next_of_a_folder_with_a_tilde_runs(aectl):
    trained = aectl("train", *SMALL, "epochs=1", "hydra.run.dir=~nobody-at-all")
    (line,) = (line for line in trained.out.splitlines() if line.startswith("  aectl eval"))
    assert line == "  aectl eval 'run=./~nobody-at-all'"
    assert aectl(*shlex.split(line)[1:]).status == 0
