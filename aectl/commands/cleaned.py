"""What `aectl denoise` tells of the pictures that it cleaned: figures as CSV, a page, the best and the worst."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from tqdm import tqdm

from aectl.drawing import before_after, grids
from aectl.drawing.before_after import Shown
from aectl.errors import brief, counted
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, png, previews
from aectl.files.pictures.reading import Picture, Reading
from aectl.files.unfinished import Work
from aectl.measuring import likeness
from aectl.measuring.likeness import Likeness

FIGURES, PAGE, STRIP = "psnr_ssim.csv", "before_after.html", "best_and_worst.png"
CSV_HEADER = ("name", "psnr_before", "psnr_after", "ssim_before", "ssim_after")
MOST = 40  # pictures on the page
ROOM = 7_000_000  # bytes for them, of which base64 makes a third more
ENDS = 3  # of the best and of the worst, in the strip
CELL = 240  # pixels, the longer side of one in it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cleaned:
    """A picture that was cleaned: the files before and after, that of its reference, and the figures by it."""

    name: str
    views: Mapping[str, Entry]
    likeness: Likeness | None


def files(compared: bool) -> list[str]:
    """The names of what is told, below the output folder."""
    return [FIGURES, PAGE, STRIP] if compared else [PAGE]


def tell(cleaned: Sequence[Cleaned], work: Work, title: str, reading: Reading) -> None:
    """Write all of it as files of `work`; `title` says what cleaned them."""
    facts = [title]
    figures = [one.likeness for one in cleaned if one.likeness is not None]
    if figures:
        mean = likeness.mean(figures)
        work.write({FIGURES: _csv(cleaned, mean)})
        log.info("%s: %s", mean, FIGURES)
        facts.append(f"Mean of {counted(len(cleaned), 'picture')}: {mean.with_gain}")
        work.write({STRIP: png.of_plot(_strip(_by_gain(cleaned), reading))})
    work.write({PAGE: _page(cleaned, facts, reading).encode()})
    log.info("to look at: %s", " and ".join(str(work.root / name) for name in (PAGE, *([STRIP] if figures else []))))


def _csv(cleaned: Sequence[Cleaned], mean: Likeness) -> bytes:
    """PSNR and SSIM before and after, for each picture and on average."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(CSV_HEADER)
    for name, found in [*((one.name, one.likeness) for one in cleaned), ("mean", mean)]:
        writer.writerow([name, *(f"{value:.4f}" for value in astuple(found))])
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _looked_at(one: Cleaned, side: int, reading: Reading) -> dict[str, np.ndarray]:
    """The first page of each view, small, all in the size of what became of the picture."""
    found: dict[str, Picture] = {
        view: decoding.decode(entry.read(), reading, one.name) for view, entry in one.views.items()
    }
    return {view: previews.shrunk(picture, side) for view, picture in found.items()}


def _by_gain(cleaned: Sequence[Cleaned]) -> list[Cleaned]:
    """From the greatest gain in PSNR to the least."""
    return sorted(cleaned, key=lambda one: -one.likeness.gain)


def chosen(cleaned: Sequence[Cleaned]) -> tuple[list[Cleaned], str]:
    """Those that the page shows, and which they are, in words."""
    total = counted(len(cleaned), "picture")
    compared = all(one.likeness is not None for one in cleaned)
    found = _by_gain(cleaned) if compared else list(cleaned)
    order = ", from the greatest gain in PSNR to the least" if compared and len(cleaned) > 1 else ""
    if len(found) <= MOST:
        return found, f"{total}{order}"
    if compared:
        half = MOST // 2
        return [*found[:half], *found[-half:]], f"{MOST} of {total}: the {half} that gained most and the {half} least"
    places = np.linspace(0, len(found) - 1, MOST).round().astype(int)
    return [found[place] for place in places], f"{MOST} of {total}, evenly chosen"


def _page(cleaned: Sequence[Cleaned], facts: Sequence[str], reading: Reading) -> str:
    some, which = chosen(cleaned)
    shown = []
    for one in tqdm(some, desc="page", disable=None, unit="picture", leave=False):
        seen = _looked_at(one, previews.SIDE, reading)
        small = previews.together(list(seen.values()), ROOM // len(some))
        words = "" if one.likeness is None else one.likeness.with_gain
        shown.append(Shown(one.name, words, dict(zip(seen, small, strict=True))))
    how = "Drag the line, or move it with the arrow keys. Large pictures are shown smaller; names lead to the files."
    return before_after.page("Before and after", [*facts, f"{which}. {how}"], shown)


def _strip(ordered: Sequence[Cleaned], reading: Reading) -> np.ndarray:
    """The best and the worst by their gain in PSNR: before, after, reference, with their figures."""
    some = [*ordered[:ENDS], *ordered[ENDS:][-ENDS:]]
    rows = [list(_looked_at(one, CELL, reading).values()) for one in some]
    labels = [f"{brief(one.name, 60)}: {one.likeness.gain:+.2f} dB" for one in some]
    words = [_words(one.likeness) for one in some]
    which = "all" if len(some) == len(ordered) else f"best {ENDS} and worst {ENDS} of"
    title = f"{which} {counted(len(ordered), 'picture')}, by gain in PSNR"
    return grids.table(rows, labels, words, ["before", "after", "reference"], title)


def _words(found: Likeness) -> list[str]:
    before = f"{found.psnr_before:.2f} dB, SSIM {found.ssim_before:.3f}"
    return [before, f"{found.psnr_after:.2f} dB, SSIM {found.ssim_after:.3f}", ""]
