"""`aectl runs`: what there is below outputs/, the newest first. No torch."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

from aectl.commands.schemas import RunsConfig
from aectl.errors import brief, one_line
from aectl.runs import finding, states
from aectl.runs.states import Summary

HEADER = ("id", "name", "age", "state", "model", "data", "val loss", "MB")
WIDTH = 28  # letters of a cell that nobody has to type
NUMBERS = ("val loss", "MB")  # columns that are aligned at the right

ORDERS: dict[str, Callable[[Summary], tuple]] = {
    "age": lambda one: (-one.changed,),
    "name": lambda one: (one.name == "", one.name, -one.changed),
    "val": lambda one: (math.inf if one.best is None else one.best,),
    "size": lambda one: (-one.size,),
}

log = logging.getLogger(__name__)


def run_runs(config: RunsConfig, folder: Path) -> None:
    """The table, as the command prints it; nothing is written."""
    del folder
    found = sorted(states.all_of_them(), key=ORDERS[config.sort])
    if not found:
        log.info("no run below %s of this folder; train one: aectl train", finding.OUTPUTS)
        return
    ids, shown = finding.ids(), found[: config.last]
    for line in _lines([_row(one, ids.get(one.path, one.path.name)) for one in shown]):
        log.info("%s", line)
    if len(shown) < len(found):
        log.info("and %d more: last=null shows all", len(found) - len(shown))
    if damaged := next((ids.get(one.path) for one in shown if one.state == "damaged"), None):
        log.info(
            "damaged: no checkpoint has its files in the sizes that it lists; aectl doctor run=%s reads every byte",
            damaged,
        )  # fmt: skip
    log.info("run=, resume= and sweep= take an id or a name; the folders are %s/train and multirun", finding.OUTPUTS)


def _row(one: Summary, short: str) -> tuple[str, ...]:
    best = "" if one.best is None else f"{one.best:.2f}"
    sweep = "" if one.jobs is None else "sweep: "
    cells = (states.age(one.changed), f"{sweep}{one.state}", one.model, one.data, best, f"{one.size / 1e6:.1f}")
    return (one_line(short), one_line(one.name), *(brief(cell, WIDTH) for cell in cells))


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    table = [HEADER, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADER))]
    lines = []
    for row in table:
        cells = [
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(HEADER, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
