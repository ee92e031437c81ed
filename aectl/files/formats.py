"""Names and codes as .npz, .csv and .parquet: from arrays to bytes and back.

A table has the columns `name` and `z1` to `zK`, in any order; an .npz has the arrays `names` (N,), strings, and
`codes` (N, K).
"""

import csv
import io
import re
import warnings
import zipfile
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from aectl.errors import ConfigError, brief

MAX_CODES = 10_000_000  # in a .parquet; a small one could hold any number of equal ones
MAX_NAME = 2**16  # bytes of a name in it; that of a file has fewer
MAX_EXPANSION = 100  # of an .npz


@dataclass(frozen=True)
class Codes:
    """What a file holds, before its numbers are looked at.

    Attributes:
        names: N of them.
        codes: (N, K), of any type that counts.
        rows: where a person finds each code in the file, counted from 1; a header counts.
        passed_over: columns that are neither the name nor a number of the code.
    """

    names: list[str]
    codes: np.ndarray
    rows: Sequence[int]
    passed_over: Sequence[str] = ()


def place(row: int, name: str, column: int) -> str:
    """How a message names one number of a code; rows and columns count from 1."""
    return f"row {row} ({brief(repr(name), 60)}), column z{column}"


def _columns(latent: int) -> list[str]:
    return ["name", *(f"z{index + 1}" for index in range(latent))]


def _check_columns(found: Sequence[str], latent: int, where: str) -> list[str]:
    """The columns that are none of ours.

    Raises:
        ValueError: one of ours is missing or there twice, or there are numbers beyond zK.
    """
    wanted, counts = _columns(latent), Counter(found)
    ours = set(wanted)
    needs = f"{where} name and z1{f' to z{latent}' if latent > 1 else ''}, in any order"
    if doubled := next((column for column in wanted if counts[column] > 1), None):
        raise ValueError(f"the column {doubled} is there twice; {needs}")
    if missing := next((column for column in wanted if not counts[column]), None):
        raise ValueError(f"has no column {missing}, but {brief(', '.join(map(repr, found)), 60)}; {needs}")
    others = [column for column in counts if column not in ours]
    if beyond := next((column for column in others if re.fullmatch(r"z\d+", column)), None):
        raise ValueError(f"has a column {beyond}, and the run's codes are {latent} numbers each; {needs}")
    return others


# -------------------------------------------------------------------------------------------- .npz


def _to_npz(names: Sequence[str], codes: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, codes=codes, names=np.array(names, dtype=np.str_))
    return buffer.getvalue()


def _from_npz(data: bytes, latent: int) -> Codes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(member.file_size for member in archive.infolist()) > max(2**24, MAX_EXPANSION * len(data)):
            raise ValueError(f"would unpack to more than {MAX_EXPANSION} times its size")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as of headers that Python 2 wrote
        with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
            for name in ("names", "codes"):
                if loaded.files.count(name) != 1:
                    raise ValueError(f"needs one array called {name}; has {brief(', '.join(loaded.files)) or 'none'}")
            names, codes = loaded["names"], loaded["codes"]
    if not (isinstance(names, np.ndarray) and isinstance(codes, np.ndarray)):  # numpy gives other members as bytes
        raise ValueError("names or codes is no array")
    if names.ndim != 1 or names.dtype.kind != "U":
        raise ValueError(f"names: are {names.dtype} of shape {names.shape}, not a row of strings")
    if codes.dtype.kind not in "fiu":
        raise ValueError(f"codes: are {codes.dtype}, not numbers")
    return Codes(names.tolist(), codes, range(1, len(names) + 1))


# -------------------------------------------------------------------------------------------- .csv


def _to_csv(names: Sequence[str], codes: np.ndarray) -> bytes:
    buffer = io.StringIO(newline="")
    # With the line ends of RFC 4180, for then every version of the module quotes a carriage return in a name.
    writer = csv.writer(buffer)
    writer.writerow(_columns(codes.shape[1]))
    # A single-precision number is written with as many digits as give it back.
    writer.writerows([name, *code] for name, code in zip(names, codes.astype(np.float32), strict=True))
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _from_csv(data: bytes, latent: int) -> Codes:
    text = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
    lines = ((row, cells) for row, cells in enumerate(csv.reader(text, strict=True), 1) if cells)
    _, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]
    passed_over = _check_columns(header, latent, "its first row must name the columns")
    where = {column: index for index, column in enumerate(header)}
    of_name, *places = (where[column] for column in _columns(latent))
    names, numbers, rows = [], array("d"), []
    for row, cells in lines:
        if len(cells) != len(header):
            start = brief(repr(cells[0]), 60)
            raise ValueError(f"row {row}, that begins with {start}, has {len(cells)} cells, the header {len(header)}")
        names.append(cells[of_name])
        numbers.extend(_number(cells[at], row, names[-1], column) for column, at in enumerate(places, 1))
        rows.append(row)
    return Codes(names, np.array(numbers).reshape(-1, latent), rows, passed_over)


def _number(cell: str, row: int, name: str, column: int) -> float:
    try:
        if "_" in cell:  # which Python would pass over
            raise ValueError
        return float(cell)
    except ValueError:
        what = f"{brief(repr(cell), 40)} is not a number" if cell.strip() else "is empty"
        raise ValueError(f"{place(row, name, column)}: {what}") from None


# ---------------------------------------------------------------------------------------- .parquet


def prepare(suffix: str) -> None:
    """Raise ConfigError where such files can be neither read nor written: .parquet needs a package."""
    if suffix == ".parquet":
        _arrow()


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            "a .parquet file needs pyarrow: pip install 'aectl[parquet]'; or use .npz or .csv"
        ) from None
    return pyarrow, pyarrow.parquet


def _to_parquet(names: Sequence[str], codes: np.ndarray) -> bytes:
    arrow, parquet = _arrow()
    try:
        column = arrow.array(names, arrow.string())
    except UnicodeEncodeError:  # a string there is UTF-8, and the name of a file need not be
        column = arrow.array([name.encode("utf-8", "surrogateescape") for name in names], arrow.binary())
    arrays = [column, *(arrow.array(numbers) for numbers in codes.T)]
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(arrays, names=_columns(codes.shape[1])), buffer)
    return buffer.getvalue()


def _from_parquet(data: bytes, latent: int) -> Codes:
    arrow, parquet = _arrow()
    wanted = _columns(latent)
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        schema = file.schema_arrow
        passed_over = _check_columns(schema.names, latent, "its columns must be")
        kinds = {column: schema.field(column).type for column in wanted}
        text = kinds["name"].value_type if arrow.types.is_dictionary(kinds["name"]) else kinds["name"]
        if not _is_text(text):
            raise ValueError(f"the column name holds {kinds['name']}, not strings")
        for column in wanted[1:]:
            if not (arrow.types.is_floating(kinds[column]) or arrow.types.is_integer(kinds[column])):
                raise ValueError(f"the column {column} holds {kinds[column]}, not numbers")
        if file.metadata.num_rows > MAX_CODES:
            raise ValueError(f"has {file.metadata.num_rows} codes; at most {MAX_CODES} are read")
        # With its dictionary, because a name of any length could be repeated without end.
        file = parquet.ParquetFile(arrow.BufferReader(data), read_dictionary=["name"])
        table = file.read(columns=wanted)
        names = [name for chunk in table["name"].chunks for name in _texts(chunk)]
        if None in names:
            raise ValueError(f"row {names.index(None) + 1}, column name: is empty")
        for index, column in enumerate(wanted[1:], 1):
            if table[column].null_count:
                row = table[column].is_null().index(True).as_py()
                raise ValueError(f"{place(row + 1, names[row], index)}: is empty")
        numbers = [table[column].to_numpy() for column in wanted[1:]]
    except arrow.ArrowException as error:
        raise ValueError(brief(error)) from None
    return Codes(names, np.stack(numbers, axis=1), range(1, len(names) + 1), passed_over)


def _is_text(kind: Any) -> bool:
    of = _arrow()[0].types
    return any(test(kind) for test in (of.is_string, of.is_large_string, of.is_binary, of.is_large_binary))


def _texts(chunk: Any) -> list[str | None]:
    """The strings of a dictionary array."""
    values = chunk.dictionary.cast(_arrow()[0].large_binary()).to_pylist()
    if any(value is not None and len(value) > MAX_NAME for value in values):
        raise ValueError(f"has a name of more than {MAX_NAME} bytes")
    texts = [None if value is None else value.decode("utf-8", "surrogateescape") for value in values]
    return [None if index is None else texts[index] for index in chunk.indices.to_pylist()]


WRITERS: dict[str, Callable[[Sequence[str], np.ndarray], bytes]] = {
    ".npz": _to_npz,
    ".csv": _to_csv,
    ".parquet": _to_parquet,
}
READERS: dict[str, Callable[[bytes, int], Codes]] = {
    ".npz": _from_npz,
    ".csv": _from_csv,
    ".parquet": _from_parquet,
}
