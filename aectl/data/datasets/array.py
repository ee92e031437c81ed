"""People's own images in a NumPy file, read piece by piece: what they take in memory is what they are."""

import math
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
from aectl.files import arrays, unpacked
from aectl.files.arrays import Stored
from aectl.machine import memory

UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile,
    zlib.error,
)  # fmt: skip


def _stack(stored: Stored) -> Tensor:
    """(N, C, H, W), uint8, from (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or floats in [0, 1].

    Raises:
        ValueError: it is something else, by its header or by what comes.
        MemoryShortError: there is not the memory for so many; nothing has been taken.
    """
    shape, dtype = stored.shape, stored.dtype
    colours_last = len(shape) == 4 and shape[-1] in (1, 3) and shape[1] not in (1, 3)
    sides = (shape[-1], *shape[1:-1]) if colours_last else shape[1:]
    if len(shape) == 3:
        sides = (1, *sides)
    if len(sides) != 3 or sides[0] not in (1, 3) or 0 in shape:
        raise ValueError(f"is of shape {shape}; give (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3")
    if dtype.kind != "f" and dtype != np.uint8:
        raise ValueError(f"is of type {dtype}; give uint8, or floats in [0, 1]")
    memory.require(math.prod(shape), lambda: f"{shape[0]:,} images of {sides[2]}×{sides[1]}; keep fewer in the file")
    images = np.empty((shape[0], *sides), np.uint8)
    first = 0
    for part in stored.parts():
        rows = part.transpose(0, 3, 1, 2) if colours_last else part.reshape(len(part), *sides)
        images[first : first + len(part)] = _bytes(rows)
        first += len(part)
    return torch.from_numpy(images)


def _bytes(values: np.ndarray) -> np.ndarray:
    """uint8, or floats in [0, 1], as 0 to 255."""
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise ValueError("has floats outside [0, 1]")
    return np.rint(values * 255)


def _label_numbers(stored: Stored, count: int) -> Tensor:
    if stored.shape != (count,) or stored.dtype.kind not in "iu":
        raise ValueError(f"labels: are {stored.dtype} of shape {stored.shape}; give {count} integers")
    return torch.from_numpy(stored.whole().astype(np.int64))


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
    with unpacked.blamed(f"{key}={path}", UNREADABLE):
        if not path.is_file():
            raise ValueError("is a folder; dataset=folder takes those" if path.is_dir() else "no such file")
        with path.open("rb") as file:
            if not file.read(6).startswith((b"\x93NUMPY", b"PK")):
                raise ValueError("is no NumPy file; write one with numpy.save, .npy, or numpy.savez, .npz")
        with arrays.opened(path) as found:
            if isinstance(found, Stored):
                return Images(_stack(found), None)
            if "images" not in found:
                raise ValueError(f"has no array named images, only {', '.join(found) or 'none'}")
            found["images"].refuse_bomb()
            pixels = _stack(found["images"])
            return Images(pixels, _label_numbers(found["labels"], len(pixels)) if "labels" in found else None)
