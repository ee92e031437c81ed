"""Every number that a setting may be has an end on either side that float32 can compute with."""

import dataclasses
import math
import types
import typing

import pytest
from conftest import SMALL

from aectl.cli.composing import composed
from aectl.commands.table import COMMANDS
from aectl.data.datasets.table import DATASETS
from aectl.data.noise import NOISES
from aectl.errors import UserError
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import OBJECTIVES
from aectl.models.priors import PRIORS
from aectl.models.table import MODELS
from aectl.runs.schedules import SCHEDULES, Steps
from aectl.settings import common, typed
from aectl.settings.choices import Range

TABLES = (DATASETS, NOISES, NETWORKS, MODELS, PRIORS, OBJECTIVES, LIKELIHOODS, SCHEDULES)
LARGEST = 3e38  # of float32


def ranges_of(hint) -> tuple[type, list[Range]]:
    """The type beneath a hint, and the ranges beside it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
    if typing.get_origin(hint) is not typing.Annotated:
        return hint, []
    kind, *beside = typing.get_args(hint)
    return ranges_of(kind)[0], [one for one in beside if isinstance(one, Range)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.group)
def test_every_number_of_a_choice_has_a_range_with_two_ends(table):
    for choice in table.choices.values():
        hints = typing.get_type_hints(choice, include_extras=True)
        for field in dataclasses.fields(choice):
            kind, ranges = ranges_of(hints[field.name])
            if kind in (int, float):
                assert ranges, (choice, field.name)
                assert all(math.isfinite(one.low) and one.high <= 2**63 for one in ranges), (choice, field.name)
                assert kind is int or all(one.high < LARGEST for one in ranges), (choice, field.name)


def numbers(values: dict, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where numbers stand among nested settings, choices left out."""
    found = []
    for key, value in values.items():
        if isinstance(value, dict) and "name" not in value:
            found += numbers(value, (*prefix, key))
        elif type(value) in (int, float):
            found.append((*prefix, key))
    return found


# Words without which a command cannot be composed, and those that make a number of each setting that may be null.
WORDS = {
    "train": ("grad_clip=1", "early_stop=1", "threads=1"), "encode": ("output=a.npz",),
    "decode": ("output=a", "input=a.npz"), "export": ("output=a",), "eval": ("nll_samples=1",),
    "score": ("threshold=0.5",), "runs": ("last=1",),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_number_of_a_command_has_two_ends(command):
    plain = typed.to_dict(composed(command, *WORDS.get(command, ())))
    kind, _ = COMMANDS[command].load()
    for *way, last in numbers(plain):
        for value in (10**50, -(10**50), 1e300, -1e300, math.inf, math.nan):
            changed = typed.to_dict(plain)
            place = changed
            for key in way:
                place = place[key]
            place[last] = value
            try:
                common.check(typed.from_dict(kind, changed, ""))
            except (UserError, ValueError) as error:
                assert last in str(error)  # noqa: PT017
            else:
                raise AssertionError((*way, last, value))


@pytest.mark.parametrize(
    ("setting", "says"),
    [("objective.free_bits=1e308", "at most 1e+09"), ("model.logvar_clip=[-1e308,1e308]", "from -80 to 80"),
     ("lr=1e308", "at most 1e+38"), ("batch_size=1000000000000", "at most 1e+09"),
     ("adam.eps=1e-300", "at least 1e-30"),
     ("epochs=1000000000000000000000000000000", "at most 1e+09"), ("kl_weight=1e39", "at most 1e+09")],
)  # fmt: skip
def test_what_float32_cannot_compute_with_is_refused_in_one_line(aectl, setting, says):
    result = aectl("train", *SMALL, setting)
    assert result.status == 2
    (line,) = result.err.strip().splitlines()
    assert line.startswith(f"aectl: {setting.partition('=')[0]}=")
    assert says in line


def test_the_ends_of_what_is_allowed_can_be_computed_with(aectl):
    """Free bits and limits of log σ² at their very ends: numbers that are finite, or a run that says it diverges."""
    for setting in ("objective.free_bits=1e9", "model.logvar_clip=[-80,80]", "kl_weight=1e9", "adam.eps=1e9"):
        assert aectl("train", *SMALL, setting, "epochs=1").status in (0, 5), setting


def test_very_many_steps_of_a_schedule_are_refused():
    with pytest.raises(UserError, match="at most 100 epochs"):
        Steps(after=list(range(1, 400)), factor=10.0)
    with pytest.raises(UserError, match="at most 10"):
        Steps(after=[1], factor=1e300)
    assert Steps(after=list(range(1, 101)), factor=10.0).share(10**6, 1, 200) == pytest.approx(1e100)


def test_limits_of_a_variance_are_numbers():
    for pair in ([-1e308, 1e308], [-math.inf, 0], [0, 81], [1, 1], [math.nan, 1]):
        with pytest.raises(UserError, match=r"give .least, most"):
            Vae(posterior="logvar", logvar_clip=[float(end) for end in pair])
