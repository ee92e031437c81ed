"""Folders of small pictures, and the configuration that takes them."""

import contextlib
import io
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from aectl.cli.composing import config_dir
from aectl.data.datasets.folder import Folder
from aectl.data.datasets.table import DATASETS

GREY = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)


def own(root: Path, **changes) -> Folder:
    """A folder of pictures as `dataset=folder` has it."""
    plain = yaml.safe_load((config_dir() / "dataset/folder.yaml").read_text())
    return DATASETS.read({**plain, "root": str(root), **changes})


def png(array: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG", **options)
    return buffer.getvalue()


def bmp(value: int) -> bytes:
    """A picture of 2×2 in one grey, its bytes written here, so that no library's version changes its hash."""
    pixels = bytes([value] * 6 + [0, 0]) * 2
    header = struct.pack("<2sIHHI", b"BM", 54 + len(pixels), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 24, 0, len(pixels), 0, 0, 0, 0) + pixels


def many(root: Path, n: int = 40, labels: tuple[str, ...] = ("cats", "dogs")) -> Path:
    """`n` grey pictures in sub-folders, each different."""
    return put(root, {f"{labels[i % len(labels)]}/{i:03d}.png": png(np.roll(GREY, i)) for i in range(n)})


def put(root: Path, files: Mapping[str, bytes]) -> Path:
    """Files below a folder, by their names."""
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def zipped(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    """The same as a zip, in which a name may stand twice."""
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in files.items() if isinstance(files, Mapping) else files:
            archive.writestr(name, data)
    return path


@contextlib.contextmanager
def taken_away(folder: Path) -> Iterator[None]:
    """A folder too deep for `shutil.rmtree` is removed in the end."""
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
