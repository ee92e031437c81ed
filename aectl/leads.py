"""What leads elsewhere, and so is not written to: links, FIFOs, devices, and files with a second name."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from aectl.errors import StorageError


def refuse_odd(path: Path, *, grows: bool = False) -> None:
    """Refuse to write where a link is, or what is neither a file nor a folder.

    A file that `grows` in place must have no second name either, under which it would change as well.

    Raises:
        StorageError: names it.
    """
    try:
        found = os.lstat(path)
    except OSError:  # nothing is there; or what tries to write will learn why it cannot
        return
    _refuse(path, found.st_mode, found.st_nlink if grows else 1)


def _refuse(path: Path, mode: int, names: int = 1) -> None:
    remedy = "take it away, or name another place"
    if stat.S_ISLNK(mode):
        raise StorageError(f"{path}: is a link, and nothing is written through links; {remedy}")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise StorageError(f"{path}: is neither a file nor a folder, and nothing is written into it; {remedy}")
    if names > 1 and stat.S_ISREG(mode):
        raise StorageError(f"{path}: is a hard link, and what it shares would change elsewhere as well; {remedy}")


def refuse_leads(folder: Path, grows: Callable[[str], bool], own: Callable[[str], bool] | None = None) -> None:
    """Refuse a folder to be written into that has, however deep, what `refuse_odd` refuses.

    Writers that are not ours open files and folders in it by their names. Links that the folder itself is, or lies
    behind, are the person's own. `grows` says which names are those of files that grow in place; with `own` only
    what it says yes to is looked at in the folder itself, and all that is below.

    Raises:
        StorageError: names what it found.
        OSError: a folder cannot be listed.
    """
    waiting = [folder] if folder.is_dir() else []
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place) as found:
                items = list(found)
        except FileNotFoundError:  # another process has taken it away
            continue
        for item in items:
            if own is not None and place is folder and not own(item.name):
                continue
            path = place / item.name
            if item.is_dir(follow_symlinks=False):
                waiting.append(path)
            elif item.is_symlink() or not item.is_file(follow_symlinks=False) or grows(item.name):
                refuse_odd(path, grows=grows(item.name))
