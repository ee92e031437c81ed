"""People's own images in a NumPy file."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from aectl.data.datasets.base import Found, Own
from aectl.data.images import Images
from aectl.errors import DataError, brief


def _stack(values: np.ndarray) -> Tensor:
    """(N, C, H, W), uint8, from (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1]."""
    if values.ndim == 3:
        values = values[:, None]
    elif values.ndim == 4 and values.shape[-1] in (1, 3) and values.shape[1] not in (1, 3):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim != 4 or values.shape[1] not in (1, 3) or 0 in values.shape:
        raise ValueError(f"is of shape {values.shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
            raise ValueError("has floats outside [0, 1]")
        values = np.rint(values * 255)
    elif values.dtype != np.uint8:
        raise ValueError(f"is of type {values.dtype}; give uint8, or floats in [0, 1]")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.uint8))


def _label_numbers(labels: np.ndarray, count: int) -> Tensor:
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels: are {labels.dtype} of shape {labels.shape}; give {count} integers")
    return torch.from_numpy(labels.astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Array(Own):
    """`.npy`, or `.npz` with `images` and perhaps `labels`; no pickled objects."""

    name: ClassVar[str] = "array"

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The images, in memory."""
        path = self.place(root)
        return Found(read(path, "dataset.root"), root=path)


def read(path: Path, key: str) -> Images:
    """The images of a file, as `Array` takes them, with their labels if there are any; `key` is what named it.

    Raises:
        DataError: it cannot be used.
    """
    try:
        if not path.is_file():
            raise ValueError("is a folder; dataset=folder takes those" if path.is_dir() else "no such file")
        with path.open("rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
                raise ValueError("is no NumPy file; write one with numpy.save, .npy, or numpy.savez, .npz")
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return Images(_stack(loaded), None)
        with loaded:
            if "images" not in loaded.files:
                raise ValueError(f"has no array named images, only {', '.join(loaded.files) or 'none'}")
            pixels = _stack(loaded["images"])
            labels = _label_numbers(loaded["labels"], len(pixels)) if "labels" in loaded.files else None
    except (OSError, ValueError, EOFError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{key}={path}: cannot be used ({brief(error)})") from None
    return Images(pixels, labels)
