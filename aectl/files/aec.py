r"""Files of pictures as bits, `.aec`: a header that says what they are and whose, and blocks of bits.

The layout, whole numbers with the lowest byte first:

    8 bytes     \x89AEC\r\n\x1a\n
    4, 4 bytes  the length of the header and its CRC-32
    header      a JSON object, deflated with the dictionary `COMMON`: the fields of `Header`
    then for each block
    4, 4 bytes  its length and its CRC-32
    block       what `aectl.coding` made of some pictures, one after another

Nothing in it names code, and no length is believed before it is compared with what is there.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from aectl import plain, storage
from aectl.errors import DataError, brief, counted
from aectl.files import numbered
from aectl.plain import Limits
from aectl.settings import ranges, typed
from aectl.settings.choices import Range

SUFFIX = ".aec"
MAGIC = b"\x89AEC\r\n\x1a\n"
FORMAT = 1
FRAME = struct.Struct("<II")  # length and CRC-32
# What headers have in common, of which a deflated one has references alone; another would be another format.
COMMON = (
    b'","weights":"0123456789abcdef","machine":"aectl 0.1.0, torch 2.13.0+cpu, Python 3.11.7; 2 cores of Intel(R) '
    b'Xeon(R) Processor","shape":[1,28,28],"names":[["test",5,0,10000,""]],"sizes":[[28,28]],"labels":["0","1","2",'
    b'"3","4","5","6","7","8","9"],"labelled":"","blocks":[1],"format":1}{"coding":"rounded","run":"{"coding":'
    b'"bits_back","run":"'
)
MAX_BYTES = 2**34  # of a file
MAX_HEADER = 2**27  # bytes of it, inflated
HEADER = Limits(size=MAX_HEADER, values=2**25, letters=MAX_HEADER)  # all labels together are one text
MAX_PICTURES = 10_000_000
MAX_SIDE = 2**20
MAX_NAME = 4096  # letters


@dataclass(frozen=True)
class Header:
    """What a file says of its pictures.

    Attributes:
        coding: how they were made bits.
        run: the name of the run that did, and `weights` the SHA-256 of its weights, which alone can undo it.
        machine: what computed, in words.
        shape: (C, H, W) of what the run sees at once.
        names: of the pictures, as `numbered.folded` has them.
        sizes: [height, width] of each, or a single one for all.
        labels: the words of all labels; `labelled` is a letter for each picture, chr(48 + i) for the i-th of them,
            and "." for none; both are empty where no picture has one.
        blocks: how many pictures each block has.
    """

    coding: Literal["bits_back", "rounded"]
    run: str
    weights: str
    machine: str
    shape: list[int]
    names: list[Any]
    sizes: list[list[int]]
    labels: list[str]
    labelled: str
    blocks: list[int]
    format: Annotated[int, Range(FORMAT, FORMAT)] = FORMAT


@dataclass(frozen=True)
class Maker:
    """Who makes a file: the fields of `Header` that are the same for all of a run's."""

    coding: str
    run: str
    weights: str
    machine: str
    shape: Sequence[int]

    def header(
        self,
        names: Sequence[str],
        sizes: Sequence[Sequence[int]],
        labels: Sequence[str | None],
        blocks: Sequence[int],
    ) -> Header:
        """That of a file of pictures with these names, sizes and labels, so many of them in each block."""
        each = [list(size) for size in sizes]
        words, letters = labelled(labels)
        return Header(
            **{**vars(self), "shape": list(self.shape)},
            names=numbered.folded(names),
            sizes=each[:1] if all(size == each[0] for size in each) else each,
            labels=words,
            labelled=letters,
            blocks=list(blocks),
        )


@dataclass(frozen=True)
class Contents:
    """Pictures by name, each with its size and its label or None."""

    names: list[str]
    sizes: list[tuple[int, int]]
    labels: list[str | None]


def contents(header: Header) -> Contents:
    """The lists that a header folds.

    Raises:
        ValueError: they do not go together.
    """
    count = sum(header.blocks)
    if not (1 <= count <= MAX_PICTURES and min(header.blocks) >= 1):
        raise ValueError(f"its blocks have {count} pictures; 1 to {MAX_PICTURES} are read")
    names = numbered.unfolded(header.names, count)
    if len(names) != count or len(set(names)) != count:
        raise ValueError(f"has {counted(len(set(names)), 'name')} for {counted(count, 'picture')}")
    if any(not name or len(name) > MAX_NAME for name in names):
        raise ValueError("a name is empty or too long")
    sizes = header.sizes * count if len(header.sizes) == 1 else header.sizes
    if len(sizes) != count or any(len(size) != 2 or not 1 <= min(size) <= max(size) <= MAX_SIDE for size in sizes):
        raise ValueError(f"has no size for each of {counted(count, 'picture')}")
    labels: list[str | None] = [None] * count
    if header.labelled:
        words: dict[str, str | None] = {chr(48 + index): word for index, word in enumerate(header.labels)}
        if len(header.labelled) != count or not set(header.labelled) <= {".", *words}:
            raise ValueError(f"has no label for each of {counted(count, 'picture')}")
        labels = [words.get(letter) for letter in header.labelled]
    return Contents(names, [(height, width) for height, width in sizes], labels)


def labelled(labels: Sequence[str | None]) -> tuple[list[str], str]:
    """The fields `labels` and `labelled` of a header."""
    words = sorted({label for label in labels if label is not None})
    letters: dict[str | None, str] = {word: chr(48 + index) for index, word in enumerate(words)}
    return words, "".join(letters.get(label, ".") for label in labels) if words else ""


def to_bytes(header: Header, blocks: Sequence[bytes]) -> bytes:
    """The whole file."""
    text = json.dumps(typed.to_dict(header), separators=(",", ":"), allow_nan=False).encode()
    parts = [MAGIC]
    deflate = zlib.compressobj(9, zdict=COMMON)
    for part in (deflate.compress(text) + deflate.flush(), *blocks):
        parts += [FRAME.pack(len(part), zlib.crc32(part)), part]
    return b"".join(parts)


def read(path: Path) -> tuple[Header, Contents, list[bytes]]:
    """A file, every byte of it checked, but not what comes out of its blocks.

    Raises:
        DataError: it is none, of another version, or damaged; the message says where, and which pictures it bears on.
    """
    try:
        data = storage.read(path, MAX_BYTES)
        header, found, offset = _header(data)
        blocks = []
        for number, count in enumerate(header.blocks):
            try:
                block, offset = _frame(data, offset)
            except ValueError as error:
                first = sum(header.blocks[:number])
                raise ValueError(f"{whose(found.names, first, first + count - 1)}: the bits {error}") from None
            blocks.append(block)
        if offset != len(data):
            raise ValueError(f"{counted(len(data) - offset, 'byte')} too long")
    except ValueError as error:
        raise DataError(f"input={path}: cannot be read ({brief(error, 200)}); take another copy of it") from None
    return header, found, blocks


def _header(data: bytes) -> tuple[Header, Contents, int]:
    if not data.startswith(MAGIC):
        raise ValueError("is no file of pictures that aectl encode wrote")
    try:
        packed, offset = _frame(data, len(MAGIC))
    except ValueError as error:
        raise ValueError(f"its header {error}") from None
    inflate = zlib.decompressobj(zdict=COMMON)
    try:
        text = inflate.decompress(packed, MAX_HEADER)
        if not inflate.eof or inflate.unused_data:
            raise ValueError("its header is longer than any, or cut off")
    except zlib.error as error:
        raise ValueError(f"its header is not deflated ({error})") from None
    values = plain.from_json(text, HEADER)
    if values.get("format") != FORMAT:
        raise ValueError(
            f"format {brief(values.get('format'), 20)} is not {FORMAT}; another version of aectl wrote it"
        )
    header = typed.from_dict(Header, values, "header")
    if len(header.shape) != 3 or not all(1 <= side <= MAX_SIDE for side in header.shape):
        ranges.fail("header.shape", header.shape, "must be [channels, height, width]")
    return header, contents(header), offset


def _frame(data: bytes, offset: int) -> tuple[bytes, int]:
    """Bytes with their length and CRC-32 before them, and where the next begin."""
    try:
        length, checksum = FRAME.unpack_from(data, offset)
    except struct.error:
        raise ValueError("are missing: the file is cut off") from None
    start, end = offset + FRAME.size, offset + FRAME.size + length
    if end > len(data):
        raise ValueError("are cut off")
    if zlib.crc32(data[start:end]) != checksum:
        raise ValueError("are damaged: their checksum is another")
    return data[start:end], end


def whose(names: Sequence[str], first: int, last: int) -> str:
    """Some pictures of all, first to last, in words."""
    one = brief(repr(names[first]), 60)
    return one if first == last else f"{one} to {brief(repr(names[last]), 60)} ({last - first + 1} of {len(names)})"
