"""Choices: closed tables of small classes, and the YAML files that name them."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest
import yaml

from aectl.cli.composing import config_dir
from aectl.data.datasets.table import DATASETS
from aectl.data.noise import NOISES
from aectl.errors import ConfigError
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.table import NETWORKS
from aectl.settings import ranges, typed
from aectl.settings.choices import Checked, Choice, Range, Table


@dataclass(frozen=True, kw_only=True)
class Fruit(Choice):
    group: ClassVar = "fruit"


@dataclass(frozen=True, kw_only=True)
class Apple(Fruit):
    name: ClassVar = "apple"
    weight: Annotated[float, Range(0, 500)]
    seeds: Annotated[int | None, Range(1)] = None


@dataclass(frozen=True, kw_only=True)
class Pear(Fruit):
    name: ClassVar = "pear"
    colours: list[str]

    def check(self) -> None:
        if not self.colours:
            raise ConfigError("fruit.colours=[]: give one")


FRUITS = Table(Fruit, Apple, Pear)


def test_a_choice_is_read_and_written_as_plain_data():
    read = FRUITS.read({"name": "apple", "weight": 120, "seeds": 5})
    assert read == Apple(weight=120.0, seeds=5)
    assert isinstance(read.weight, float)
    assert typed.to_dict(read) == {"name": "apple", "weight": 120.0, "seeds": 5}
    assert FRUITS.read(typed.to_dict(Pear(colours=["green"]))) == Pear(colours=["green"])
    assert list(FRUITS) == ["apple", "pear"]


def test_null_settings_of_other_choices_are_passed_over_as_old_checkpoints_have_them():
    assert FRUITS.read({"name": "apple", "weight": 1, "colours": None}) == Apple(weight=1)
    plain = {"name": "bernoulli", "sigma": None, "learn": False, "mean": "identity"}
    assert LIKELIHOODS.read(plain).name == "bernoulli"
    with pytest.raises(ConfigError, match=r"likelihood\.learn=true: no such setting of likelihood=bernoulli"):
        LIKELIHOODS.read({**plain, "learn": True})


@dataclass(frozen=True, kw_only=True)
class Nut(Fruit):
    name: ClassVar = "nut"
    halves: Literal["all", 1, 2]
    shell: Annotated[float, Range(0, open_low=True)]
    kind: Annotated[Any, Checked(lambda key, value: ranges.choice(key, value, ("hazel", "7")))]


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"halves": 3}, "fruit.halves=3: no such choice (choices: all, 1, 2)"), ({"halves": 1.0}, "fruit.halves=1.0"),
     ({"halves": True}, "fruit.halves=true"),
     ({"halves": "al"}, "fruit.halves=al: no such choice, did you mean 'all'?"),
     ({"shell": 0}, "fruit.shell=0.0: must be a number above 0"),
     ({"kind": "oak"}, "fruit.kind=oak: no such choice (choices: hazel, 7)")],
)  # fmt: skip
def test_words_or_numbers_ranges_without_their_end_and_what_a_function_checks(changes, says):
    plain = {"name": "nut", "halves": 1, "shell": 0.1, "kind": "7"}
    assert Table(Fruit, Nut).read(plain).halves == 1
    with pytest.raises(ConfigError) as refused:
        Table(Fruit, Nut).read({**plain, **changes})
    assert str(refused.value).startswith(says)


@pytest.mark.parametrize(
    ("plain", "says"),
    [({"name": "aple"}, "fruit.name=aple: no such choice, did you mean 'apple'?"),
     ({"name": "apple", "weight": 501}, "fruit.weight=501.0: must be a number of at least 0 and at most 500"),
     ({"name": "apple", "weight": float("nan")}, "fruit.weight=nan"),
     ({"name": "apple", "weight": "12"}, "fruit.weight=12: must be a number"),
     ({"name": "apple", "weight": True}, "fruit.weight=true: must be a number"),
     ({"name": "apple", "weight": None}, "fruit.weight=null: must be a number"),
     ({"name": "apple", "weight": 1, "seeds": 1.5}, "fruit.seeds=1.5: must be a whole number"),
     ({"name": "apple", "weight": 1, "seeds": 0}, "fruit.seeds=0: must be a number of at least 1"),
     ({"name": "apple"}, "fruit.weight=null: fruit=apple needs it"),
     ({"name": "apple", "weight": 1, "colours": ["red"]},
      "fruit.colours=['red']: no such setting of fruit=apple (it has weight, seeds)"),
     ({"name": "pear", "colours": "red"}, "fruit.colours=red: must be a list"),
     ({"name": "pear", "colours": [1]}, "fruit.colours=1: must be text"),
     ({"name": "pear", "colours": []}, "fruit.colours=[]: give one"),
     ({"weight": 1}, "fruit: must be a choice with its name"), ([], "fruit: must be a choice"),
     ({"name": ["apple"]}, "fruit: must be a choice")],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_key(plain, says):
    with pytest.raises(ConfigError) as refused:
        FRUITS.read(plain)
    assert str(refused.value).startswith(says)


def test_a_choice_made_in_python_is_checked_as_well():
    with pytest.raises(ConfigError, match="weight"):
        Apple(weight=-1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Apple(weight=1.0).weight = 2.0


@pytest.mark.parametrize("table", [DATASETS, NOISES, LIKELIHOODS, NETWORKS], ids=lambda table: table.group)
def test_every_yaml_file_is_a_choice_with_its_defaults(table):
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (config_dir() / table.group).glob("*.yaml")}
    assert set(files) == set(table)
    for name, plain in files.items():
        plain.pop("defaults", None)  # Hydra's: what it chooses beside
        choice = table.read(plain)
        assert choice.name == name
        # All of them: what a file does not have, the command line cannot change.
        assert set(plain) == {"name", *(field.name for field in dataclasses.fields(choice))}
        for field in dataclasses.fields(choice):
            if field.default is not dataclasses.MISSING:
                assert plain[field.name] == field.default, f"{name}: {field.name}"


def test_the_levels_of_each_noise_rise_and_can_be_mixed():
    for name in NOISES:
        kind = NOISES[name]
        assert len(kind.levels) == (0 if name in ("none", "mixture") else 3)
        made = [kind(**settings) for settings in kind.levels]
        assert len({repr(one) for one in made}) == len(made)
        assert (kind.mixed is None) == (not kind.levels)
