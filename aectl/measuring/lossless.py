"""The best runs of a sweep as lossless coders, beside the programs that everybody has, on the same images."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aectl.coding import bits_back
from aectl.data.images import Images
from aectl.errors import ConfigError
from aectl.measuring import archives, comparison
from aectl.measuring.comparison import Group
from aectl.measuring.sweep import Bench
from aectl.models.base import Model
from aectl.runs import packed
from aectl.runs.opening import Run

MOST = 1000  # images, evenly spread: about six seconds of coding for small ones
SERIES = 4  # whose best run is coded

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coded:
    """What one program makes of all images together.

    Attributes:
        data: the images, in words.
        who, how: the program, and on what it works.
        size: bytes.
        values: how many values of pixels those are.
        job: the run that it is, empty for the others.
    """

    data: str
    who: str
    how: str
    size: int
    values: int
    job: str = ""

    @property
    def bits_per_dim(self) -> float:
        """8·bytes / values."""
        return archives.bits_per_dim(self.size, self.values)


def measured(bench: Bench, jobs: Sequence[dict[str, Any]], groups: Sequence[Group]) -> list[Coded]:
    """The best run of each series that codes images without loss, then what others make of the same images.

    A run whose likelihood gives its images no probabilities, as Bernoulli's on grey pixels, is no such coder.
    """
    by_number = {job["job"]: job for job in jobs}
    found: list[Coded] = []
    pixels: dict[str, Tensor] = {}
    for name, members in list(comparison.series(groups).items())[:SERIES]:
        chosen = comparison.best(members)
        run, data, _ = bench.open(by_number[chosen.job])
        whole = bench.images(data, by_number[chosen.job])
        images = few(whole)
        if not codes(run.model, images.pixels):
            continue
        words = chosen.data if images is whole else f"{len(images):,} of {chosen.data}"
        log.info("coding %s without loss by job %s", words, chosen.job)
        pixels[words] = images.pixels
        size = file_bytes(run, images)
        found.append(Coded(words, f"{name}, job {chosen.job}", "bits back", size, images.pixels.numel(), chosen.job))
    return [*found, *(one for words, those in pixels.items() for one in others(words, those))]


def file_bytes(run: Run, images: Images) -> int:
    """Of a file of the images, header and first bits included, without labels, which the others have not either."""
    coder, pictures = packed.coder_of(run), list(images.pixels.numpy())
    block = coder.pack(pictures, lambda done: None)
    names = [f"{index:05d}" for index in range(len(pictures))]
    sizes, labels = [picture.shape[1:] for picture in pictures], [None] * len(pictures)
    return len(packed.whole(run, coder, [(len(pictures), block)], names, sizes, labels))


def few(images: Images) -> Images:
    """At most `MOST` of them."""
    return images.spread(MOST) if len(images) > MOST else images


def codes(model: Model, pixels: Tensor) -> bool:
    """Whether it gives each of these images, (N, C, H, W), uint8, a probability."""
    try:
        bits_back.refuse(model, "")
        bits_back.values_of(model, pixels)
    except (ConfigError, ValueError):
        return False
    return True


def others(words: str, pixels: Tensor) -> Iterable[Coded]:
    """What the programs that everybody has make of the images, in `words`."""
    for who, how, size in archives.sizes(pixels.numpy()):
        yield Coded(words, who, how, size, pixels.numel())


def tables(found: Sequence[Coded]) -> Mapping[str, tuple[list[str], list[list[str]]]]:
    """Header and rows for each set of images, by its words: the smallest first."""
    return {
        words: (
            ["coder", "of", "bits/dim", "bytes"],
            [
                [one.who, one.how, f"{one.bits_per_dim:.3f}", f"{one.size:,}"]
                for one in sorted((one for one in found if one.data == words), key=lambda one: one.size)
            ],
        )
        for words in dict.fromkeys(one.data for one in found)
    }


def findings(found: Sequence[Coded]) -> list[str]:
    """A sentence for each run: its file beside the smallest of the others."""
    said = []
    for one in (one for one in found if one.job):
        best = min(
            (other for other in found if not other.job and other.data == one.data), key=lambda other: other.size
        )
        share = one.size / best.size - 1
        said.append(
            f"**{one.who}**: without loss its file takes {one.bits_per_dim:.3f} bits/dim, {abs(share):.1%} "
            f"{'less' if share < 0 else 'more'} than {best.who} ({best.bits_per_dim:.3f})."
        )
    return said


def records(found: Sequence[Coded]) -> tuple[list[str], list[list[Any]]]:
    """Header and rows, with full precision."""
    rows = [[one.data, one.job, one.who, one.how, one.bits_per_dim, one.size] for one in found]
    return ["data", "job", "coder", "of", "bits_per_dim", "bytes"], rows
