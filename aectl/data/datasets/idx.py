"""IDX, the format of MNIST's files and of those like it, raw or compressed with gzip.

Two zero bytes, one for the type of the numbers, one for how many dimensions there are; each dimension in four bytes,
the highest first; then the numbers. Source: http://yann.lecun.com/exdb/mnist/.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAX_BYTES = 2**31  # of an array; EMNIST's largest has 2**29
GZIP = b"\x1f\x8b"
UNSIGNED = 8
OTHER_TYPES = {
    9: "signed bytes", 11: "16-bit integers", 12: "32-bit integers", 13: "32-bit floats", 14: "64-bit floats",
}  # fmt: skip


def read(path: Path, *sides: int) -> np.ndarray:
    """The unsigned bytes in the file, (N, *sides) with any N of at least 1, writable; unpacked where it is named .gz.

    Raises:
        ValueError: the file holds something else, less or more; says what.
    """
    try:
        if not path.is_file():  # a FIFO would block whoever opens it
            raise ValueError("is not a file")
        packed = path.suffix == ".gz"
        with path.open("rb") as file:
            start = file.read(4)
        if packed != start.startswith(GZIP) and start:
            raise ValueError(
                "is not compressed with gzip; its name should not end in .gz"
                if packed
                else "is compressed with gzip; its name should end in .gz"
            )
        with gzip.open(path) if packed else path.open("rb") as file:
            shape = _header(file, 1 + len(sides))
            if shape[1:] != sides or shape[0] == 0:
                raise ValueError(f"has the shape {_times(shape)}, not {_times(('N', *sides))}")
            size = math.prod(shape)
            if size > MAX_BYTES:
                raise ValueError(f"would have {size} bytes, more than {MAX_BYTES}")
            data = file.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"cannot be unpacked ({error})") from None
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if len(data) != size:
        found = f"only {len(data)}" if len(data) < size else "more"
        raise ValueError(f"should have {size} bytes after its header, for {_times(shape)}, and has {found}")
    return np.frombuffer(bytearray(data), dtype=np.uint8).reshape(shape)


def _header(file: BinaryIO, dimensions: int) -> tuple[int, ...]:
    """The shape, from the start of an IDX file."""
    magic = file.read(4)
    if magic.lstrip()[:1] == b"<":
        raise ValueError("is a web page, or other text, instead")
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in (UNSIGNED, *OTHER_TYPES):
        raise ValueError("is not an IDX file" if magic else "is empty")
    if magic[2] != UNSIGNED:
        raise ValueError(f"holds {OTHER_TYPES[magic[2]]}, not unsigned bytes")
    if magic[3] != dimensions:
        raise ValueError(f"has {magic[3]} dimensions, not {dimensions}")
    sides = file.read(4 * dimensions)
    if len(sides) < 4 * dimensions:
        raise ValueError("ends in its header")
    return tuple(int.from_bytes(sides[at : at + 4], "big") for at in range(0, len(sides), 4))


def _times(shape: tuple[int | str, ...]) -> str:
    return "×".join(map(str, shape))
