"""How much more or less rate one codec needs than another for the same quality, as one number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.interpolate import PchipInterpolator

Curve = Sequence[tuple[float, float]]  # points of rate (> 0) and PSNR (dB), in any order


@dataclass(frozen=True)
class Difference:
    """The mean difference in rate, in percent; negative is better. PSNRs from `low` to `high` dB are compared."""

    percent: float
    low: float
    high: float


def bd_rate(ours: Curve, theirs: Curve, most: float = math.inf) -> Difference | None:
    """Bjøntegaard's delta rate of `ours` against `theirs`; None where the curves have no PSNR in common.

    The logarithm of the rate is interpolated over PSNR by monotone cubics (PCHIP) through the points, and the
    difference of the two averaged over the PSNRs that both curves reach at a rate of at most `most`; exp of that less
    1 is the result. A point that another of its curve beats in both is left out.
    Source: Bjøntegaard, "Calculation of average PSNR differences between RD-curves", ITU-T VCEG-M33, 2001, which has
    one cubic polynomial in the place of PCHIP; that swings between points that lie far apart.
    """
    curves = [_Interpolated(front(curve)) for curve in (ours, theirs) if len(front(curve)) > 1]
    if len(curves) < 2:
        return None
    low, high = max(curve.low for curve in curves), min(curve.reach(most) for curve in curves)
    if not low < high:
        return None
    one, other = (curve.log_rate.integrate(low, high) / (high - low) for curve in curves)
    return Difference(100 * math.expm1(one - other), low, high)


def front(curve: Curve) -> list[tuple[float, float]]:
    """The points that no other beats or equals in both rate and PSNR, from low to high."""
    kept: list[tuple[float, float]] = []
    for rate, psnr in sorted(curve, key=lambda point: (point[0], -point[1])):
        if not kept or psnr > kept[-1][1]:
            kept.append((rate, psnr))
    return kept


class _Interpolated:
    """log rate as a function of PSNR; both rise from point to point."""

    def __init__(self, points: Curve):
        rates, psnrs = zip(*points, strict=True)
        self.log_rate = PchipInterpolator(psnrs, [math.log(rate) for rate in rates])
        self.low, self.high, self._most = psnrs[0], psnrs[-1], rates[-1]

    def reach(self, most: float) -> float:
        """The highest PSNR at a rate of at most `most`; below `low` where there is none."""
        if self._most <= most:
            return self.high
        found = self.log_rate.solve(math.log(most), extrapolate=False)
        return float(found[0]) if len(found) else -math.inf
