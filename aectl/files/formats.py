"""Names and codes as .npz, .csv and .parquet: from arrays to bytes and back.

`aectl.files.columns` says what a table has; an .npz has the arrays `names` (N,), strings, and `codes` (N, K), and
what stands beside them as `labels` (N,), strings, `psnr` (N,) and `sigma` (N, K).
"""

import csv
import io
import zipfile
from array import array
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from aectl.errors import ConfigError, brief
from aectl.files import arrays, columns
from aectl.files.columns import Beside, Codes
from aectl.files.unpacked import TIMES, is_flat
from aectl.machine import memory

MAX_CODES = 10_000_000  # in a .parquet; a small one could hold any number of equal ones
MAX_NAME = 2**16  # bytes of a name in it; that of a file has fewer
ROW = 100  # bytes that a code takes once it is read, its name above all
FLAT = 2**24  # bytes; more of next to nothing are refused


# -------------------------------------------------------------------------------------------- .npz


def _to_npz(names: Sequence[str], codes: np.ndarray, beside: Beside) -> bytes:
    buffer = io.BytesIO()
    labels = None if beside.labels is None else np.array(beside.labels, dtype=np.str_)
    more = {"labels": labels, "psnr": beside.psnr, "sigma": beside.sigma}
    more = {name: values for name, values in more.items() if values is not None}
    np.savez(buffer, codes=codes, names=np.array(names, dtype=np.str_), **more)
    return buffer.getvalue()


def _from_npz(data: bytes, latent: int) -> Codes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = arrays.of_archive(archive)
        for name in ("names", "codes"):
            if name not in found:
                raise ValueError(f"needs one array called {name}; has {brief(', '.join(found)) or 'none'}")
        names, codes = found["names"], found["codes"]
        if len(names.shape) != 1 or names.dtype.kind != "U":
            raise ValueError(f"names: are {names.dtype} of shape {names.shape}, not a row of strings")
        if codes.dtype.kind not in "fiu":
            raise ValueError(f"codes: are {codes.dtype}, not numbers")
        _refuse_bomb(names.size + codes.size, len(data))
        if codes.shape != (*names.shape, latent):
            shapes = f"{names.shape[0]} names and codes of shape {codes.shape}"
            raise ValueError(f"has {shapes}; the run's codes are {latent} numbers each")
        words = [name for part in names.parts() for name in part.tolist()]
        return Codes(words, codes.whole(), range(1, len(words) + 1))


def _refuse_bomb(size: int, packed: int) -> None:
    """Raise ValueError where a small file would become very many bytes."""
    if size > FLAT and is_flat(size, packed):
        raise ValueError(f"would unpack to {memory.shown(size)}, more than {TIMES} times its size")


# -------------------------------------------------------------------------------------------- .csv


def _to_csv(names: Sequence[str], codes: np.ndarray, beside: Beside) -> bytes:
    buffer = io.StringIO(newline="")
    # With the line ends of RFC 4180, for then every version of the module quotes a carriage return in a name.
    writer = csv.writer(buffer)
    table = columns.table(names, codes.astype(np.float32), beside)
    writer.writerow(table)
    # A single-precision number is written with as many digits as give it back.
    writer.writerows(zip(*table.values(), strict=True))
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _from_csv(data: bytes, latent: int) -> Codes:
    text = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", "surrogateescape", newline="")  # line by line
    lines = ((row, cells) for row, cells in enumerate(csv.reader(text, strict=True), 1) if cells)
    _, header = next(lines, (1, []))
    header = [cell.strip() for cell in header]
    passed_over = columns.check(header, latent, "its first row must name the columns")
    where = {column: index for index, column in enumerate(header)}
    of_name, *places = (where[column] for column in columns.needed(latent))
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
        raise ValueError(f"{columns.place(row, name, column)}: {what}") from None


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


def _to_parquet(names: Sequence[str], codes: np.ndarray, beside: Beside) -> bytes:
    arrow, parquet = _arrow()
    table = columns.table(names, codes, beside)
    buffer = io.BytesIO()
    values_of = [_column(values, is_text=name in ("name", "label")) for name, values in table.items()]
    parquet.write_table(arrow.table(values_of, names=list(table)), buffer)
    return buffer.getvalue()


def _column(values: Sequence, *, is_text: bool) -> Any:
    arrow, _ = _arrow()
    if not is_text:
        return arrow.array(values)
    try:
        return arrow.array(values, arrow.string())
    except UnicodeEncodeError:  # a string there is UTF-8, and the name of a file need not be
        return arrow.array([text.encode("utf-8", "surrogateescape") for text in values], arrow.binary())


def _from_parquet(data: bytes, latent: int) -> Codes:
    arrow, parquet = _arrow()
    wanted = columns.needed(latent)
    try:
        file = parquet.ParquetFile(arrow.BufferReader(data))
        schema = file.schema_arrow
        passed_over = columns.check(schema.names, latent, "its columns must be")
        kinds = {column: schema.field(column).type for column in wanted}
        text = kinds["name"].value_type if arrow.types.is_dictionary(kinds["name"]) else kinds["name"]
        if not _is_text(text):
            raise ValueError(f"the column name holds {kinds['name']}, not strings")
        for column in wanted[1:]:
            if not (arrow.types.is_floating(kinds[column]) or arrow.types.is_integer(kinds[column])):
                raise ValueError(f"the column {column} holds {kinds[column]}, not numbers")
        if file.metadata.num_rows > MAX_CODES:
            raise ValueError(f"has {file.metadata.num_rows} codes; at most {MAX_CODES} are read")
        _refuse_bomb(max(_unpacked(file.metadata, wanted), ROW * file.metadata.num_rows), len(data))
        # With its dictionary, because a name of any length could be repeated without end.
        file = parquet.ParquetFile(arrow.BufferReader(data), read_dictionary=["name"])
        table = file.read(columns=wanted)
        distinct = sum(len(chunk.dictionary) for chunk in table["name"].chunks)
        # Where there are fewer names than codes, one stands twice among so many, which will be said; a small file
        # could repeat them millions of times.
        table = table.slice(0, distinct + 1)
        names = [name for chunk in table["name"].chunks for name in _texts(chunk)]
        if None in names:
            raise ValueError(f"row {names.index(None) + 1}, column name: is empty")
        for index, column in enumerate(wanted[1:], 1):
            if table[column].null_count:
                row = table[column].is_null().index(True).as_py()
                raise ValueError(f"{columns.place(row + 1, names[row], index)}: is empty")
        numbers = [table[column].to_numpy() for column in wanted[1:]]
    except arrow.ArrowException as error:
        raise ValueError(brief(error)) from None
    return Codes(names, np.stack(numbers, axis=1), range(1, len(names) + 1), passed_over)


def _unpacked(metadata: Any, wanted: Sequence[str]) -> int:
    """Bytes of these columns by what the file says of itself."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    found = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(max(0, column.total_uncompressed_size) for column in found if column.path_in_schema in wanted)


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


WRITERS: dict[str, Callable[[Sequence[str], np.ndarray, Beside], bytes]] = {
    ".npz": _to_npz,
    ".csv": _to_csv,
    ".parquet": _to_parquet,
}
READERS: dict[str, Callable[[bytes, int], Codes]] = {
    ".npz": _from_npz,
    ".csv": _from_csv,
    ".parquet": _from_parquet,
}
