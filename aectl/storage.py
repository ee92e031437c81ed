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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aectl.leads import refuse_odd

BINARY = getattr(os, "O_BINARY", 0)  # without it Windows would change the ends of lines
# Where the system has them: the last name of a path must be no link, and a FIFO makes nobody wait.
PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def expanded(path: str) -> Path:
    """The path that was typed: a `~` at its beginning is a home folder, if it is anybody's; `./~x` is a name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path forgets the ./ before it looks)


def cache_home() -> Path:
    """$XDG_CACHE_HOME, else `.cache` in the person's home folder; in this folder for one who has no home."""
    found = expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(".cache") if found.parts[:1] == ("~",) else found


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError of the block the name of the file, which writing and flushing leave out."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a new file and flush it to the disk; its mode follows the umask."""
    with growing(path, mode) as add:
        add(data)


@contextlib.contextmanager
def growing(path: Path, mode: int = 0o666) -> Iterator[Callable[[bytes], None]]:
    """A new file that grows by what the function gets, and is flushed to the disk at the end of the block."""

    def add(data: bytes) -> None:
        with naming(path):
            _write_all(descriptor, data)

    with naming(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY, mode)
    try:
        yield add
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def temporary_for(path: Path) -> Path:
    """A new name beside `path`; short, since a name may be as long as the file system allows."""
    return path.with_name(f".tmp-{secrets.token_hex(8)}")


def temporary_of(path: Path) -> Path:
    """The one temporary name of `path`, of that form, for who alone writes there: a kill's leftover can be found."""
    return path.with_name(f".tmp-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]}")


def replace(path: Path, data: bytes, temporary: Path | None = None) -> None:
    """Replace the file by `data`, so that a reader or a crash sees the old or the new, never a part.

    Raises:
        StorageError: a link is there, or what is no file.
    """
    refuse_odd(path)
    temporary = temporary or temporary_for(path)
    try:
        write(temporary, data)
        with naming(path):
            temporary.replace(path)
            flush_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(path: Path, data: bytes, mode: int) -> None:
    """The new file `path`, whole or not at all, unless another process has made it before: then that stays."""
    temporary = temporary_for(path)
    try:
        write(temporary, data, mode)
        with naming(path), contextlib.suppress(FileExistsError):
            if hasattr(os, "link"):
                os.link(temporary, path)
            else:
                temporary.rename(path)  # where there are no links a name that is taken is no place to rename to
            flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_parents(path: Path) -> Iterator[Path]:
    """Make the folders that `path` lies in, without recursion, however many; the new ones, outermost first."""
    for folder in list(itertools.takewhile(lambda folder: not folder.is_dir(), path.parents))[::-1]:
        folder.mkdir(exist_ok=True)
        yield folder


def append(path: Path, line: str) -> None:
    """Add one line at the end of the file.

    Raises:
        StorageError: a link is there, or a hard link, or what is no file.
    """
    descriptor = _open_to_append(path)
    try:
        with naming(path):
            _write_all(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def _open_to_append(path: Path) -> int:
    refuse_odd(path, grows=True)
    with naming(path):
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | PLAIN | BINARY, 0o666)


@contextlib.contextmanager
def appending(path: Path, size: int) -> Iterator[Callable[[bytes], None]]:
    """The file, a new one or what it has after `size` bytes cut off, and a function that adds to it.

    What was added is on the disk when the function returns, before anything that comes later.

    Raises:
        StorageError: a link is there, or a hard link, or what is no file.
    """

    def add(data: bytes) -> None:
        with naming(path):
            _write_all(descriptor, data)
            os.fsync(descriptor)

    descriptor = _open_to_append(path)
    try:
        with naming(path):
            os.ftruncate(descriptor, size)
            flush_folder(path.parent)
        yield add
    finally:
        os.close(descriptor)


def make_folder(target: Path, contents: dict[str, bytes], temporary: Path | None = None) -> None:
    """Make the folder `target` with these files in this order, whole or not at all.

    It grows under a temporary name beside its place, is flushed to the disk, and gets its name last; what stood
    there before steps `aside` at that moment, and goes.

    Raises:
        StorageError: a link is there, or what is neither a file nor a folder.
    """
    refuse_odd(target)
    temporary = temporary or temporary_for(target)
    before = aside(temporary)
    target.parent.mkdir(exist_ok=True)  # but not its parent: a run that was taken away is not made again
    try:
        temporary.mkdir()
        for name, data in contents.items():
            write(temporary / name, data)
        flush_folder(temporary)
        if target.exists():
            target.rename(before)
        with naming(target):
            temporary.rename(target)
            flush_folder(target.parent)
        remove(before)
    except BaseException:
        if before.exists() and not target.exists():
            before.rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def aside(temporary: Path) -> Path:
    """Where what stood in the place of a new folder is, while that gets its name from `temporary`."""
    return temporary.with_name(f"{temporary.name}-old")


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


def read(path: Path, limit: int, *, links: bool = True) -> bytes:
    """The bytes of a regular file, at most `limit`; a FIFO or a device named like a file is never opened.

    Without `links` neither is what a link leads to.

    Raises:
        ValueError: it is missing, no file, unreadable or longer; says which.
    """
    try:
        if not links and path.is_symlink():
            raise ValueError("is a link, and a run's files are read where they lie")
        if not path.is_file():
            raise ValueError("is missing" if not path.exists() else "is not a file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(limit, size) + 1)  # a buffer of that length is made at once
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise ValueError(f"is longer than the {limit} bytes it should have")
    return data


def dump_json(value: Any) -> bytes:
    """Plain data as indented JSON; raises ValueError for NaN and infinities, which JSON has not."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
