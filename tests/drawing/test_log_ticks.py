"""Ticks of logarithmic axes: enough of them whatever is spanned, and none upon another."""

import itertools
import math

import numpy as np
import pytest

from aectl.drawing import log_ticks, plots
from aectl.drawing.plots import Line

RNG = np.random.default_rng(0)
SPANS = [
    (95.0, 130.0), (0.9, 1e4), (1.0, 1.0001), (33.0, 34.0), (1e-9, 1e9), (7.0, 11.0), (1.1, 1.9), (99.0, 101.0),
    (4.1, 4.9), (1e-300, 1e300), (6.2e4, 8.1e4), (8.0, 900.0), (3.4e-5, 3.5e-5),
]  # fmt: skip


@pytest.mark.parametrize(("low", "high"), SPANS)
def test_an_axis_has_ticks_enough_and_not_too_many(low, high):
    ticks = log_ticks.between(low, high)
    assert 4 <= len(ticks) <= 11
    assert all(low <= tick <= high for tick in ticks)
    names = [f"{tick:.10g}" for tick in ticks]
    assert len(set(names)) == len(names)
    assert [float(name) for name in names] == ticks, "an axis names its ticks exactly"
    # Spread over the axis.
    places = [0, *(math.log(tick / low) / math.log(high / low) for tick in ticks), 1]
    assert max(np.diff(places)) < 0.6


def test_so_has_any_other():
    for low, ratio in zip(10 ** RNG.uniform(-6, 6, 2000), 10 ** RNG.uniform(-4, 9, 2000), strict=True):
        test_an_axis_has_ticks_enough_and_not_too_many(float(low), float(low * (1 + ratio)))


def test_ticks_are_the_coarsest_round_numbers():
    assert log_ticks.between(0.9, 1.1e4) == [1, 10, 100, 1000, 10000]
    assert log_ticks.between(8, 150) == [10, 20, 50, 100]
    assert log_ticks.between(95, 130) == [100, 110, 120, 130]


def drawn_axes(drawn, x, y, *, many: int = 1):
    given = [Line(f"line {index}", x, [value * (1 + 0.1 * index) for value in y]) for index in range(many)]
    plots.lines(given, "a plot", "x", "y", log_x=True, log_y=True)
    return drawn.plot("a plot")


def overlaps(axes, axis) -> bool:
    """Whether a tick's name touches the next one's, as they were drawn."""
    boxes = [label.get_window_extent().extents for label in axis.get_ticklabels() if label.get_text()]
    first, last = (0, 2) if axis is axes.xaxis else (1, 3)
    boxes.sort(key=lambda box: box[first])
    return any(one[last] >= other[first] for one, other in itertools.pairwise(boxes))


@pytest.mark.parametrize("y", [(95.0, 130.0), (0.9, 1e4), (33.0, 33.1), (5.0, 5.0), (120.0, 480.0)])
def test_a_plots_logarithmic_axis_names_three_ticks_at_least(drawn, y):
    axes = drawn_axes(drawn, [2, 64], list(y))
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    named = [place for place, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
             if label.get_text() and low <= place <= high]  # fmt: skip
    assert len(named) >= 3
    assert axes.get_ylabel() == "y, log scale"
    assert not overlaps(axes, axes.yaxis)


def test_what_is_not_above_0_has_a_linear_axis(drawn):
    axes = drawn_axes(drawn, [2, 64], [0.0, 5.0])
    assert axes.get_yscale() == "linear"
    assert axes.get_ylabel() == "y"


@pytest.mark.parametrize("many", [1, 12])
@pytest.mark.parametrize(
    "x",
    [[1, 2, 4, 8, 16], list(range(1, 21)), [0.001, 0.002, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0],
     [1, 1000, 1001, 1002, 1003], [2, 3], [64]],
)  # fmt: skip
def test_the_values_of_a_sweep_are_named_as_far_as_there_is_room(drawn, x, many):
    axes = drawn_axes(drawn, x, [3.0] * len(x), many=many)
    assert not overlaps(axes, axes.xaxis)
    named = [float(label.get_text()) for label in axes.get_xticklabels()]
    assert len(named) >= min(3, len(x))
    if len(x) <= 5 and x[1:2] != [1000]:
        assert named == x
