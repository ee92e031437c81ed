"""What a single value may be: each function raises `ConfigError` naming the key, the value and what is wanted."""

import difflib
import typing
from collections.abc import Iterable

from aectl.errors import ConfigError

MAX_LAYERS = 64
LARGEST = 1e9  # of a number that needs no bound of its own: float32 can compute with it, and nobody wants more
SINGLE = 1e38  # the largest power of ten that float32 holds


def nearest(name: str, choices: Iterable[str], most: int = 1) -> str:
    """The ending `, did you mean 'x'?` for at `most` so many choices that are like `name`; empty where none is.

    Capitals count as small letters.
    """
    known = {one.lower(): one for one in choices}
    match = [known[one] for one in difflib.get_close_matches(str(name).lower(), known, n=most, cutoff=0.5)]
    return f", did you mean {' or '.join(map(repr, match))}?" if match else ""


def fail(key: str, value: object, want: str) -> typing.NoReturn:
    """Refuse `key=value`, saying what is wanted."""
    raise ConfigError(f"{key}={shown(value)}: {want}")


def shown(value: object) -> str:
    """A value as it is typed on a command line, its beginning where it is long."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)[:60]


def choice(key: str, value: str, choices: Iterable[str]) -> None:
    """One of the choices."""
    choices = tuple(choices)
    if value not in choices:
        fail(key, value, f"no such choice{nearest(value, choices)} (choices: {', '.join(choices)})")


def number(key: str, value: float | None, low: float, high: float = LARGEST, *, open_low: bool = False) -> None:
    """A number in [low, high], or (low, high] with `open_low`; None passes. There is no setting without bounds."""
    if value is None:
        return
    inside = value <= high and (value > low if open_low else value >= low)  # NaN is neither
    if not inside:
        bound = f"a number {'above' if open_low else 'of at least'} {low:g}"
        fail(
            key,
            value,
            f"must be {bound}" + (f" and at most {high:g}" if high != LARGEST or value > high else ""),
        )


def path(key: str, value: str | None) -> None:
    """A path may be null, but the empty word would mean the current folder."""
    if value is not None and not value.strip():
        fail(key, "''", "is empty; give a path, or null")


def widths(key: str, values: list[int]) -> None:
    """Widths of layers."""
    if len(values) > MAX_LAYERS:
        fail(key, values, f"at most {MAX_LAYERS} layers")
    for width in values:
        if not 1 <= width <= 65536:
            fail(key, values, "every width must be between 1 and 65536")


def scale(key: str, value: object) -> None:
    """The value that is white, or [black, white]; null where the pictures say it themselves."""
    if value is None:
        return
    ends = value if isinstance(value, list) else [0, value]
    plain = len(ends) == 2 and all(type(end) in (int, float) and abs(end) < 1e30 for end in ends)
    if not plain or not ends[0] < ends[1]:
        fail(key, value, "give the value that is white, such as 4095, or [black, white] with black below white")
