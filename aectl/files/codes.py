"""Files of codes: for each picture its name and the K numbers of its code, as .npz, .csv or .parquet.

A name is any that a file can have, also one that is not UTF-8, and comes back as it was; no two are equal. Numbers
are finite and of single precision. `aectl.files.formats` knows what the files look like.
"""

import csv
import logging
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aectl import storage
from aectl.errors import DataError, brief
from aectl.files import columns, formats, unpacked
from aectl.files.columns import NOTHING, Beside, Codes

MAX_BYTES = 2**32  # of a file of codes

# What damaged files raise in numpy, zipfile and csv.
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, EOFError, IndexError, OverflowError, MemoryError, RecursionError,
    NotImplementedError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error, csv.Error,
)  # fmt: skip

log = logging.getLogger(__name__)


def write(path: Path, names: Sequence[str], codes: np.ndarray, beside: Beside = NOTHING) -> None:
    """Write what `written` gives."""
    storage.replace(path, written(path, names, codes, beside))


def written(path: Path, names: Sequence[str], codes: np.ndarray, beside: Beside = NOTHING) -> bytes:
    """Names and codes, (N, K), float32, in the format that the path's suffix names, and what is beside them.

    Raises:
        DataError: a name is none that a file could have, or stands there twice.
    """
    try:
        if impossible := next((name for name in names if not _possible(name)), None):
            raise ValueError(f"{brief(repr(impossible))} is no name that a file could have")
        _refuse_doubles(names, range(1, len(names) + 1))
    except ValueError as error:
        raise DataError(f"output={path}: cannot be written ({brief(error)})") from None
    return formats.WRITERS[path.suffix](names, codes, beside)


def read(path: Path, latent: int) -> tuple[list[str], Tensor]:
    """Names and codes, (N, K), float32, from a file that `aectl encode` wrote, or another of its form.

    `latent` is K. Columns that `aectl encode` does not write are passed over with a note, but for a z of a larger K.

    Raises:
        DataError: it cannot be read, its columns are not those, a number is missing or not finite, or a name stands
            there twice; says which row and column.
        ConfigError: a .parquet file, and the package for it is missing.
    """
    formats.prepare(path.suffix)
    with unpacked.blamed(f"input={path}", UNREADABLE):
        table = formats.READERS[path.suffix](storage.read(path, MAX_BYTES), latent)
        if table.codes.shape != (len(table.names), latent):
            shapes = f"{len(table.names)} names and codes of shape {table.codes.shape}"
            raise ValueError(f"has {shapes}; the run's codes are {latent} numbers each")
        if not table.names:
            raise ValueError("holds no codes")
        codes = _single(table)
        _refuse_doubles(table.names, table.rows)
    if table.passed_over:
        log.warning("note: %s: columns that are passed over: %s", path, brief(", ".join(table.passed_over)))
    return table.names, torch.from_numpy(codes)


def _possible(name: str) -> bool:
    """Whether the name is one that the system can give a file, and that its bytes therefore give back."""
    try:
        return "\0" not in name and name.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") == name
    except UnicodeEncodeError:  # half of a surrogate pair, which stands for no byte
        return False


def _single(table: Codes) -> np.ndarray:
    """The codes as float32.

    Raises:
        ValueError: one is not finite, or not any more; says where.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        single = np.ascontiguousarray(table.codes, dtype=np.float32)
    bad = np.argwhere(~np.isfinite(single))
    if len(bad):
        row, column = bad[0]
        value = table.codes[row, column]
        what = "is beyond single precision" if np.isfinite(value) else "is not a finite number"
        raise ValueError(f"{columns.place(table.rows[row], table.names[row], column + 1)}: {value:g} {what}")
    return single


def _refuse_doubles(names: Sequence[str], rows: Sequence[int]) -> None:
    first: dict[str, int] = {}
    for name, row in zip(names, rows, strict=True):
        if name in first:
            raise ValueError(f"the name {brief(repr(name), 60)} stands there twice, in rows {first[name]} and {row}")
        first[name] = row
