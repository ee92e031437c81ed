"""How well a score tells odd images from usual ones."""

import math
from dataclasses import dataclass

import numpy as np

Z95 = 1.959964  # of a normal distribution: 95 % lie within


@dataclass(frozen=True)
class Detection:
    """Figures of a score over images that are known to be usual or odd.

    Attributes:
        auroc: the chance that an odd image scores higher than a usual one; ties count as one half.
        low, high: its 95 % interval; None where the two do not overlap at all, for then their spread says nothing.
        average_precision: the mean precision over the odd images, from the oddest down.
        usual, odd: how many there are.
    """

    auroc: float
    low: float | None
    high: float | None
    average_precision: float
    usual: int
    odd: int


def detect(scores: np.ndarray, odd: np.ndarray) -> Detection:
    """`scores` (N,), the larger the odder; `odd` (N,), bool, some true and some not.

    The interval is that of DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988, on the scale of the logit.
    """
    from sklearn.metrics import average_precision_score

    high_ones, low_ones = np.sort(scores[odd]), np.sort(scores[~odd])
    above = _share_below(low_ones, high_ones)  # of the usual, below each odd one
    below = 1 - _share_below(high_ones, low_ones)  # of the odd, above each usual one
    auroc = float(above.mean())
    variance = sum(share.var(ddof=1) / len(share) for share in (above, below) if len(share) > 1)
    low = high = None
    if 0 < auroc < 1 and min(len(high_ones), len(low_ones)) > 1:
        logit, error = math.log(auroc / (1 - auroc)), math.sqrt(variance) / (auroc * (1 - auroc))
        low, high = (1 / (1 + math.exp(-(logit + side * Z95 * error))) for side in (-1, 1))
    return Detection(auroc, low, high, float(average_precision_score(odd, scores)), len(low_ones), len(high_ones))


def _share_below(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The share of `ordered` below each of `values`, equal ones counted by half."""
    found = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return found / (2 * len(ordered))
