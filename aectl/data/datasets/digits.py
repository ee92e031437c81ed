"""scikit-learn's small digits."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from aectl.data.datasets.base import Found, Undivided, from_numpy


@dataclass(frozen=True, kw_only=True)
class Digits(Undivided):
    """1,797 digits of 8×8, grey, in 17 levels."""

    name: ClassVar[str] = "digits"

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The digits, with their labels."""
        from sklearn.datasets import load_digits

        loaded = load_digits()
        pixels = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
        return Found(from_numpy(pixels[:, None], loaded.target))
