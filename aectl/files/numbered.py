"""Names that count, such as test00000 to test09999, in a few letters instead of a hundred thousand."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL | re.ASCII)
DIGITS = 15  # of a number that is counted with
LONGEST = 4096  # letters around it


@dataclass(frozen=True)
class Row:
    """Names that differ by a number, which goes up by one: `before`, the number in `width` digits, `after`."""

    before: str
    width: int
    first: int
    count: int
    after: str

    @property
    def next(self) -> str:
        """The name that would continue it."""
        return f"{self.before}{self.first + self.count:0{self.width}d}{self.after}"

    def names(self) -> list[str]:
        """All of them."""
        return [f"{self.before}{self.first + index:0{self.width}d}{self.after}" for index in range(self.count)]


def folded(names: Iterable[str]) -> list[list]:
    """Rows as plain data, [before, width, first, count, after]; a name without a number has a width of 0."""
    rows: list[Row] = []
    for name in names:
        if rows and rows[-1].width and rows[-1].next == name:
            rows[-1] = Row(rows[-1].before, rows[-1].width, rows[-1].first, rows[-1].count + 1, rows[-1].after)
        else:
            rows.append(_row(name))
    return [[row.before, row.width, row.first, row.count, row.after] for row in rows]


def _row(name: str) -> Row:
    found = _NUMBER.fullmatch(name)
    if found is None or len(found[2]) > DIGITS:
        return Row(name, 0, 0, 1, "")
    return Row(found[1], len(found[2]), int(found[2]), 1, found[3])


def unfolded(rows: Sequence[object], most: int) -> list[str]:
    """The names, at most so many.

    Raises:
        ValueError: these are no such rows.
    """
    names: list[str] = []
    for row in rows:
        if not (isinstance(row, list) and [type(value) for value in row] == [str, int, int, int, str]):
            raise ValueError("a row of names is no [before, width, first, count, after]")
        found = Row(*row)
        if not (
            0 <= found.width <= DIGITS and 0 <= found.first < 10**DIGITS and 1 <= found.count <= most - len(names)
        ):
            raise ValueError(f"a row of names counts {found.count} from {found.first} in {found.width} digits")
        if found.count > 1 and len(found.before) + len(found.after) > LONGEST:
            raise ValueError(f"a row of names has more than {LONGEST} letters")
        names += found.names() if found.width else [found.before] * found.count
    return names
