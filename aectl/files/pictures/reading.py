"""What a picture is once it is read, which of its values are black and white, and how much memory it may take."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from aectl.errors import DataError, ScaleError, one_line
from aectl.machine import memory

PICTURE_GB = 4.0
BYTE = np.dtype(np.uint8)


@dataclass(frozen=True)
class Levels:
    """What the values in a file mean: their type, and which of them are black and white.

    Attributes:
        dtype: of the values in the file, in this machine's byte order.
        black, white: the values that become 0 and 1.
        key: the setting that sets them.
    """

    dtype: np.dtype = BYTE
    black: float = 0.0
    white: float = 255.0
    key: str = "scale"

    def to_unit(self, native: np.ndarray) -> np.ndarray:
        """Values of a file, any shape, as float32 in [0, 1], or as uint8 where 8 bits hold them.

        Raises:
            DataError: one is not finite, or outside black and white.
        """
        if native.dtype == np.uint8:
            return native if self.white == 255 else native * np.uint8(255 // int(self.white))
        if native.dtype.kind == "f" and not np.isfinite(native).all():
            raise DataError("has values that are not finite")
        low, high = (float(native.min()), float(native.max())) if native.size else (self.black, self.white)
        if low < self.black or high > self.white:
            if self.dtype.kind == "f" and (self.black, self.white) == (0, 1):
                raise ScaleError(
                    f"has floats from {low:g} to {high:g}, not from 0 to 1; say what is white in all of them with "
                    f"{self.key}=<white>, or {self.key}=[<black>,<white>]"
                )
            raise DataError(
                f"has values from {low:g} to {high:g}, outside {self.black:g} (black) to {self.white:g} (white); "
                f"{self.key}= sets them"
            )
        exact = np.float64 if native.dtype.itemsize > 2 and native.dtype != np.float32 else np.float32
        values = native.astype(exact)
        if self.black:
            values -= exact(self.black)
        if self.white - self.black != 1:
            values /= exact(self.white - self.black)
        return values.astype(np.float32, copy=False)

    def to_file(self, values: np.ndarray) -> np.ndarray:
        """The other way: uint8, or floats in [0, 1], as the file has them; integers rounded to the nearest."""
        if values.dtype == np.uint8 and self.dtype == np.uint8 and self.white == 255:
            return values
        unit = values / 255 if values.dtype == np.uint8 else values
        exact = np.float32 if self.dtype.itemsize <= 2 or self.dtype == np.float32 else np.float64
        native = unit * exact(self.white - self.black)
        native += exact(self.black)
        if self.dtype.kind != "f":
            np.rint(native, out=native)
        return native.astype(self.dtype, copy=False)

    def __str__(self) -> str:
        bits = 8 * self.dtype.itemsize
        if self.dtype.kind == "u" and bits <= 16:
            bits = int(self.white).bit_length() if self.white == 2 ** int(self.white).bit_length() - 1 else bits
        kind = {"f": f"{bits}-bit floats", "u": f"{bits} bits", "i": f"signed {bits} bits"}[self.dtype.kind]
        return f"{kind} from {self.black:g} (black) to {self.white:g} (white)"


@dataclass(frozen=True)
class Picture:
    """A decoded picture, upright: its EXIF orientation is applied.

    Attributes:
        values: (C, H, W): 1 grey, 3 colour, or the 4 inks of CMYK, as light; uint8, or float32 in [0, 1] where the
            file holds more than 8 bits for a value.
        alpha: (H, W), of the file's own type, or None.
        mode, format: Pillow's names of the file's mode and format.
        levels: what its values are in the file.
        several: whether the file holds more frames or pages than this one.
        transparent: whether `alpha` is transparency, and not just one more plane that the file has.
    """

    values: np.ndarray
    alpha: np.ndarray | None
    mode: str
    format: str
    levels: Levels = field(default_factory=Levels)
    several: bool = False
    transparent: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.values.shape[1:]

    def floats(self) -> np.ndarray:
        """The values as float32 in [0, 1], (C, H, W)."""
        if self.values.dtype == np.uint8:
            return self.values.astype(np.float32) / 255
        return self.values

    def opacity(self) -> np.ndarray:
        """Alpha as float32 in [0, 1], (H, W), cut off there; what is white in deep colours is opaque."""
        whole = np.iinfo(self.alpha.dtype).max if self.alpha.dtype.kind in "ui" else 1
        if self.alpha.dtype == self.levels.dtype != BYTE and self.levels.black == 0:
            whole = self.levels.white
        return (self.alpha.astype(np.float32) / np.float32(whole)).clip(0, 1)


class Reading:
    """How the pictures of one input are read: one scale for all of them, and one budget of memory.

    Args:
        scale: black and white of pictures of more than 8 bits, or white alone, black being 0; None: those of their
            type, which is 0 and the largest value for up to 16 bits without a sign, and 0 and 1 for floats.
        picture_gb: GiB that the pictures being decoded at one time may take, all threads together.
        prefix: of the settings that these are, for messages.
    """

    def __init__(
        self, scale: float | Sequence[float] | None = None, picture_gb: float = PICTURE_GB, prefix: str = ""
    ):
        given = [0, scale] if isinstance(scale, (int, float)) else scale
        self.scale = None if given is None else (float(given[0]), float(given[1]))
        self.picture_gb = picture_gb
        self.prefix = prefix
        self._budget = memory.Budget(int(picture_gb * 2**30))
        self._levels: set[str] = set()
        self._further: dict[str, str] = {}
        self._left: dict[str, str] = {}

    def levels(self, dtype: np.dtype, bits: int) -> Levels:
        """Black and white of values of this type, of which `bits` are used.

        Raises:
            DataError: nothing says what they are.
        """
        key = f"{self.prefix}scale"
        dtype = np.dtype(dtype).newbyteorder("=")
        if dtype.kind not in "uif":
            raise DataError(f"has values of type {dtype}, which is not supported")
        if dtype.kind == "u" and bits <= 8:
            return Levels(BYTE, 0, 2**bits - 1)
        if self.scale is not None:
            return Levels(dtype, *self.scale, key)
        if dtype.kind == "u" and bits <= 16:
            return Levels(dtype, 0, 2**bits - 1, key)
        if dtype.kind == "f":
            return Levels(dtype, 0, 1, key)
        what = f"{'signed ' if dtype.kind == 'i' else ''}{bits}-bit integers"
        raise DataError(f"has {what}; say what is white in them with {key}=<white> or {key}=[<black>,<white>]")

    def saw(self, name: str, picture: Picture, *, alone: bool) -> None:
        """Remember what has to be said of a picture that was read, `alone` if no further frame is taken."""
        if picture.levels.dtype != np.uint8:
            self._levels.add(str(picture.levels))
        if picture.several and alone:
            self._further[name] = picture.format

    def leaves_out(self, name: str, what: str) -> None:
        """Remember what of a file beside its picture is written nowhere, if that is anything."""
        if what:
            self._left[name] = what

    def notes(self) -> list[str]:
        """A line each on the scale, if any picture had more than 8 bits, and on what is left out of files."""
        found = []
        if self._levels:
            found.append(f"scale: {', '.join(sorted(self._levels))}; {self.prefix}scale= sets another")
        if self._further:
            name, kind = min(self._further.items())
            found.append(
                f"note: {len(self._further)} files hold several frames, pages or pictures, of which the first alone "
                f"is used, such as {one_line(name)} ({kind})"
            )
        if self._left:
            name, what = min(self._left.items())
            found.append(
                f"note: {len(self._left)} files hold more than pictures, which is left out, such as {one_line(name)} "
                f"({one_line(what)})"
            )
        return found

    @contextlib.contextmanager
    def room(self, *pages: tuple[int, int, int, int]) -> Iterator[None]:
        """Memory for pages of (width, height, planes, bytes of a value); waits while others hold too much.

        Raises:
            DataError: they would take more than there may be; nothing has been taken.
            MemoryShortError: they would take more than is free.
        """
        size = sum(map(_bytes, *zip(*pages, strict=True)))
        width, height, *_ = max(pages)
        many = f"has {len(pages)} pages of up to " if len(pages) > 1 else "is "
        if size > self.picture_gb * 2**30:
            raise DataError(
                f"{many}{width}×{height} and would take {size / 2**30:.3g} GiB of memory, more than "
                f"{self.prefix}picture_gb={self.picture_gb:g}; raise that if there is so much"
            )
        words = f"a picture that {many}{width}×{height}; {self.prefix}picture_gb=<less> leaves such pictures out"
        with self._budget.taken(size), memory.PICTURES.taken(size, lambda: words):
            yield


def _bytes(width: int, height: int, planes: int, size: int) -> int:
    """What a page takes from its file to its file: the file's values, ours before and after, and those written.

    Measured; Pillow holds colours in four bytes, and palettes are found by sorting.
    """
    if size == 1:
        return width * height * (32 if planes > 3 else 18)
    return width * height * planes * (2 * size + (17 if size == 4 else 12))
