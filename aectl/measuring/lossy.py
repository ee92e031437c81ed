"""The codecs of a sweep beside those that everybody has: rate and distortion of real files, of the same pictures."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from aectl.measuring import comparison, rate_distortion, whole
from aectl.measuring.bd_rate import Difference, bd_rate
from aectl.measuring.codecs import CODECS
from aectl.measuring.comparison import WEIGHT, Group, Measured
from aectl.measuring.rate_distortion import Point
from aectl.measuring.sweep import Bench
from aectl.measuring.whole import Pictures
from aectl.runs import packed
from aectl.runs.opening import Run

LOW = 0.6  # bits per pixel, up to which people look at codecs first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beside:
    """What the others make of the pictures that a sweep's codecs were measured on.

    Attributes:
        pictures: those.
        pixels: how many one has, on average.
        curves: the mean point of each codec at each of its qualities.
    """

    pictures: Pictures
    pixels: float
    curves: Mapping[str, Mapping[int, Point]]

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Rates and PSNRs of a codec."""
        return [(point.bpp, point.psnr) for point in self.curves[name].values()]

    def words(self) -> str:
        """What was measured, on what, and what is not there."""
        missing = [codec.name for codec in CODECS if codec.name not in self.curves]
        smallest = min(rate for name in self.curves for rate, _ in self.curve(name))
        return " ".join([
            f"Files of {self.pictures.words}: bits per pixel are 8·bytes / (H·W), headers counted; PSNR and SSIM are "
            "of the decoded pictures in 8 bits; each is a mean over pictures. The others are Pillow's, with colours "
            "at half resolution (4:2:0).",
            *([f"{' and '.join(missing)}: not in this Pillow, and left out."] if missing else []),
            *([f"The pictures are small, and headers count: no file of the others is below {smallest:.2f} bits per "
               "pixel."] if self.pixels < whole.SMALL**2 else []),
            "BD-rate (Bjøntegaard) is the mean difference in rate at the same PSNR, by monotone cubics through the "
            "points of log rate; negative is better.",
        ])  # fmt: skip


def codings(run: Run, picture: np.ndarray) -> tuple[int, np.ndarray]:
    """Bytes of the file of a picture, (C, H, W), uint8, by itself, and what comes out of it, of the same shape."""
    coder, size = packed.coder_of(run), picture.shape[1:]
    block = coder.pack([picture], lambda done: None)
    file = packed.whole(run, coder, [(1, block)], ["1.png"], [size], [None])
    (again,) = coder.unpack(block, [size], lambda done: None)
    return len(file), again


def measured(
    bench: Bench, jobs: Sequence[dict[str, Any]], runs: Sequence[Measured], place: Path | None
) -> tuple[list[Measured], Beside | None]:
    """The runs, with `bpp`, `file_psnr` and `file_ssim` where they are codecs, and the others' curves if any is.

    `place` is where the pictures are; None: those of the part of the first codec's data that is measured.

    Raises:
        DataError: one of the pictures cannot be used.
    """
    found, pictures, first = list(runs), None, None
    for index, (job, measured_run) in enumerate(zip(jobs, runs, strict=True)):
        run, data, _ = bench.open(job)
        if not run.model.rounds:
            continue
        if pictures is None or first is None:
            pictures = whole.at(place, run) if place else whole.of_part(
                run, data, bench.images(data, job), bench.split, bench.root
            )  # fmt: skip
            first = run.shape[0], measured_run.data
        if run.shape[0] != first[0] or (place is None and measured_run.data != first[1]):
            log.warning(
                "note: job %s is of other images than the first codec's: its files are not compared", job["job"]
            )
            continue
        log.info("coding %s by job %s", pictures.words, job["job"])
        points = [rate_distortion.point(picture, *codings(run, picture)) for picture in _shown(pictures)]
        found[index] = replace(measured_run, figures={**measured_run.figures, **_figures(points)})
    return found, None if pictures is None else _beside(pictures)


def _figures(points: Sequence[Point]) -> dict[str, float]:
    mean = rate_distortion.mean(points)
    return {"bpp": mean.bpp, "file_psnr": mean.psnr, "file_ssim": mean.ssim}


def _beside(pictures: Pictures) -> Beside:
    there = [codec for codec in CODECS if codec.there]
    log.info("coding %s by %s", pictures.words, ", ".join(codec.name for codec in there))
    pixels = np.mean([math.prod(picture.shape[1:]) for picture in pictures])
    curves = {codec.name: rate_distortion.curve(codec, _shown(pictures)) for codec in there}
    return Beside(pictures, float(pixels), curves)


def _shown(pictures: Pictures) -> Iterator[np.ndarray]:
    return iter(tqdm(pictures, unit="picture", disable=None, leave=False))


# ------------------------------------------------------------------------------------- tables and sentences


def series(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The codecs among groups, as curves along λ; where nothing else tells them apart, by the name of the program."""
    found = comparison.series([group for group in groups if group.has("bpp")], WEIGHT)
    return {"aectl" if name == comparison.ALL else name: members for name, members in found.items()}


def curve(members: Sequence[Group]) -> list[tuple[float, float]]:
    """Rates and PSNRs of a series."""
    return [(group.mean("bpp"), group.mean("file_psnr")) for group in members]


def table(groups: Sequence[Group], beside: Beside) -> tuple[list[str], list[list[str]]]:
    """Header and rows: BD-rates of each series against each of the others, up to `LOW` and as far as both go."""
    rows = [
        [name, other, *(_cell(bd_rate(curve(members), beside.curve(other), most)) for most in (LOW, math.inf))]
        for name, members in series(groups).items()
        for other in beside.curves
    ]
    return ["codec", "against", f"BD-rate up to {LOW} bpp", "BD-rate"], rows


def _cell(found: Difference | None) -> str:
    return "–" if found is None else f"{found.percent:+.1f} % ({found.low:.1f} to {found.high:.1f} dB)"


def findings(groups: Sequence[Group], beside: Beside) -> list[str]:
    """A sentence for each series: what its files take at the same PSNR."""
    return [f"**{name}**: {_sentence(members, beside)}" for name, members in series(groups).items()]


def _sentence(members: Sequence[Group], beside: Beside) -> str:
    if len(members) < 2:
        return (
            "One codec is a point beside the curves of the others; a sweep over objective.weight makes a curve of it."
        )
    found = {other: bd_rate(curve(members), beside.curve(other), LOW) for other in beside.curves}
    said = [f"{_much(one.percent)} than {other}'s" for other, one in found.items() if one is not None]
    if not said:
        return f"Up to {LOW} bits per pixel its files have no PSNR in common with those of the others."
    listed = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    return f"At the same PSNR its files take {listed}, up to {LOW} bits per pixel (BD-rate)."


def _much(percent: float) -> str:
    return f"{abs(percent):.1f} % {'fewer' if percent < 0 else 'more'} bits"


def records(groups: Sequence[Group], beside: Beside) -> tuple[list[str], list[list[Any]]]:
    """Header and rows: every point of every curve, with full precision."""
    ours = [
        [name, comparison.place(group, members), *(group.mean(key) for key in ("bpp", "file_psnr", "file_ssim"))]
        for name, members in series(groups).items()
        for group in members
    ]
    others = [
        [name, f"quality={quality}", one.bpp, one.psnr, one.ssim]
        for name, points in beside.curves.items()
        for quality, one in points.items()
    ]
    return ["codec", "setting", "bpp", "psnr", "ssim"], ours + others
