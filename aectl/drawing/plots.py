"""Plots, and the only module that draws them: matplotlib's, off screen, without its global state.

Every function returns one RGB picture, (H, W, 3) uint8.
"""

import logging
import math
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import to_uint8
from aectl.drawing import log_ticks
from aectl.errors import brief

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts is nobody's matter

BLUE, ORANGE, GREY = "#3b6ea8", "#d9772b", "#737373"
TRAIN, VALIDATION = BLUE, ORANGE  # in every plot that has both
_MAX_LEGEND = 20
_UNITS = {"mse": "squared error per pixel", "psnr": "PSNR (dB)"}  # of curves that are not in nats
LETTERS, TITLE = 120, 400  # of a line and of a title at most, whoever made the names in them
CHARACTERS = 9  # of a title in an inch of a plot


def font_file() -> str:
    """The font of all plots, which comes with matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf")


def _figure(width: float = 6.4, height: float = 4.6) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _broken(title: str, figure: "Figure") -> str:
    """A title in lines that fit."""
    room = int(figure.get_figwidth() * CHARACTERS)
    return "\n".join(textwrap.fill(line, room) for line in title[:TITLE].split("\n"))


def _pixels(figure: "Figure") -> np.ndarray:
    """The figure drawn; a dollar in a name is no formula, and what cannot be seen is spelled out."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_text("\n".join(brief(line, LETTERS) for line in text.get_text().split("\n")))
        text.set_parse_math(False)
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings(), rc_context({"text.parse_math": False}):  # of ticks, which come while it draws
        warnings.filterwarnings("ignore", "Creating legend")  # is slow, it says, on a machine that is busy
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # for a long name
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font has not
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _dots(axes: Any, points: Tensor, labels: Tensor | None) -> dict[str, Any]:
    """Points (N, 2) coloured by label (N,), grey for -1, which is none; what a legend of them needs."""
    xy = points.cpu().numpy()
    size = _size(len(xy))
    if labels is None:
        axes.scatter(*xy.T, s=size, color=BLUE, alpha=0.6, linewidths=0)
        return {}
    outside = xy[(labels < 0).numpy()]
    if len(outside):
        axes.scatter(*outside.T, s=size, color="0.7", alpha=0.7, linewidths=0, label="none")
    values = labels[labels >= 0].unique().tolist()
    for value, colour in zip(values, label_colours(len(values)), strict=True):
        chosen = xy[(labels == value).numpy()]
        axes.scatter(*chosen.T, s=size, color=colour, alpha=0.7, linewidths=0, label=str(value))
    return {"title": "label", "markerscale": 2.5, "frameon": False} if len(values) <= _MAX_LEGEND else {}


def _size(count: int) -> int:
    """Of a point, in points squared, where there are so many."""
    return 16 if count <= 1000 else 6


def scatter(points: Tensor, labels: Tensor | None, title: str, axis_names: Sequence[str]) -> np.ndarray:
    """Points (N, 2) coloured by label (N,), grey for -1, which is none; equal scales, for true distances."""
    figure, axes = _figure(6.8, 6.0)
    if legend := _dots(axes, points, labels):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), **legend)
    axes.set(title=_broken(title, figure), xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set_aspect("equal", adjustable="datalim")
    return _pixels(figure)


def plane(
    points: Tensor,
    labels: Tensor | None,
    cells: Tensor,
    columns: int,
    limits: Sequence[float],
    titles: Sequence[str],
    names: Sequence[str],
) -> np.ndarray:
    """Codes and what their plane decodes to, beside each other on the same axes.

    Args:
        points: codes, (N, 2).
        labels: (N,), -1 for none, or None.
        cells: decoded images, (M, C, H, W), row by row from the top left; they divide the plane evenly.
        columns: how many of them are in a row.
        limits: of both axes: least and most of the first latent, least and most of the second.
        titles: of the picture, of the codes, of the decoded plane.
        names: of the axes.
    """
    from matplotlib.figure import Figure

    size = 12.5, 7.1  # inches; places are given, since to find them takes longer than all the rest
    figure = Figure(figsize=size, dpi=110)
    side, low = 5.3, 1.05
    left, right = (
        figure.add_axes((at / size[0], low / size[1], side / size[0], side / size[1])) for at in (0.8, 7.0)
    )
    legend = _dots(left, points, labels)
    sheet = _sheet(cells, columns)
    right.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="antialiased", extent=limits)
    for axes, title in zip((left, right), titles[1:], strict=True):
        axes.set(title=title, xlabel=names[0], ylabel=names[1], xlim=limits[:2], ylim=limits[2:])
        axes.set_aspect("equal")
    if legend:
        figure.legend(loc="lower center", ncols=11, **legend)
    figure.suptitle(titles[0])
    return _pixels(figure)


def _sheet(cells: Tensor, columns: int) -> np.ndarray:
    """Images (M, C, H, W) without a gap, row by row: (rows·H, columns·W) or (rows·H, columns·W, 3), uint8."""
    pixels = to_uint8(cells.detach().float().cpu()).permute(0, 2, 3, 1).numpy()
    _, height, width, channels = pixels.shape
    sheet = pixels.reshape(-1, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(-1, columns * width, channels)
    return sheet if channels == 3 else sheet[..., 0]


def spread(values: Tensor, labels: Tensor | None, title: str, axis_name: str) -> np.ndarray:
    """How one-dimensional codes (N,) lie: a row of points for each label, moved up and down a little to be seen."""
    figure, axes = _figure(6.8, 4.6)
    rows = torch.zeros(len(values), dtype=torch.long) if labels is None else labels
    jitter = (torch.arange(len(values)) * 0.618034) % 1 - 0.5  # evenly filled, and the same each time
    heights, size = (rows + 0.7 * jitter).numpy(), _size(len(values))
    axes.scatter(values.cpu().numpy(), heights, s=size, color=BLUE, alpha=0.6, linewidths=0)
    if labels is None:
        axes.set_yticks([])
    else:
        axes.set(ylabel="label")
        if len(values_of := labels.unique().tolist()) <= _MAX_LEGEND:
            axes.set_yticks(values_of, ["none" if value < 0 else str(value) for value in values_of])
    axes.set(title=_broken(title, figure), xlabel=axis_name)
    return _pixels(figure)


def manifold(images: Tensor, ticks: Sequence[Sequence[str]], title: str, names: Sequence[str]) -> np.ndarray:
    """A square of side² decoded images (N, C, H, W), first row at the top, with words along the axes.

    `ticks` are those of the columns from left to right and of the rows from top to bottom.
    """
    side = len(ticks[0])
    height, width = images.shape[2:]
    figure, axes = _figure(6.8, min(20, max(3, 6.8 * height / width)))
    sheet = _sheet(images, side)
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for axis, words, length in ((axes.xaxis, ticks[0], width), (axes.yaxis, ticks[1], height)):
        few = 8 if length * 4 > max(height, width) else 3  # a short side has no room for more
        shown = np.linspace(0, side - 1, min(side, few)).round().astype(int)
        axis.set_ticks((shown + 0.5) * length - 0.5, [words[i] for i in shown])
    axes.set(title=_broken(title, figure), xlabel=names[0], ylabel=names[1])
    return _pixels(figure)


@dataclass(frozen=True)
class Line:
    """A named line through points in a colour, with a bar of ± `sd` at each, and words beside them."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    sd: Sequence[float] = ()
    words: Sequence[str] = ()
    dashed: bool = False
    colour: str = GREY


def palette(count: int) -> list[str]:
    """`count` colours that are easy to tell apart."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    distinct = [colour for index, colour in enumerate(colormaps["tab10"].colors) if index != 7]  # which is grey
    if count <= len(distinct):
        return [to_hex(colour) for colour in distinct[:count]]
    return [to_hex(colormaps["turbo"](index / (count - 1))) for index in range(count)]


def label_colours(count: int) -> list[str]:
    """The colours that `scatter` gives to `count` labels, in their order."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colours = colormaps["tab10" if count <= 10 else "tab20" if count <= 20 else "turbo"]
    return [to_hex(colours(index) if count <= 20 else colours(index / count)) for index in range(count)]


def shades(colour: str, count: int) -> list[str]:
    """`count` shades of one colour, from light to dark; itself for one."""
    from matplotlib.colors import to_hex, to_rgb

    own = np.array(to_rgb(colour))
    strengths = [0.0] if count == 1 else np.linspace(-0.45, 0.45, count)
    return [to_hex(own + abs(much) * ((1.0 if much < 0 else 0.0) - own)) for much in strengths]


def lines(
    given: Sequence[Line], title: str, xlabel: str, ylabel: str, *, log_x: bool = False, log_y: bool = False
) -> np.ndarray:
    """Lines in one plot; on a logarithmic x axis the ticks are the values themselves, as many as there is room for.

    With `log_y` the other axis is logarithmic too, if all values are above 0.
    """
    from matplotlib.ticker import MaxNLocator

    many = len(given) > 10
    figure, axes = _figure(8.4 if many else 6.8, 4.8)
    for line in given:
        style = "--" if line.dashed else "-"
        marker = None if line.dashed or len(line.x) > 12 else "o"
        sd = line.sd if any(line.sd) else None
        axes.errorbar(
            line.x,
            line.y,
            sd,
            color=line.colour,
            linestyle=style,
            marker=marker,
            markersize=4,
            capsize=3,
            label=line.name,
        )
        for number, word in enumerate(line.words):
            beside = (5, 5) if number % 2 else (5, -13)  # neighbours may lie close together
            point = (line.x[number], line.y[number])
            axes.annotate(word, point, beside, textcoords="offset points", fontsize=8, color=line.colour)
    values = sorted({x for line in given for x in line.x})
    if log_x and values[0] > 0:
        axes.set_xscale("log")
        room = figure.get_figwidth() * (0.55 if many else 0.8) * figure.dpi
        _name_ticks(axes.xaxis, log_ticks.among(values, axes.get_xlim(), room))
    elif len(values) == 1:
        axes.set_xticks(values)
    elif all(isinstance(x, int) for x in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if log_y and all(y > 0 for line in given for y in line.y):
        axes.set_yscale("log", nonpositive="clip")
        _name_ticks(axes.yaxis, log_ticks.between(*axes.get_ylim()))
        ylabel += ", log scale"
    axes.set(title=_broken(title, figure), xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, **({"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 8} if many else {}))
    return _pixels(figure)


def _name_ticks(axis: Any, ticks: Sequence[float]) -> None:
    """Set the ticks of a logarithmic axis, named in plain numbers, and none beside them."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_ticklabels([f"{value:.10g}" for value in ticks])


def bars(values: Tensor, names: Sequence[str], title: str, xlabel: str, ylabel: str) -> np.ndarray:
    """One bar for each value, (K,), largest first, with its name below if there is room for all."""
    figure, axes = _figure()
    ordered, order = values.cpu().sort(descending=True)
    places = np.arange(1, len(ordered) + 1)
    axes.bar(places, ordered.numpy(), color=BLUE, width=0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(names) <= _MAX_LEGEND:
        axes.set_xticks(places, [names[index] for index in order.tolist()])
    axes.set(title=_broken(title, figure), xlabel=xlabel, ylabel=ylabel)
    return _pixels(figure)


def share_table(
    shares: Sequence[Sequence[float | None]],
    words: Sequence[Sequence[str]],
    title: str,
    names: tuple[Sequence[str], Sequence[str]],
    xlabel: str,
) -> np.ndarray:
    """A table of shares in [0, 1], from orange to blue, each with its words; `names` are of rows and columns."""
    from matplotlib.colors import LinearSegmentedColormap

    rows, columns = names
    figure, axes = _figure(2.6 + 1.05 * len(columns), 1.4 + 0.55 * len(rows))
    colours = LinearSegmentedColormap.from_list("shares", [ORANGE, "#f4f4f4", BLUE])
    values = np.array([[math.nan if share is None else share for share in row] for row in shares])
    axes.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(values):
        ink = "white" if share in (0, 1) else "black"
        axes.text(column, row, words[row][column], ha="center", va="center", fontsize=9, color=ink)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(title=title, xlabel=xlabel)
    return _pixels(figure)


def histogram(values: Tensor, title: str, xlabel: str) -> np.ndarray:
    """How values (N,) are spread, with their mean."""
    figure, axes = _figure()
    data = values.cpu().numpy()
    axes.hist(data, bins=50, color=BLUE)
    axes.axvline(data.mean(), color="black", linestyle="--", label=f"mean {data.mean():.4g}")
    axes.set(title=_broken(title, figure), xlabel=xlabel, ylabel="images")
    axes.legend(frameon=False)
    return _pixels(figure)


def _judged(records: Sequence[dict[str, Any]]) -> list[str]:
    """Which figure beside nats the records have; those of older runs have none."""
    for key in ("train/mse", "val/psnr"):
        if any(record.get(key) is not None for record in records):
            return [key.partition("/")[2]]
    return []


def curves(records: Sequence[dict[str, Any]], figures: Sequence[str], title: str) -> np.ndarray:
    """Training and validation `figures` in nats against the epoch, and beside them the error that people judge by.

    That is the squared error where training has it too, else the PSNR of validation.
    """
    from matplotlib.figure import Figure

    names = [*figures, *_judged(records)]
    figure = Figure(figsize=(max(5.5, 4.2 * len(names)), 3.6), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    epochs = [record["epoch"] for record in records]
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in (("train", TRAIN), ("val", VALIDATION)):
            values = [record.get(f"{part}/{name}") for record in records]
            if any(value is not None for value in values):
                values = [math.nan if value is None else value for value in values]
                marker = "o" if len(epochs) == 1 else None
                axes.plot(epochs, values, color=colour, marker=marker, label={"val": "validation"}.get(part, part))
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            axes.set_xticks(epochs)
        axes.set(title=name, xlabel="epoch", ylabel=_UNITS.get(name, "nats per image"))
        axes.legend(frameon=False)
    figure.suptitle(title)
    return _pixels(figure)


def two_dimensional(codes: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Codes (N, K ≥ 2) as points (N, 2) with the names of their axes: for K > 2 their PCA.

    For K = 2 they are shown as they are, and a single one by its first two latents: it has no principal components.
    """
    if codes.shape[1] == 2 or len(codes) == 1:
        return codes[:, :2], ("z1", "z2")
    centred = codes.double() - codes.double().mean(0)
    _, scale, basis = torch.linalg.svd(centred, full_matrices=False)
    share = scale.square() / scale.square().sum().clamp_min(1e-300)
    names = tuple(f"principal component {i + 1} of z ({share[i]:.0%})" for i in (0, 1))
    return (centred @ basis[:2].T).float(), names
