import math

import pytest

from aectl.measuring.bd_rate import bd_rate, front

CURVE = [(0.1, 26.0), (0.2, 28.5), (0.4, 31.0), (0.8, 34.5), (1.6, 38.0)]


def times(factor: float) -> list[tuple[float, float]]:
    return [(factor * rate, psnr) for rate, psnr in CURVE]


@pytest.mark.parametrize(("factor", "percent"), [(1, 0), (0.8, -20), (0.5, -50), (2, 100), (1.37, 37)])
def test_a_curve_at_so_many_times_the_rate_is_that_percentage_away(factor, percent):
    found = bd_rate(times(factor), CURVE)
    assert found.percent == pytest.approx(percent, abs=1e-9)
    assert (found.low, found.high) == (26, 38)


def test_two_points_each_are_straight_lines_whose_mean_is_known():
    """Of straight lines the mean difference is that in the middle of what they share."""
    ours = [(1.0, 30.0), (2.0, 40.0)]  # log2 rate: (psnr - 30) / 10
    theirs = [(1.0, 28.0), (4.0, 38.0)]  # log2 rate: (psnr - 28) / 5
    # In common 30 to 38 dB, whose middle is 34: 0.4 against 1.2 in log2.
    found = bd_rate(ours, theirs)
    assert found.percent == pytest.approx(100 * (2 ** (0.4 - 1.2) - 1))
    assert (found.low, found.high) == (30, 38)
    # Up to a rate of 2 the other reaches 33 dB alone; the middle of 30 to 33 is 31.5: 0.15 against 0.7.
    below = bd_rate(ours, theirs, most=2)
    assert below.percent == pytest.approx(100 * (2 ** (0.15 - 0.7) - 1))
    assert (below.low, below.high) == (30, pytest.approx(33))


def test_one_way_and_the_other_undo_each_other():
    other = [(0.15, 27.0), (0.33, 29.9), (0.7, 34.0), (1.3, 36.0)]
    there, back = bd_rate(CURVE, other), bd_rate(other, CURVE)
    assert (1 + there.percent / 100) * (1 + back.percent / 100) == pytest.approx(1)
    assert there.percent * back.percent < 0


def test_the_order_of_points_and_a_point_that_another_beats_change_nothing():
    shuffled = [CURVE[3], CURVE[0], (0.9, 34.0), CURVE[4], CURVE[2], CURVE[1], (1.6, 37.0), (0.4, 31.0)]
    assert front(shuffled) == CURVE
    assert bd_rate(shuffled, times(2)) == bd_rate(CURVE, times(2))


@pytest.mark.parametrize(
    ("ours", "theirs", "most"),
    [([(1, 20.0), (2, 25.0)], [(1, 26.0), (2, 30.0)], math.inf), ([(1, 30.0)], CURVE, math.inf), ([], [], math.inf),
     (CURVE, [], math.inf), (CURVE, CURVE, 0.05), (CURVE, CURVE, 0.1)],
)  # fmt: skip
def test_without_a_psnr_in_common_there_is_none(ours, theirs, most):
    assert bd_rate(ours, theirs, most) is None


def test_it_is_the_integral_of_the_interpolation():
    """Against a sum over fine steps, the points interpolated by another function of scipy."""
    from scipy.interpolate import pchip_interpolate

    other = [(0.12, 27.0), (0.3, 30.0), (0.5, 33.0), (1.5, 37.0)]
    steps = [27 + 10 * (k + 0.5) / 20000 for k in range(20000)]
    one, two = (
        pchip_interpolate([p for _, p in curve], [math.log(r) for r, _ in curve], steps) for curve in (CURVE, other)
    )
    assert bd_rate(CURVE, other).percent == pytest.approx(100 * math.expm1((one - two).mean()), abs=1e-5)
