"""Rows and columns as text: Markdown and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

from aectl.errors import one_line, spelled_out

# What Markdown, or the HTML and the addresses in it, would obey in a name. A backtick makes a code at most.
_OBEYED = re.compile(r"[&<>\\*~$]|\](?=[(\[:]|$)|(?<!\w)_|_(?!\w)|:(?=//)|(?<=\S)@(?=\S)|(?<=www)\.", re.IGNORECASE)
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def in_markdown(text: object) -> str:
    """A text that is not ours as one line of Markdown that shows it as it is: no tag, link, picture or emphasis."""
    return inert(one_line(text))


def inert(line: str) -> str:
    """A part of a line, its spaces kept, in which Markdown finds nothing to obey."""
    return _OBEYED.sub(lambda found: _NAMED.get(found[0], f"&#{ord(found[0])};"), line)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    header, rows = _escaped(header), [_escaped(row) for row in rows]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(cells: Sequence[str]) -> list[str]:
    """Cells in which nothing is the border of a cell or anything but text."""
    return [in_markdown(cell).replace("|", "\\|") for cell in cells]


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The table as CSV. What a name would do in a spreadsheet that takes it for a formula is left to that."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue()


def plain_csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    """`as_csv` as a file of UTF-8, for texts that nobody reads back: what no terminal shows is spelled out."""
    cells = [[spelled_out(cell) if isinstance(cell, str) else cell for cell in row] for row in [header, *rows]]
    return as_csv(cells[0], cells[1:]).encode()
