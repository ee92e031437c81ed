"""Rows and columns as text: Markdown and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    header, rows = _escaped(header), [_escaped(row) for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cells: Sequence[str]) -> list[str]:
    """Cells in which nothing is the border of a cell or a tag."""
    return [cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells]


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The table as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue()
