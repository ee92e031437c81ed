"""Help from the YAML files: nothing without words, no default but Hydra's, no closed list but the classes'."""

import dataclasses
import subprocess
import sys
import time
import typing

import pytest
import yaml

from aectl.cli import described, groups
from aectl.commands import schemas
from aectl.commands.table import COMMANDS
from aectl.runs import schema
from aectl.runs.config import TrainConfig
from aectl.settings import typed
from aectl.settings.choices import OneOf
from aectl.settings.common import ON_BAD

GROUPS = [group for group in described.groups_of("train") if group != "experiment"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_is_explained_and_has_the_default_that_hydra_composes(aectl, command):
    composed = typed.flat(yaml.safe_load(aectl(command, "--cfg", "job").out))
    among = described.groups_of(command)
    own = {key: value for key, value in composed.items() if key.partition(".")[0] not in among}
    settings = described.settings_of(command)
    assert settings.keys() == own.keys()
    page = aectl(command, "--help").out
    for key, setting in settings.items():
        assert setting.words, key
        value = yaml.safe_load(setting.default)
        assert value == own[key] or float(value) == own[key], key  # YAML takes 1e-3 for text
        assert f"  {key} " in page
    assert all(group.words and f"  {group.name} " in page for group in among.values())
    assert COMMANDS[command].words in " ".join(page.split())
    assert f"\n  aectl {command} " in page, "an example"


@pytest.mark.parametrize("group", GROUPS)
def test_every_choice_is_explained_and_has_the_defaults_that_hydra_composes(aectl, group):
    page = aectl("train", "--help", group).out
    for name, choice in described.choices_of(group).items():
        assert choice.words, name
        assert f"  {group}={name} " in page
        text = yaml.safe_load((groups.config_dir() / group / f"{name}.yaml").read_text())
        expected = {f"{group}.{key}": value for key, value in text.items() if key not in ("name", "defaults")}
        assert {one.key: yaml.safe_load(one.default) for one in choice.settings} == expected
        assert all(one.words and f"    {one.key} " in page for one in choice.settings), name


TOPICS = [[], ["experiment"], ["hydra"], ["lr"], ["adam"], ["noise.sigma"], *([group] for group in GROUPS)]


@pytest.mark.parametrize("columns", [60, 100, 300])
@pytest.mark.parametrize("topic", TOPICS, ids=" ".join)
def test_no_line_is_wider_than_the_terminal_or_100_columns(aectl, monkeypatch, topic, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = aectl("train", "--help", *topic)
    assert (shown.status, shown.err) == (0, "")
    # What is to be pasted stands whole: a command, or a long default behind its key.
    lines = [line for line in shown.out.splitlines() if not line.startswith("  aectl ") and len(line.split()) > 2]
    assert max(map(len, lines)) <= min(columns, 100)


@pytest.mark.parametrize(
    ("line", "says"),
    [("train --help noise.sigma", "noise=gaussian\n  noise.sigma  0.5 "), ("help train lr", "  lr  1e-3"),
     ("train model=ae network=conv --help", "network=conv\n  network.channels   [32,64]"),
     ("train noise=blur --help", "noise=blur\n  noise.sigma"), ("eval -h split", "or val, train"),
     ("train --help hydra", "--cfg job"), ("train --help experiment", "  experiment=published/row1_deep_ae\n")],
)  # fmt: skip
def test_one_word_more_is_explained(aectl, line, says):
    shown = aectl(*line.split())
    assert (shown.status, shown.err) == (0, "")
    assert says in shown.out


@pytest.mark.parametrize(
    ("line", "says"),
    [("train --help lattent", "did you mean 'latent'?"), ("train --help noise.sigmaa", "did you mean 'noise.sigma'?"),
     ("eval --help noise", "aectl eval has no such setting or choice")],
)  # fmt: skip
def test_a_word_that_is_nothing_is_one_line(aectl, line, says):
    refused = aectl(*line.split())
    assert (refused.status, refused.out, len(refused.err.splitlines())) == (2, "", 1)
    assert says in refused.err


def test_help_needs_no_torch_and_no_hydra_and_answers_at_once():
    code = "import sys; from aectl.cli.main import main; sys.argv[1:] = ['train', '--help']\ntry: main()\n"
    code += "except SystemExit: print({'torch', 'hydra', 'numpy'} & set(sys.modules) or '{}')"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "{}"
    assert time.perf_counter() - began < 5, "on a machine however busy; it takes a tenth of a second"


def names_in(hint) -> set[str] | None:
    """The closed list of an annotation, if it is one."""
    if typing.get_origin(hint) is typing.Literal:
        return {str(one) for one in typing.get_args(hint)}
    if typing.get_origin(hint) is typing.Annotated:
        lists = [set(one.names) for one in typing.get_args(hint)[1:] if isinstance(one, OneOf)]
        return lists[0] if lists else names_in(typing.get_args(hint)[0])
    return {"true", "false"} if hint is bool else None


@pytest.mark.parametrize("group", GROUPS)
def test_a_closed_list_in_a_comment_is_that_of_the_class(group):
    table = typing.get_args(typing.get_type_hints(TrainConfig, include_extras=True)[group])[1]
    for name, choice in described.choices_of(group).items():
        text = yaml.safe_load((groups.config_dir() / group / f"{name}.yaml").read_text())
        if "name" not in text:
            continue  # a preset of another
        hints = typing.get_type_hints(table[text["name"]], include_extras=True)
        for setting in choice.settings:
            expected = names_in(hints[setting.key.partition(".")[2]])
            assert set(setting.values) == (expected or set(setting.values)), setting.key
            assert bool(setting.values) == bool(expected), setting.key


@pytest.mark.parametrize(
    ("command", "key", "names"),
    [("eval", "split", schemas.SPLITS), ("report", "split", schemas.SPLITS), ("sample", "mode", schemas.SAMPLE_MODES),
     ("score", "measure", schemas.SCORE_MEASURES), ("export", "format", schemas.EXPORT_FORMATS),
     ("runs", "sort", schemas.RUN_ORDERS), ("encode", "on_bad", ON_BAD), ("eval", "checkpoint", ("best", "last")),
     ("train", "precision", schema.PRECISIONS), ("train", "execution", schema.EXECUTIONS)],
)  # fmt: skip
def test_a_closed_list_of_a_command_is_the_one_it_is_checked_by(command, key, names):
    assert set(described.settings_of(command)[key].values) == set(names)


def test_a_comment_is_read_to_its_end_and_no_further(tmp_path):
    path = tmp_path / "fog.yaml"
    path.write_text(
        "# Fog. It hides.\n#   aectl train noise=fog   an example\nname: fog\n\n# -- how thick\n"
        'density: 0.5 # or "a # b": 0 to 1\nkinds: [a, b] # or c (d, e), f: which\nnested:\n  one: null # 1; or 2\n'
    )
    file = described._File.read(path)
    assert [(section.title, *map(dataclasses.astuple, section.settings)) for section in file.sections()] == [
        ("how thick", ("density", "0.5", 'or "a # b": 0 to 1'), ("kinds", "[a,b]", "or c (d, e), f: which"),
         ("nested.one", "null", "1; or 2"))
    ]  # fmt: skip
    assert described._choice("noise", "fog", path).words == "Fog. It hides."
    assert described.Setting("k", "a", "or c (d, e), f: which").values == ("a", "c", "f")
    assert described.Setting("k", "a", "first; or b, c (x); then").values == ("a", "b", "c")
    assert described.Setting("k", "null", "words; null: never").values == ()
