"""Plots, and the only module that draws them: matplotlib's, off screen, without its global state.

Every function returns one RGB picture, (H, W, 3) uint8.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import to_uint8

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#3b6ea8", "#d9772b", "#737373"
_MAX_LEGEND = 20


def _figure(width: float = 6.4, height: float = 4.6) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _pixels(figure: "Figure") -> np.ndarray:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Creating legend")  # is slow, it says, on a machine that is busy
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def scatter(points: Tensor, labels: Tensor | None, title: str, axis_names: Sequence[str]) -> np.ndarray:
    """Points (N, 2) coloured by label (N,), grey for -1, which is none; equal scales, for true distances."""
    from matplotlib import colormaps

    figure, axes = _figure(6.8, 6.0)
    xy = points.cpu().numpy()
    size = 16 if len(xy) <= 1000 else 6
    if labels is None:
        axes.scatter(*xy.T, s=size, color=BLUE, alpha=0.6, linewidths=0)
    else:
        outside = xy[(labels < 0).numpy()]
        if len(outside):
            axes.scatter(*outside.T, s=size, color="0.7", alpha=0.7, linewidths=0, label="none")
        values = labels[labels >= 0].unique().tolist()
        colours = colormaps["tab10" if len(values) <= 10 else "tab20" if len(values) <= 20 else "turbo"]
        for index, value in enumerate(values):
            colour = colours(index) if len(values) <= 20 else colours(index / len(values))
            chosen = xy[(labels == value).numpy()]
            axes.scatter(*chosen.T, s=size, color=colour, alpha=0.7, linewidths=0, label=str(value))
        if len(values) <= _MAX_LEGEND:
            axes.legend(title="label", markerscale=2.5, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set(title=title, xlabel=axis_names[0], ylabel=axis_names[1])
    axes.set_aspect("equal", adjustable="datalim")
    return _pixels(figure)


def spread(values: Tensor, labels: Tensor | None, title: str, axis_name: str) -> np.ndarray:
    """How one-dimensional codes (N,) lie: a row of points for each label, moved up and down a little to be seen."""
    figure, axes = _figure(6.8, 4.6)
    rows = torch.zeros(len(values), dtype=torch.long) if labels is None else labels
    jitter = (torch.arange(len(values)) * 0.618034) % 1 - 0.5  # evenly filled, and the same each time
    axes.scatter(values.cpu().numpy(), (rows + 0.7 * jitter).numpy(), s=6, color=BLUE, alpha=0.6, linewidths=0)
    if labels is None:
        axes.set_yticks([])
    else:
        axes.set(ylabel="label")
        if len(values_of := labels.unique().tolist()) <= _MAX_LEGEND:
            axes.set_yticks(values_of, ["none" if value < 0 else str(value) for value in values_of])
    axes.set(title=title, xlabel=axis_name)
    return _pixels(figure)


def manifold(
    images: Tensor, ticks: tuple[Sequence[float], Sequence[float]], title: str, names: Sequence[str]
) -> np.ndarray:
    """The 2-D map: side² decoded images (N, C, H, W), first row at the top, with the codes along the axes.

    `ticks` are the codes of the columns from left to right and of the rows from top to bottom.
    """
    side = len(ticks[0])
    pixels = to_uint8(images.detach().float().cpu()).permute(0, 2, 3, 1).numpy()
    _, height, width, channels = pixels.shape
    sheet = pixels.reshape(side, side, height, width, channels).transpose(0, 2, 1, 3, 4)
    sheet = sheet.reshape(side * height, side * width, channels)
    figure, axes = _figure(6.8, min(20, max(3, 6.8 * height / width)))
    axes.imshow(sheet if channels == 3 else sheet[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    for axis, values, length in ((axes.xaxis, ticks[0], width), (axes.yaxis, ticks[1], height)):
        few = 8 if length * 4 > max(height, width) else 3  # a short side has no room for more
        shown = np.linspace(0, side - 1, min(side, few)).round().astype(int)
        axis.set_ticks((shown + 0.5) * length - 0.5, [f"{values[i]:.2f}" for i in shown])
    axes.set(title=title, xlabel=names[0], ylabel=names[1])
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
    """Lines in one plot; on a logarithmic x axis the ticks are the values themselves.

    With `log_y` the other axis is logarithmic too if the values span enough.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

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
        axes.xaxis.set_major_locator(FixedLocator(values))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels([f"{value:g}" for value in values])
    elif len(values) == 1:
        axes.set_xticks(values)
    elif all(isinstance(x, int) for x in values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    heights = [y for line in given for y in line.y]
    if log_y and 0 < min(heights) < max(heights) / 4:  # within less there may be no 1, 2, 3 or 5
        axes.set_yscale("log")
        for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            which(FuncFormatter(_first_digits))
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.legend(frameon=False, **({"loc": "center left", "bbox_to_anchor": (1, 0.5), "fontsize": 8} if many else {}))
    return _pixels(figure)


def _first_digits(value: float, position: int) -> str:
    """A logarithmic axis' ticks in plain numbers, those that begin with 1, 2, 3 or 5."""
    return f"{value:g}" if f"{value:e}"[0] in "1235" else ""


def bars(values: Tensor, title: str, xlabel: str, ylabel: str) -> np.ndarray:
    """One bar for each value, (K,), largest first."""
    figure, axes = _figure()
    ordered = values.sort(descending=True).values.cpu().numpy()
    axes.bar(np.arange(1, len(ordered) + 1), ordered, color=BLUE, width=0.8)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return _pixels(figure)


def histogram(values: Tensor, title: str, xlabel: str) -> np.ndarray:
    """How values (N,) are spread, with their mean."""
    figure, axes = _figure()
    data = values.cpu().numpy()
    axes.hist(data, bins=50, color=BLUE)
    axes.axvline(data.mean(), color=ORANGE, linestyle="--", label=f"mean {data.mean():.4g}")
    axes.set(title=title, xlabel=xlabel, ylabel="images")
    axes.legend(frameon=False)
    return _pixels(figure)


def curves(records: Sequence[dict[str, Any]], figures: Sequence[str], title: str) -> np.ndarray:
    """Training and validation figures against the epoch: loss, recon, costs; the loss alone where it is recon."""
    from matplotlib.figure import Figure

    names = figures if len(figures) > 2 else figures[:1]
    figure = Figure(figsize=(max(5.5, 4.2 * len(names)), 3.6), dpi=110, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    epochs = [record["epoch"] for record in records]
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for part, colour in (("train", BLUE), ("val", ORANGE)):
            values = [record.get(f"{part}/{name}") for record in records]
            if any(value is not None for value in values):
                values = [math.nan if value is None else value for value in values]
                marker = "o" if len(epochs) == 1 else None
                axes.plot(epochs, values, color=colour, marker=marker, label={"val": "validation"}.get(part, part))
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(epochs) == 1:
            axes.set_xticks(epochs)
        axes.set(title=name, xlabel="epoch", ylabel="nats per image")
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
