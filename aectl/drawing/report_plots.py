"""The pictures of a report: figures against what varies, curves, and what the best runs make."""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aectl.drawing import codec_plots, grids, plots, views
from aectl.drawing.plots import Line
from aectl.measuring import comparison, lossy
from aectl.measuring.comparison import AXES, Group, Measured
from aectl.measuring.endings import Ending, Endings
from aectl.measuring.lossy import Beside
from aectl.measuring.scoring import codes_of
from aectl.measuring.sweep import Bench
from aectl.runs import schema

MAX_SHOWN = 4  # series whose curves and best run are shown
MAX_CODES = 5000  # points in a scatter
MAX_STEM = 150  # bytes of a series' name in that of a file
AXIS_NAMES = {"latent": "latent size", "kl_weight": "kl_weight β", "lr": "learning rate", comparison.WEIGHT: "λ"}
RATES = ("kl_weight", "latent")  # the axes along which rate is traded for distortion

Named = tuple[str, views.View]


class Palette:
    """One colour for each series of a sweep, the same in all pictures; shades of it where a plot divides the series.

    Attributes:
        bases: the colours of the series by their names.
    """

    def __init__(self, groups: Sequence[Group]):
        families = list(comparison.series(groups))
        self.bases = dict(zip(families, plots.palette(len(families)), strict=True))

    def of(self, lines: dict[str, list[Group]]) -> dict[str, str]:
        """The colour of each line of a plot, by its name."""
        families: dict[str, list[str]] = {}
        for name, members in lines.items():
            families.setdefault(comparison.label(members[0], AXES), []).append(name)
        return {
            name: shade
            for family, names in families.items()
            for name, shade in zip(names, plots.shades(self.bases[family], len(names)), strict=True)
        }


def along(groups: Sequence[Group], ended: Endings) -> Iterator[Named]:
    """Plots of what varies, by name; first of how the runs ended, where not all have learnt.

    Along the learning rate they show only runs that have: one that exploded would flatten all others.
    """
    palette = Palette(groups)
    if ended.differ:
        yield "endings", _endings(ended)
    if comparison.varies(groups, "lr"):
        groups = comparison.that_learnt(groups)
    for axis in AXES:
        if comparison.varies(groups, axis):
            yield from _along(groups, axis, palette)
    priors = [group for group in groups if group.has("kl")]
    if any(comparison.varies(priors, axis) for axis in RATES):
        yield "rate_distortion", _rate_distortion(priors, palette)
    groups = [group for group in groups if all(run.curve for run in group.runs)]
    lines = comparison.series(groups)
    if groups and len(lines) == len(groups):
        yield "curves", _curves({comparison.label(group): group for group in groups}, palette, "objective by epoch")
        return
    for name, members in list(lines.items())[:MAX_SHOWN]:
        places = {comparison.place(group, members): group for group in members}
        yield f"curves_{_stem(name)}", _curves(places, palette, f"{name}: objective by epoch")


def of_codecs(
    bench: Bench, jobs: Sequence[dict[str, Any]], groups: Sequence[Group], beside: Beside
) -> Iterator[Named]:
    """Rate and distortion of the sweep's codecs beside others, and what one of them makes of some pictures."""
    if not any(group.has("bpp") for group in groups):
        return
    palette, series = Palette(groups), lossy.series(groups)
    yield from codec_plots.curves(groups, beside, palette.of(series))
    chosen = codec_plots.nearest(groups).runs[0]
    run, *_ = bench.open(next(job for job in jobs if job["job"] == chosen.job))
    name = f"aectl, job {chosen.job}, λ {chosen.values[comparison.WEIGHT]:g}"
    yield "parts", codec_plots.parts(run, beside.pictures, name)


def _endings(ended: Endings) -> views.View:
    """Of each cell's runs the share that has learnt."""
    shares = [[cell.count(Ending.LEARNT) / len(cell) if cell else None for cell in row] for row in ended.cells]
    _, rows = ended.table()
    words = [[cell.replace(" (", "\n(") for cell in cells] for _, *cells in rows]
    title = "runs that ended better than the mean image"
    return plots.share_table(shares, words, title, (ended.rows, ended.columns), AXIS_NAMES.get(ended.axis, ""))


def _along(groups: Sequence[Group], axis: str, palette: Palette) -> Iterator[Named]:
    """Squared error, ELBO and active units against one number."""
    series = comparison.series(groups, axis)
    colours, against = palette.of(series), AXIS_NAMES[axis]
    for figure, stem, title, label in (
        ("sse", "reconstruction", "reconstruction", "squared error per image"),
        ("elbo", "elbo", "ELBO", "ELBO (nats per image)"),
        ("active_units", "active_units", "active units", "active units"),
    ):
        shown = {
            name: found
            for name, members in series.items()
            if (members[0].has("kl") or figure == "sse")
            and (found := [group for group in members if group.has(figure)])
        }
        if not shown:
            continue
        lines = [_line(name, members, axis, figure, colours[name]) for name, members in shown.items()]
        if figure == "sse" and axis == "latent":
            lines += _pca(groups)
        if figure == "active_units" and axis == "latent":
            sizes = sorted({group.value("latent") for members in shown.values() for group in members})
            lines.append(Line("all of them", sizes, sizes, dashed=True))
        told = f"{title} against {against}{' (runs that have learnt)' if axis == 'lr' else ''}"
        yield f"{stem}_by_{axis}", plots.lines(lines, told, against, label, log_x=True, log_y=figure == "sse")


def _line(name: str, members: Sequence[Group], axis: str, figure: str, colour: str) -> Line:
    return Line(
        name,
        [group.value(axis) for group in members],
        [group.mean(figure) for group in members],
        [group.sd(figure) or 0.0 for group in members],
        colour=colour,
    )


def _pca(groups: Sequence[Group]) -> list[Line]:
    """A dashed line for each data set."""
    found: dict[str, dict[float, float]] = {}
    for group in groups:
        if group.has("pca_sse"):
            found.setdefault(group.runs[0].data, {})[group.value("latent")] = group.mean("pca_sse")
    shades = plots.shades(plots.GREY, len(found))
    return [
        Line("PCA" if len(found) == 1 else f"PCA, {data}", sorted(sizes), [sizes[size] for size in sorted(sizes)],
             dashed=True, colour=shade)
        for (data, sizes), shade in zip(found.items(), shades, strict=True)
    ]  # fmt: skip


def _curves(groups: dict[str, Group], palette: Palette, title: str) -> views.View:
    """The objective by epoch, averaged over the runs of each group."""
    colours = palette.of({name: [group] for name, group in groups.items()})
    lines = []
    for name, group in groups.items():
        length = min(len(run.curve) for run in group.runs)
        columns = [[run.curve[epoch] for run in group.runs] for epoch in range(length)]
        means = [float("nan") if None in column else sum(column) / len(column) for column in columns]
        lines.append(Line(name, range(1, length + 1), means, colour=colours[name]))
    return plots.lines(lines, title, "epoch", "nats per image")


def _rate_distortion(groups: Sequence[Group], palette: Palette) -> views.View:
    """KL, the rate, against reconstruction, the distortion; ELBO at β = 1 is constant along falling diagonals."""
    axis = next(axis for axis in RATES if comparison.varies(groups, axis))
    series = comparison.series(groups, axis)
    colours = palette.of(series)
    lines = [
        Line(
            name,
            [group.mean("kl") for group in members],
            [group.mean("recon") for group in members],
            [group.sd("recon") or 0.0 for group in members],
            [f"{group.value(axis):g}" for group in members],
            colour=colours[name],
        )
        for name, members in series.items()
    ]
    title = f"rate and distortion; the numbers are {'latent sizes' if axis == 'latent' else 'kl_weight'}"
    return plots.lines(lines, title, "KL (nats per image)", "reconstruction term (nats per image)")


def of_best(bench: Bench, jobs: Sequence[dict[str, Any]], groups: Sequence[Group]) -> Iterator[Named]:
    """What the best run of each series makes, by name, under a stripe of the series' colour."""
    by_number = {job["job"]: job for job in jobs}
    lines = dict(list(comparison.series(groups).items())[:MAX_SHOWN])
    colours = Palette(groups).bases
    for name, members in lines.items():
        chosen = comparison.best(members)
        for kind, picture in _of_run(bench, by_number[chosen.job], chosen, name):
            yield f"best_{_stem(name)}_{kind}", grids.banded(picture, colours[name])


def _of_run(bench: Bench, job: dict[str, Any], chosen: Measured, name: str) -> Iterator[Named]:
    run, data, _ = bench.open(job)
    images, device = bench.images(data, job), bench.device
    said = ("model", "latent", "dataset")  # by the caption
    more = [f"{key}={value}" for key, value in chosen.settings.items() if key not in said]
    which = ", ".join([f"the best of {name}: job {chosen.job}", schema.caption(run.config), *more])
    yield "reconstructions", views.reconstructions(run.model, images, run.config.noise, device, which)
    if run.model.prior is not None:
        yield "samples", views.prior_samples(run.model, device, which)
    if run.model.latent is not None:
        few = images.spread(MAX_CODES)
        codes = codes_of(run.model, few, device)
        title = f"{which}\ncodes of {len(codes):,} {bench.split} images"
        yield "codes", views.latent_scatter(codes, few.labels, title)


def _stem(name: str) -> str:
    """A series' name as part of a file's, as far as there is room for it."""
    return os.fsencode(re.sub(r"\W+", "_", name))[:MAX_STEM].decode(errors="ignore")
