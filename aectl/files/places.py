"""Where a command's files go: names that fit beside each other, and folders that are there before the work begins."""

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from aectl import leads, storage
from aectl.errors import DataError, StorageError, brief


class Places:
    """The names below an output folder, each for one file, or for a folder.

    `reports` are files of the command's own. `fold`: A and a are one name, as the file systems of macOS and Windows
    have it; None: as that of the folder has it.
    """

    def __init__(self, target: Path, reports: Sequence[str], fold: bool | None = None) -> None:
        self._fold = _ignores_case(target) if fold is None else fold
        self._nearest = next(place for place in (target.absolute(), *target.absolute().parents) if place.is_dir())
        self._files = {self._key(name): name for name in reports}
        self._folders: dict[str, str] = {}

    def take(self, names: Sequence[str], whose: str) -> None:
        """Take all of `names`, with `/`, for what becomes of the picture `whose`.

        Raises:
            DataError: one is taken, or needs a folder where a file goes, or the other way round, or is too long for
                the file system; then none is.
        """
        for part in {part for name in names for part in name.split("/")}:
            try:
                (self._nearest / part).lstat()
            except FileNotFoundError:
                pass
            except OSError as error:
                raise DataError(f"its name cannot be that of an output ({error.strerror}); rename it") from None
        files = [self._key(name) for name in names]
        folders = [folder for name in files for folder in self._new_folders(name)]
        wanted = [*files, *folders]
        others = [self._files.get(name) or (self._folders.get(name) if name in files else None) for name in wanted]
        other = next(filter(None, others), whose if set(files) & set(folders) else None)
        if other is not None:
            raise DataError(f"its output cannot be there beside that of {other}; rename one of them")
        self._files |= dict.fromkeys(files, whose)
        self._folders |= dict.fromkeys(folders, whose)

    def _key(self, name: str) -> str:
        return unicodedata.normalize("NFC", name.casefold()) if self._fold else name

    def _new_folders(self, name: str) -> Iterator[str]:
        """Those that `name` lies in, innermost first, up to one that is known."""
        folder = name.rpartition("/")[0]
        while folder and folder not in self._folders:
            yield folder
            folder = folder.rpartition("/")[0]


def _ignores_case(folder: Path) -> bool:
    """Asked of the nearest folder that is there and has letters in its name."""
    for place in (folder.absolute(), *folder.absolute().parents):
        other = place.with_name(place.name.swapcase()) if place.name else place
        if other != place and place.exists():
            return other.exists() and other.samefile(place)
    return False


def prepare(paths: Iterable[Path], within: Path | None = None) -> list[Path]:
    """Make the folders of files that are to be written, so that what would refuse a file does so before the work.

    `within` is the folder that the person has named, if all of them lie below it: from there on no link is followed.

    Returns:
        The folders that were made, the outer ones first.

    Raises:
        StorageError: a link is on the way; a name is too long; a file is where a folder must go or the other way
            round; or nothing may be written there. The folders made are taken away again.
    """
    made: list[Path] = []
    try:
        for path in paths:
            _refuse_links(path, within)
            for folder in storage.make_parents(path):
                made.append(folder)  # those before an error count as well
            with storage.naming(path):
                _refuse_impossible(path)
    except StorageError:
        _take_away(made)
        raise
    except OSError as error:
        _take_away(made)
        where = brief(error.filename, 300)
        raise StorageError(
            f"{where}: cannot be written ({error.strerror}), and nothing has been; work in a folder that you may "
            "write to, or name another place with output=<path>, then repeat the command"
        ) from None
    return made


@contextlib.contextmanager
def prepared(paths: Iterable[Path], within: Path | None = None) -> Iterator[None]:
    """As `prepare`, for a block of work; where that ends in an error the folders that stayed empty go again."""
    made = prepare(paths, within)
    try:
        yield
    except BaseException:
        _take_away(made)
        raise


def _take_away(folders: Sequence[Path]) -> None:
    for folder in reversed(folders):
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()


def _refuse_links(path: Path, within: Path | None) -> None:
    """A link in the place of the file, or of a folder that it lies in below `within`."""
    leads.refuse_odd(path)
    for folder in path.parents if within is not None else ():
        if folder == within:
            break
        leads.refuse_odd(folder)


def _refuse_impossible(path: Path) -> None:
    for name in (path, storage.temporary_for(path)):
        try:
            found = os.stat(name)  # noqa: PTH116  # which names are too long, the file system knows
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path.parent, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
