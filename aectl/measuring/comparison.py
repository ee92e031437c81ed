"""The runs of a sweep beside each other: grouped over seeds, and as series along a setting."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aectl.errors import one_line

WEIGHT = "objective.weight"  # λ of a codec
AXES = ("latent", "kl_weight", "lr", WEIGHT)  # the numbers that sweeps go along
SEED = "seed"
ALL = "all runs"  # the name of a series where nothing tells several apart
# Settings whose values are names enough.
CHOICES = ("dataset", "noise", "network", "model", "prior", "objective", "likelihood", "schedule", "experiment")


@dataclass(frozen=True)
class Measured:
    """A finished run of a sweep, measured.

    Attributes:
        job: its number in the sweep.
        settings: what it was given and not all jobs share, `latent: "8"`; see `aectl.runs.sweeps.differing`.
        values: the number of each of `AXES` that it has.
        figures: what was measured, by name; see `aectl.measuring.sweep`. What does not exist, such as the KL of an
            AE, is not among them.
        seed: that of its training.
        data, likelihood: what it was measured on and scored by; where they differ, figures mean different things.
        curve: its objective at each epoch, on validation images where there are any.
        learnt: whether its last epoch was better than the mean image, as far as that is known.
    """

    job: str
    settings: dict[str, str]
    values: dict[str, float]
    figures: dict[str, float]
    seed: int = 0
    data: str = ""
    likelihood: str = ""
    curve: Sequence[float | None] = ()
    learnt: bool = True

    @property
    def not_finite(self) -> list[str]:
        """The figures that are NaN or infinite: such a run is in no mean."""
        return [name for name, value in self.figures.items() if not math.isfinite(value)]


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone."""

    settings: dict[str, str]
    runs: Sequence[Measured]

    def value(self, axis: str) -> float | None:
        """The number that the setting `axis` has in this group; None where there is no such setting."""
        return self.runs[0].values.get(axis)

    @property
    def seeds(self) -> int:
        """How many seeds there are."""
        return len({run.seed for run in self.runs})

    def has(self, name: str) -> bool:
        """Whether every run has that figure."""
        return all(name in run.figures for run in self.runs)

    def _by_seed(self, name: str) -> list[float]:
        """One value for each seed; runs that differ in nothing that matters, not even in that, count once."""
        values: dict[int, list[float]] = {}
        for run in self.runs:
            values.setdefault(run.seed, []).append(run.figures[name])
        return [statistics.fmean(of_one) for of_one in values.values()]

    def mean(self, name: str) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self._by_seed(name))

    def sd(self, name: str) -> float | None:
        """Standard deviation over the seeds (the sample's, n − 1); None for one seed, which has no spread."""
        values = self._by_seed(name)
        return statistics.stdev(values) if len(values) > 1 else None


def grouped(runs: Sequence[Measured]) -> list[Group]:
    """The runs by their settings without the seed, in the order of the sweep; those with a NaN are left out."""
    found: dict[tuple[tuple[str, str], ...], list[Measured]] = {}
    for run in runs:
        if not run.not_finite:
            key = tuple((name, value) for name, value in run.settings.items() if name != SEED)
            found.setdefault(key, []).append(run)
    return [Group(dict(key), members) for key, members in found.items()]


def that_learnt(groups: Sequence[Group]) -> list[Group]:
    """The groups with those of their runs alone that have learnt; all as they are where none has."""
    found = [Group(group.settings, [run for run in group.runs if run.learnt]) for group in groups]
    return [group for group in found if group.runs] or list(groups)


def series(groups: Sequence[Group], axis: str | None = None) -> dict[str, list[Group]]:
    """Groups that differ by `axis` alone, in its order, by what they share; without one, by all of `AXES`.

    What has no such setting is in none.
    """
    along = AXES if axis is None else (axis,)
    found: dict[str, list[Group]] = {}
    for group in groups:
        if axis is not None and group.value(axis) is None:
            continue
        found.setdefault(label(group, along), []).append(group)
    return {
        name: sorted(members, key=lambda group: [group.value(axis) or 0 for axis in along])
        for name, members in found.items()
    }


def label(group: Group, without: Sequence[str] = ()) -> str:
    """A group's settings in words: `vae`, `vae lr=0.01`; `all runs` where nothing is left to tell them apart."""
    return in_words(group.settings, without)


def in_words(settings: Mapping[str, str], without: Sequence[str] = ()) -> str:
    """Settings in words, as of `label`."""
    words = [
        value if name in CHOICES else f"{name}={value}" for name, value in settings.items() if name not in without
    ]
    return one_line(" ".join(words)) or ALL


def place(group: Group, members: Sequence[Group]) -> str:
    """Where a group stands in its series: `latent=8`, or the series' name where it is alone."""
    words = [
        f"{axis}={value:g}" for axis in AXES if varies(members, axis) and (value := group.value(axis)) is not None
    ]
    return " ".join(words) or label(group)


def varies(groups: Sequence[Group], axis: str) -> bool:
    """Whether `axis` has more than one value among the groups."""
    return len({group.value(axis) for group in groups} - {None}) > 1


def best(groups: Sequence[Group]) -> Measured:
    """The run with the least recon + KL (of an AE: recon) on validation images, not on those shown."""
    return min((run for group in groups for run in group.runs), key=lambda run: run.figures["chosen_by"])


def apart(a: Group, b: Group, name: str) -> bool:
    """Whether the two means lie further from each other than their standard deviations over seeds together.

    That is where the intervals mean ± sd do not meet; of three seeds each, 2.4 standard errors of the difference.
    With one seed there is no spread, and nothing can be told apart.
    """
    spread = a.sd(name), b.sd(name)
    return None not in spread and abs(a.mean(name) - b.mean(name)) > sum(spread)
