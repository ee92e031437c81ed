"""The runs of a sweep beside each other: grouped over seeds, as series along a setting, and in sentences."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

AXES = ("latent", "kl_weight")  # the numbers that sweeps go along
SEED = "seed"
CLOSE = 1.0  # nats per image that do not matter when a size of the code is chosen


@dataclass(frozen=True)
class Measured:
    """A finished run of a sweep, measured.

    Attributes:
        job: its number in the sweep.
        settings: of its overrides those that not all jobs share, `latent: "8"`.
        values: the number of each of `AXES`.
        figures: what was measured, by name; see `aectl.report`.
        has_prior: whether it is a VAE.
        curve: its objective at each epoch, on validation images where there are any.
    """

    job: str
    settings: dict[str, str]
    values: dict[str, float]
    figures: dict[str, float]
    has_prior: bool
    curve: Sequence[float | None] = ()


@dataclass(frozen=True)
class Group:
    """Runs that differ by their seed alone."""

    settings: dict[str, str]
    runs: Sequence[Measured]

    def value(self, axis: str) -> float:
        """The number that the setting `axis` has in this group."""
        return self.runs[0].values[axis]

    @property
    def has_prior(self) -> bool:
        """Whether they are VAEs."""
        return self.runs[0].has_prior

    def _all(self, name: str) -> list[float]:
        return [run.figures[name] for run in self.runs if name in run.figures]

    def has(self, name: str) -> bool:
        """Whether that figure was measured."""
        return bool(self._all(name))

    def mean(self, name: str) -> float:
        """Mean over the seeds."""
        return statistics.fmean(self._all(name))

    def sd(self, name: str) -> float:
        """Standard deviation over the seeds (the sample's, n − 1); 0 for one seed."""
        values = self._all(name)
        return statistics.stdev(values) if len(values) > 1 else 0.0


def grouped(runs: Sequence[Measured]) -> list[Group]:
    """The runs by their settings without the seed, in the order of the sweep."""
    found: dict[tuple[tuple[str, str], ...], list[Measured]] = {}
    for run in runs:
        key = tuple((name, value) for name, value in run.settings.items() if name != SEED)
        found.setdefault(key, []).append(run)
    return [Group(dict(key), members) for key, members in found.items()]


def series(groups: Sequence[Group], axis: str | None = None) -> dict[str, list[Group]]:
    """Groups that differ by `axis` alone, in its order, by what they share; without one, by all of `AXES`."""
    along = AXES if axis is None else (axis,)
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(label(group, along), []).append(group)
    return {
        name: sorted(members, key=lambda group: [group.value(axis) for axis in along])
        for name, members in found.items()
    }


def label(group: Group, without: Sequence[str] = ()) -> str:
    """A group's settings in words: `vae`, `vae lr=0.01`; `all runs` where nothing is left to tell them apart."""
    words = [
        value if name in ("model", "network", "noise", "likelihood", "dataset") else f"{name}={value}"
        for name, value in group.settings.items()
        if name not in without
    ]
    return " ".join(words) or "all runs"


def place(group: Group, members: Sequence[Group]) -> str:
    """Where a group stands in its series: `latent=8`, or the series' name where it is alone."""
    words = [f"{axis}={group.value(axis):g}" for axis in AXES if varies(members, axis)]
    return " ".join(words) or label(group)


def varies(groups: Sequence[Group], axis: str) -> bool:
    """Whether `axis` has more than one value among the groups."""
    return len({group.value(axis) for group in groups}) > 1


def best(groups: Sequence[Group]) -> Measured:
    """The run with the least recon + KL (of an AE: recon) on validation images, not on those shown."""
    return min((run for group in groups for run in group.runs), key=lambda run: run.figures["chosen_by"])


# ------------------------------------------------------------------------------------------ sentences


def findings(groups: Sequence[Group]) -> list[str]:
    """What the sweep shows, a sentence or two for each series; figures are means over seeds."""
    said = []
    for axis, sentence in (("latent", _along_latent), ("kl_weight", _along_weight)):
        for name, members in series(groups, axis).items() if varies(groups, axis) else ():
            if len(members) > 1:
                said += sentence(name, members)
    if not said and len(groups) > 1:
        for name, members in series(groups).items():
            winner = best(members)
            found = (
                f"ELBO {winner.figures['elbo']:.2f}" if winner.has_prior else f"recon {winner.figures['recon']:.2f}"
            )
            said.append(f"**{name}**: {found} nats per image in job {winner.job}.")
    for figure, what in (("recon", "reconstruction"), ("elbo", "ELBO")):
        spread = [group.sd(figure) for group in groups if len(group.runs) > 1 and group.has(figure)]
        if spread:
            said.append(f"Between seeds the {what} has a standard deviation of at most {max(spread):.2f} nats.")
    return said


def _along_latent(name: str, members: Sequence[Group]) -> list[str]:
    first, last = members[0], members[-1]
    said = [
        f"**{name}**: from {first.value('latent'):g} to {last.value('latent'):g} latents the squared error "
        f"{_goes(first.mean('sse'), last.mean('sse'))} per image{_against_pca(members)}."
    ]
    if first.has_prior:
        top = max(members, key=lambda group: group.mean("elbo"))
        enough = next(group for group in members if group.mean("elbo") > top.mean("elbo") - CLOSE)
        text = f"Its ELBO is highest with {top.value('latent'):g} latents ({top.mean('elbo'):.2f} nats)"
        if enough is not top:
            text += f", and within {CLOSE:g} nat of that from {enough.value('latent'):g} on"
        unused = last.value("latent") - last.mean("active_units")
        if unused >= 0.5:
            text += f"; of {last.value('latent'):g} latents it uses {last.mean('active_units'):.3g}"
        said.append(text + ".")
    return said


def _against_pca(members: Sequence[Group]) -> str:
    """Where the error is below that of PCA with as many components."""
    if not all(group.has("pca_sse") for group in members):
        return ""
    below = [group.value("latent") for group in members if group.mean("sse") < group.mean("pca_sse")]
    if len(below) == len(members):
        return ", below PCA's at every size"
    if not below:
        return ", above PCA's at every size"
    return f", below PCA's with {_listed(below)} and above it with the others"


def _along_weight(name: str, members: Sequence[Group]) -> list[str]:
    members = [group for group in members if group.has_prior]
    if len(members) < 2:
        return []
    first, last = members[0], members[-1]
    return [
        f"**{name}**: from kl_weight {first.value('kl_weight'):g} to {last.value('kl_weight'):g} the KL "
        f"{_goes(first.mean('kl'), last.mean('kl'))} nats and the reconstruction "
        f"{_goes(first.mean('recon'), last.mean('recon'))}; active units "
        f"{_goes(first.mean('active_units'), last.mean('active_units'))}."
    ]


def _goes(before: float, after: float) -> str:
    if f"{before:.4g}" == f"{after:.4g}":
        return f"stays at {before:.4g}"
    return f"{'falls' if after < before else 'rises'} from {before:.4g} to {after:.4g}"


def _listed(values: Sequence[float]) -> str:
    words = [f"{value:g}" for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# -------------------------------------------------------------------------------------------- tables

UNITS = {
    "recon": "recon", "kl": "KL", "elbo": "ELBO", "sse": "squared error", "pca_sse": "PCA's", "psnr": "PSNR (dB)",
    "active_units": "active units", "seconds": "seconds",
}  # fmt: skip


def table(groups: Sequence[Group]) -> tuple[list[str], list[list[str]]]:
    """Header and rows, a row for each group: its settings, how many runs, each figure as mean ± sd over seeds."""
    keys = list(groups[0].settings)
    shown = [name for name in UNITS if any(group.has(name) for group in groups)]
    rows = [[*(group.settings[key] for key in keys), str(len(group.runs)), *_cells(group, shown)] for group in groups]
    return [*keys, "runs", *(UNITS[name] for name in shown)], rows


def _cells(group: Group, names: Sequence[str]) -> list[str]:
    return [_cell(group, name) if group.has(name) else "" for name in names]


def _cell(group: Group, name: str) -> str:
    digits = 1 if name in ("active_units", "seconds") else 2
    mean = f"{group.mean(name):.{digits}f}"
    constant = name == "pca_sse" or len(group.runs) == 1
    return mean if constant else f"{mean} ± {group.sd(name):.{digits}f}"


def records(runs: Sequence[Measured]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows, a row for each run, with full precision."""
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = [
        [run.job, *(run.settings.get(key, "") for key in keys), *(run.figures.get(name, "") for name in names)]
        for run in runs
    ]
    return ["job", *keys, *names], rows
