"""Files that are whole or not there, and errors that name them.

Every change on the disk is one call of a function of `os`, so that the tests can stop the program, or refuse it, at
each of them.
"""

import contextlib
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

BINARY = getattr(os, "O_BINARY", 0)  # without it Windows would change the ends of lines
MAX_JSON = 16 * 2**20  # bytes; ours are a few thousand


def expanded(path: str) -> Path:
    """The path that was typed: a `~` at its beginning is a home folder, if it is anybody's; `./~x` is a name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path forgets the ./ before it looks)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block the name of the file, which writing and flushing leave out."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def write(path: Path, data: bytes) -> None:
    """Write a new file and flush it to the disk; its mode follows the umask."""
    with growing(path) as add:
        add(data)


@contextlib.contextmanager
def growing(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A new file that grows by what the function gets, and is flushed to the disk at the end of the block."""

    def add(data: bytes) -> None:
        rest = memoryview(data)
        with naming(path):
            while rest:
                rest = rest[os.write(descriptor, rest) :]

    with naming(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, 0o666)
    try:
        yield add
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_for(path: Path) -> Path:
    """A new name beside `path`; short, since a name may be as long as the file system allows."""
    return path.with_name(f".tmp-{secrets.token_hex(8)}")


def replace(path: Path, data: bytes) -> None:
    """Replace the file by `data`, so that a reader or a crash sees the old or the new, never a part."""
    temporary = temporary_for(path)
    try:
        write(temporary, data)
        with naming(path):
            temporary.replace(path)
            flush_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_parents(path: Path) -> Iterator[Path]:
    """Make the folders that `path` lies in, without recursion, however many; the new ones, outermost first."""
    for folder in list(itertools.takewhile(lambda folder: not folder.is_dir(), path.parents))[::-1]:
        folder.mkdir(exist_ok=True)
        yield folder


def append(path: Path, line: str) -> None:
    """Add one line at the end of the file."""
    with naming(path), path.open("a") as file:
        file.write(line + "\n")


def make_folder(target: Path, contents: dict[str, bytes]) -> None:
    """Make the folder `target` with these files in this order, whole or not at all.

    It grows under a temporary name beside its place, is flushed to the disk, and gets its name last; what stood
    there before, which is damaged, goes at that moment.
    """
    temporary = temporary_for(target)
    target.parent.mkdir(exist_ok=True)  # but not its parent: a run that was taken away is not made again
    try:
        temporary.mkdir()
        for name, data in contents.items():
            write(temporary / name, data)
        flush_folder(temporary)
        if target.exists():
            shutil.rmtree(target)
        with naming(target):
            temporary.rename(target)
            flush_folder(target.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove(path: Path) -> None:
    """Take away what lies there, whatever it is, or nothing; another process may be doing so."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def tidy(folder: Path) -> None:
    """Take away what a killed process left under temporary names; for a folder that one process alone writes to."""
    for path in folder.glob(".tmp-*"):
        remove(path)


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable; where a folder cannot be opened, as on Windows, the system sees to that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, limit: int) -> bytes:
    """The bytes of a regular file, at most `limit`; a FIFO or a device named like a file is never opened.

    Raises:
        ValueError: it is missing, no file, unreadable or longer; says which.
    """
    try:
        if not path.is_file():
            raise ValueError("is missing" if not path.exists() else "is not a file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise ValueError(f"is longer than the {limit} bytes it should have")
    return data


def seal(value: dict[str, Any]) -> bytes:
    """Plain data as JSON after a line with its SHA-256, so that `unseal` notices any damage."""
    body = json.dumps(value, allow_nan=False).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(data: bytes) -> dict[str, Any]:
    """What was sealed.

    Raises:
        ValueError: it is damaged, or something else.
    """
    digest, _, body = data.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("does not match its checksum")
    return parse_json(body)


def dump_json(value: Any) -> bytes:
    """Plain data as indented JSON; raises ValueError for NaN and infinities, which JSON has not."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def parse_json(data: bytes) -> dict[str, Any]:
    """A JSON object, strictly: no NaN, no number beyond a float, no key twice, no endless nesting.

    Raises:
        ValueError: it is something else; says what.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite_float,
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"must hold a JSON object, found {type(value).__name__}")
    return value


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        result[key] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value
