"""How the runs of a sweep ended: better than the mean image, no better, or at a number that is not finite."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aectl.errors import DivergedError
from aectl.measuring.comparison import AXES, SEED, in_words
from aectl.runs.papers import read_metrics


class Ending(StrEnum):
    """What became of a run, by its last epoch."""

    LEARNT = "better than the mean image"
    WORSE = "no better"
    NOT_FINITE = "at a number that is not finite"


def of(job: dict[str, Any]) -> Ending | None:
    """How a job of `aectl.runs.sweeps.read_jobs` ended; None where it failed of something else, or left no word."""
    if job.get("exit_code") == DivergedError.exit_code:
        return Ending.NOT_FINITE
    least = job.get("mean_image_recon")
    if job["status"] != "completed" or least is None or not (records := read_metrics(job["folder"])):
        return None
    recon = records[-1].get("val/recon", records[-1].get("train/recon"))
    return Ending.LEARNT if recon is not None and recon < least else Ending.WORSE


@dataclass(frozen=True)
class Endings:
    """The runs of a sweep as a table, seeds together: a row for each other choice, a column for each `axis`' value.

    Attributes:
        axis: what goes along the columns, one of `AXES`; None where there is one column.
        rows, columns: their names.
        cells: how the runs of each cell ended, by row and column; empty where there is no run.
    """

    axis: str | None
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Sequence[Ending]]]

    @property
    def all(self) -> list[Ending]:
        """Those of all runs."""
        return [ending for row in self.cells for cell in row for ending in cell]

    @property
    def differ(self) -> bool:
        """Whether there is anything to say: some run has not learnt."""
        return any(ending != Ending.LEARNT for ending in self.all)

    def sentences(self) -> list[str]:
        """How many runs ended how; none where all have learnt."""
        counts = [f"{self.all.count(ending)} ended {ending}" for ending in Ending if ending in self.all]
        return [f"Of {len(self.all)} runs {', '.join(counts)}."] if self.differ else []

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows: of how many runs how many have learnt, and how many were not finite."""
        head = [f"{self.axis}={column}" if self.axis else column for column in self.columns]
        return ["", *head], [
            [name, *map(_words, row)] for name, row in zip(self.rows, self.cells, strict=True)
        ]  # fmt: skip


def _in_order(column: str) -> tuple[bool, float, str]:
    """Where a column stands: numbers by their size, and behind them what is none, as in a file that was edited."""
    try:
        return False, float(column), ""
    except ValueError:
        return True, 0.0, column


def _words(cell: Sequence[Ending]) -> str:
    learnt, lost = cell.count(Ending.LEARNT), cell.count(Ending.NOT_FINITE)
    return (f"{learnt} of {len(cell)}" if cell else "") + (f" ({lost} not finite)" if lost else "")


def endings(jobs: Sequence[dict[str, Any]], settings: Sequence[dict[str, str]]) -> Endings:
    """Of the jobs of a sweep, with what tells each from the others (`aectl.runs.sweeps.differing`)."""
    ended = [(given, how) for job, given in zip(jobs, settings, strict=True) if (how := of(job)) is not None]
    varied = [axis for axis in AXES if len({given.get(axis) for given, _ in ended}) > 1]
    axis = varied[-1] if varied else None
    found: dict[str, dict[str, list[Ending]]] = {}
    for given, how in ended:
        row = found.setdefault(in_words(given, (axis, SEED)), {})
        row.setdefault(given[axis] if axis else "runs", []).append(how)
    columns = sorted({column for row in found.values() for column in row}, key=_in_order)
    return Endings(
        axis, list(found), columns, [[row.get(column, []) for column in columns] for row in found.values()]
    )
