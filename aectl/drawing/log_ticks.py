"""Where a logarithmic axis is named: at few round numbers, and at four at least, however little it spans."""

import math
from collections.abc import Sequence

LEAST, MOST = 4, 8  # ticks, where round numbers give as many
DIGITS = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5), (1, 2, 3, 4, 5, 6, 8))  # within a decade, from coarse to fine
SIGN = 10  # pixels of a character of a tick's name


def between(low: float, high: float) -> list[float]:
    """Four to eight round numbers from `low` to `high`, 0 < low < high, the coarsest that are as many.

    Over many decades they are powers of ten; within one, numbers of few first digits; within less, equal steps.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = range(first, last + 1)
    sparse = [[_round(1, one) for one in decades if one % step == 0] for step in (128, 64, 32, 16, 8, 4, 3, 2)]
    dense = [[_round(digit, one) for one in decades for digit in digits] for digits in DIGITS]
    for candidates in (*sparse, *dense):
        inside = [tick for tick in candidates if low <= tick <= high]
        if LEAST <= len(inside) <= MOST:
            return inside
    return _even(low, high)


def _round(digit: int, exponent: int) -> float:
    """As a reader would write it: 3 * 10 ** -1 is not 0.3."""
    return float(f"{digit}e{exponent}")


def _even(low: float, high: float) -> list[float]:
    """Multiples of the largest of 1, 2, 5, 10, ... times a power of ten that gives four of them."""
    exponent = math.floor(math.log10(high - low))
    for digit, power in ((1, exponent), *((digit, exponent - 1) for digit in (5, 2, 1))):
        step = _round(digit, power)
        inside = [float(f"{one * step:.12g}") for one in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(inside) >= LEAST:
            break
    return inside


def among(values: Sequence[float], limits: tuple[float, float], room: float) -> list[float]:
    """Those of the sorted `values` whose names do not touch on an axis of `room` pixels; the last is one of them.

    Where fewer than three are left of more, they say little of the axis: round numbers between its limits then.
    """
    scale = room / math.log(limits[1] / limits[0])
    kept = [values[-1]]
    for value in reversed(values[:-1]):
        names = (f"{value:g}", f"{kept[-1]:g}")
        if scale * math.log(kept[-1] / value) >= SIGN * (sum(map(len, names)) / 2 + 1):
            kept.append(value)
    return between(*limits) if len(kept) < 3 <= len(values) else kept[::-1]
