"""A report as a page: Markdown, and the same for a browser in one file."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aectl.drawing.pages.filling import filled
from aectl.measuring import tables
from aectl.measuring.comparison import Group, Measured
from aectl.measuring.compression import Compression
from aectl.measuring.endings import Endings
from aectl.measuring.findings import findings
from aectl.measuring.sweep import Circumstances

LEGEND = (
    "Nats per image, summed over pixels and latents; recon is the reconstruction term −log p(x|z). Squared error and "
    "PCA's (with as many components as latents, fitted to the training images) are sums over the values of an image "
    "in [0, 1]. Mean ± standard deviation over seeds; two means are told apart where they lie further from each "
    "other than both standard deviations together. Seconds are those of the training. In the plots, bars are ± one "
    "standard deviation, and shades of one colour are one series."
)


NONE = Compression()


@dataclass(frozen=True)
class Fact:
    """What figures stand on: a line of a list, perhaps as code."""

    title: str
    text: str
    is_code: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture of the page, by its name."""

    name: str

    @property
    def file(self) -> str:
        """Where it lies, from the page on."""
        return f"pictures/{self.name}.png"

    @property
    def words(self) -> str:
        """What it is called where it cannot be seen."""
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Page:
    """A report, in pieces.

    Attributes:
        title: of the whole.
        facts: what the figures stand on.
        blocks: sentences, in which `**` and backticks mark words, and tables, header and rows, in their order.
        pictures: at the end.
    """

    title: str
    facts: Sequence[Fact]
    blocks: Sequence[str | tuple[Sequence[str], Sequence[Sequence[str]]]]
    pictures: Sequence[Plot]


def page(
    name: str,
    command: str,
    circumstances: Circumstances,
    jobs: Sequence[dict[str, Any]],
    runs: Sequence[Measured],
    groups: Sequence[Group],
    ended: Endings,
    names: Sequence[str],
    files: Compression = NONE,
) -> Page:
    """The report on the sweep `name`; `names` are those of its pictures, `files` what its runs make."""
    blocks = [
        *ended.sentences(),
        *findings(groups),
        *files.findings(groups),
        tables.table(groups),
        LEGEND,
        *files.blocks(groups),
        *(["Runs that ended better than the mean image:", ended.table()] if ended.differ else []),
        *(f"Job {run.job} is in no mean: {_listed(run.not_finite)} not finite." for run in runs if run.not_finite),
        *(f"Job {job['job']} failed: {job['error']}" for job in jobs if job["status"] == "failed"),
        *(f"Job {job['job']} was interrupted." for job in jobs if job["status"] == "interrupted"),
    ]
    return Page(f"Sweep {name}", facts(command, circumstances, len(runs), len(jobs)), blocks, [*map(Plot, names)])


def facts(command: str, circumstances: Circumstances, finished: int, total: int) -> list[Fact]:
    """What the figures stand on."""
    found, jobs = circumstances, "job" if total == 1 else "jobs"
    items = [
        Fact("Runs", f"{finished} of {total} {jobs} finished, each measured with its best checkpoint"),
        Fact("Data", "; ".join([*found.data, *found.sizes])),
        Fact("Network" if len(found.networks) == 1 else "Networks", "; ".join(found.networks)),
        Fact("Measured with", found.measured),
        Fact("Trained with", "; ".join(found.trained)),
        Fact("Trained by", command, is_code=True),
    ]
    return [item for item in items if item.text]


def _listed(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


def as_markdown(report: Page) -> str:
    """The page as Markdown, beside its pictures."""
    return filled("report.md", page=report)


def as_html(report: Page, folder: Path) -> str:
    """The same page for a browser, in one file: the pictures, which lie in `folder`, are inside it."""
    sources = {plot.name: _source((folder / plot.file).read_bytes()) for plot in report.pictures}
    return filled("report.html", ("report.css",), page=report, sources=sources)


def _source(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
