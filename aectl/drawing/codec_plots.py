"""Codecs beside each other: curves of rate and distortion, and what is left of a picture at the same rate."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from aectl.drawing import grids, plots, views
from aectl.drawing.plots import Line
from aectl.measuring import codecs, lossy, rate_distortion
from aectl.measuring.comparison import WEIGHT, Group
from aectl.measuring.lossy import Beside
from aectl.measuring.rate_distortion import Point
from aectl.measuring.whole import Pictures
from aectl.runs.opening import Run

ROOM = 1.3  # how far beyond the sweep's highest rate the others are shown
SHOWN = 3  # pictures of which parts are shown
SIDE, SCREEN = 160, 320  # of a part, in its own pixels and as it is drawn
WANTED = 0.25  # bits per pixel at which it shows what a codec does to a picture

Named = tuple[str, views.View]


def curves(groups: Sequence[Group], beside: Beside, colours: Mapping[str, str]) -> Iterator[Named]:
    """PSNR and SSIM against bits per pixel, by name; `colours` are those of the sweep's own series."""
    series = lossy.series(groups)
    most = ROOM * max(rate for members in series.values() for rate, _ in lossy.curve(members))
    others = plots.palette(len(series) + len(beside.curves))[len(series) :]
    for key, figure, label in (("psnr", "file_psnr", "PSNR (dB)"), ("ssim", "file_ssim", "SSIM")):
        lines = [
            Line(
                name,
                [group.mean("bpp") for group in members],
                [group.mean(figure) for group in members],
                [group.sd(figure) or 0.0 for group in members],
                [f"λ {group.value(WEIGHT):g}" for group in members],
                colour=colours[name],
            )
            for name, members in series.items()
        ]
        for (name, points), colour in zip(beside.curves.items(), others, strict=True):
            near = up_to(most, list(points.values()))
            lines.append(
                Line(name, [one.bpp for one in near], [getattr(one, key) for one in near], dashed=True, colour=colour)
            )
        title = f"{beside.pictures.words}: {label.partition(' ')[0]} against the size of the files"
        yield f"{key}_by_rate", plots.lines(lines, title, "bits per pixel of the file", label)


def up_to(most: float, points: Sequence[Point]) -> list[Point]:
    """Those up to a rate, and where the line between the next two crosses it."""
    inside = [one for one in points if one.bpp <= most]
    beyond = next((one for one in points if one.bpp > most), None)
    if not inside or beyond is None:
        return inside
    last = inside[-1]
    share = (most - last.bpp) / (beyond.bpp - last.bpp)
    between = Point(
        most, last.psnr + share * (beyond.psnr - last.psnr), last.ssim + share * (beyond.ssim - last.ssim)
    )
    return [*inside, between]


def nearest(groups: Sequence[Group]) -> Group:
    """The codec whose rate is nearest to where codecs differ for the eye."""
    found = [group for group in groups if group.has("bpp")]
    return min(found, key=lambda group: abs(math.log(group.mean("bpp") / WANTED)))


def parts(run: Run, pictures: Pictures, name: str) -> views.View:
    """Parts of some pictures as they are, as the run gives them back, and as JPEG does in about as many bytes."""
    names = list(pictures.readers)
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, min(SHOWN, len(names))).round().astype(int)]
    jpeg = codecs.CODECS[0]
    rows, words = [], []
    for one in chosen:
        picture = pictures.readers[one]()
        size, ours = lossy.codings(run, picture)
        quality, data = jpeg.nearest(picture, size)
        theirs = codecs.decompress(data, len(picture))
        where = busiest(picture)
        rows.append([_enlarged(shown[:, *where]) for shown in (picture, ours, theirs)])
        words.append([
            f"{8 * len(picture)} bits per pixel",
            _words(rate_distortion.point(picture, size, ours)),
            f"{_words(rate_distortion.point(picture, len(data), theirs))}, quality {quality}",
        ])  # fmt: skip
    title = "parts of pictures at about the same rate; the figures are of the whole"
    return grids.table(rows, chosen, words, ["original", name, jpeg.name], title)


def _words(point: Point) -> str:
    return f"{point.bpp:.3f} bits per pixel, {point.psnr:.2f} dB"


def busiest(picture: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the square part of (C, H, W) whose values vary most; of a small picture all."""
    _, height, width = picture.shape
    side = min(SIDE, height, width)
    step = max(1, side // 4)
    grey = picture.astype(np.float32).mean(0)
    places = [(top, left) for top in range(0, height - side + 1, step) for left in range(0, width - side + 1, step)]
    top, left = max(places, key=lambda place: grey[place[0] : place[0] + side, place[1] : place[1] + side].std())
    return slice(top, top + side), slice(left, left + side)


def _enlarged(part: np.ndarray) -> np.ndarray:
    factor = max(1, SCREEN // max(part.shape[1:]))
    return part.repeat(factor, axis=1).repeat(factor, axis=2)
