"""The files of pictures that a command writes below a folder: their names, and what may not be in their way."""

import os
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from aectl.errors import StorageError, brief

FOLDS = sys.platform in ("darwin", "win32")  # where A.png and a.png are one file


def png_names(names: Sequence[str], folder: Path) -> list[str]:
    """The PNG file, as its path below `folder`, for each of these names, of which no two are equal.

    A name that ends in .png is kept, any other gets .png after it, so a.jpg becomes a.jpg.png. Where that is the name
    of another picture, or of a folder that one is in, it gets one .png more. So no name loses a part, none meet.

    Raises:
        ValueError: a name would lead out of the folder, or names no file that the folder could have.
    """
    for name in names:
        if reason := _unfit(name):
            raise _refusal(name, reason)
    _refuse_too_long(names, folder)
    taken = {_same("/".join(parts[:depth])) for parts in map(_parts, names) for depth in range(1, len(parts))}
    found = {}
    for name in names:
        if name.lower().endswith(".png") and _same(name) not in taken:
            found[name] = name
            taken.add(_same(name))
    for name in names:
        if name not in found:
            file = name + ".png"
            while _same(file) in taken:
                file += ".png"
            found[name] = file
            taken.add(_same(file))
    _refuse_too_long(list(found.values()), folder)
    return [found[name] for name in names]


def _same(name: str) -> str:
    """Equal for names that are one file here."""
    return unicodedata.normalize("NFC", name).casefold() if FOLDS else name


def _parts(name: str) -> list[str]:
    return name.replace(os.sep, "/").split("/")


def _unfit(name: str) -> str:
    """Why a name cannot be used; empty where it can."""
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it has a NUL"
    if Path(name).anchor:
        return "it is absolute"
    if ".." in _parts(name):
        return "it would lead out of it"
    if set(_parts(name)) & {"", "."}:
        return "a part of it is empty or a dot"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return "the file system cannot write it"
    return ""


def _refusal(name: str, reason: str) -> ValueError:
    return ValueError(f"{brief(repr(name), 60)} cannot name a picture below the output folder: {reason}; rename it")


def _refuse_too_long(names: Sequence[str], folder: Path) -> None:
    """Raise ValueError for a path that the file system does not take; it is asked, as each has its own limits."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    asked: set[str] = set()
    for name in names:
        # Each part by itself as well, because nothing is asked about what lies in a folder that is not there yet.
        for path in (folder / name, *(place / part for part in _parts(name) if part not in asked)):
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise _refusal(name, error.strerror) from None
        asked.update(_parts(name))


def refuse_obstacles(paths: Sequence[Path], target: Path) -> None:
    """Raise `StorageError` where a file is in the way of a folder, or a folder in that of a picture."""
    folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(target)}
    for folder in sorted(folders | {target}):
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"output={target}: {folder} is a file, where a folder is needed; choose another")
    for path in paths:
        if path.is_dir():
            raise StorageError(f"output={target}: {path} is a folder, where a picture would go; choose another")
