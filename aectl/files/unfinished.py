"""What a command that writes several files has written while it is not done, so that after a kill it can go on.

While it writes, a note stands in the output folder. Its first line says which work it is: a digest of each thing that
the outputs depend on. Each further line announces files before they get their names: the SHA-256 of their bytes, and
a digest of what they were made of. So every file there is one that this work wrote whole, as its SHA-256 shows, or it
is somebody else's, and is never replaced unasked. The note goes when the last file is there. A lock keeps a second
command of the same output out.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aectl import leads, storage
from aectl.errors import StorageError, brief, counted
from aectl.files.notes import Announced, Note, digest, line_of

NOTE, LOCK = ".aectl-unfinished", ".aectl-lock"
PATIENCE = 1.0  # seconds for which another command of the same output is waited for
DIFFERENT = "set overwrite=true to make everything anew, or choose another output"

log = logging.getLogger(__name__)


class Work:
    """The files that a command makes below a folder, or the few of which `target` is the first.

    `facts` is plain data: everything that the files depend on, but for what differs from one to the other.
    """

    def __init__(self, target: Path, facts: Mapping[str, Any], overwrite: bool, *, folder: bool) -> None:
        self.root = target if folder else target.parent
        self._target, self._overwrite, self._folder = target, overwrite, folder
        mark = "" if folder else _mark(target)
        self.note, self._lock = self.root / f"{NOTE}{mark}", self.root / f"{LOCK}{mark}"
        self._work = {key: digest(json.dumps(value, sort_keys=True))[:16] for key, value in facts.items()}
        self._noted = Note()
        self._there: dict[str, str] = {}  # the SHA-256 of files that were announced
        self._add: Any = None

    def refuse(self, names: Iterable[str]) -> None:
        """Refuse what may not be replaced: files of these names that this work has not announced, and other work.

        Raises:
            StorageError: says which, and what to do.
        """
        names = list(names)
        for name in names:
            leads.refuse_odd(self.root / name)
        try:
            self._noted = Note.at(self.note)
        except ValueError as error:
            reason = f"{self.note}: is no note of an unfinished command ({brief(error)})"
            if self.note.is_symlink() or not self.note.is_file():  # not even to be written over
                raise StorageError(f"{reason}; take it away, or choose another output") from None
            if not self._overwrite:
                raise StorageError(f"{reason}; {DIFFERENT}") from None
            self._noted = Note()
        for name in () if self._folder else names:
            if (self.root / name).is_dir():
                raise self._is_there(name)
        if self._overwrite:
            return
        others = {} if self._noted.work == self._work else self._noted.announced
        if any(os.path.lexists(self.root / name) for name in others):
            raise StorageError(
                f"output={self._target}: holds what other work has left unfinished (it differs in "
                f"{brief(', '.join(self._differences()))}); repeat that command to finish it, or {DIFFERENT}"
            )
        for name in names:
            if name not in self._noted.announced and os.path.lexists(self.root / name):
                raise self._is_there(name)

    def _is_there(self, name: str) -> StorageError:
        if self._folder:
            there = f"output={self._target}: has {brief(name, 60)} already; choose another folder"
        else:
            there = f"output={self.root / name}: is there already; choose another"
        return StorageError(f"{there} or set overwrite=true")

    def _differences(self) -> list[str]:
        """The names of the facts in which the work of the note is another."""
        theirs = self._noted.work or {}
        return sorted(key for key in {*theirs, *self._work} if theirs.get(key) != self._work.get(key))

    @contextlib.contextmanager
    def begun(self, names: Sequence[str]) -> Iterator[None]:
        """A block of work in which these files are written, by `write`; the folder is there.

        Where it ends in an error the note stays if there is anything to go on with, and the log says so.

        Raises:
            StorageError: another command writes there, or `refuse` refuses, or a file is not as it was announced.
        """
        with alone(self._target, self._lock):
            self.refuse(names)
            same = self._noted.work == self._work
            self._tidy(set(names), same)
            if not same:
                self._noted = Note()
            try:
                with storage.appending(self.note, self._noted.size) as self._add:
                    if not same:
                        self._add(line_of(self._work))
                    yield
            except BaseException:
                self._leave()
                raise
            storage.remove(self.note)

    def _tidy(self, names: set[str], same: bool) -> None:
        """Look at every file that was announced, and take away what a kill has left half made.

        Files of pictures that are not among the inputs any more go as well.

        Raises:
            StorageError: a file is another than was announced: somebody has changed it.
        """
        root = self.root.resolve()
        for name, digests in self._noted.announced.items():
            path = self.root / name
            inside = path.parent.resolve().is_relative_to(root)  # else somebody has put a link there
            if inside:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    storage.temporary_of(path).unlink()
            if not same or not os.path.lexists(path):
                continue
            sha = _sha256_of(path) if inside else None
            if sha in digests:
                self._there[name] = sha
                if name not in names:
                    path.unlink()
                    self._take_empty(path.parent)
            elif name in names and not self._overwrite:
                raise StorageError(
                    f"output={self._target}: {brief(name, 60)} is not as this command left it; somebody has "
                    f"changed it: put it elsewhere, or {DIFFERENT}"
                )

    def _take_empty(self, folder: Path) -> None:
        with contextlib.suppress(OSError):  # it holds something
            while folder != self.root:
                folder.rmdir()
                folder = folder.parent

    def _leave(self) -> None:
        if not self._noted.announced:
            storage.remove(self.note)
        else:
            log.info("not done: %s; the same command goes on with it", self._target)

    def kept(self, names: Sequence[str], of: str) -> Announced | None:
        """What was announced of files that are all there as they were made, and of what `of` says; else None."""
        lines = [self._noted.lines.get(name) for name in names]
        for name, line in zip(names, lines, strict=True):
            if line is None or line.of != of or self._there.get(name) != line.files[name]:
                return None
        return lines[0]

    def write(self, files: Mapping[str, bytes], of: str = "", figures: Sequence[float] | None = None) -> None:
        """Announce the files, by their names below the folder, then write them, each whole or not at all."""
        if figures is not None and not all(map(math.isfinite, figures)):
            of, figures = "", None  # JSON has not these; they are measured again
        line = Announced(
            {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}, of, figures and list(figures)
        )
        self._add(line_of(vars(line)))
        self._noted.add(line)
        for name, data in files.items():
            temporary = storage.temporary_of(self.root / name)
            temporary.unlink(missing_ok=True)  # a kill's, of a work whose note somebody has taken away
            storage.replace(self.root / name, data, temporary)


@contextlib.contextmanager
def alone(target: Path, place: Path | None = None) -> Iterator[None]:
    """Keep other commands of the output `target` out; the lock is the file `place`, else one beside `target`.

    It goes with the process, however that ends.

    Raises:
        StorageError: another process holds it.
    """
    import filelock  # 50 ms, which only those pay who write

    place = place or target.with_name(f"{LOCK}{_mark(target)}")
    leads.refuse_odd(place, grows=True)
    lock = filelock.FileLock(place)
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise StorageError(
            f"output={target}: another command is writing there; wait for it to end, or choose another"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it when it is released
            place.unlink()
        lock.release()


def _mark(target: Path) -> str:
    """What tells the notes of files in one folder apart, short however long the file's name is."""
    return "-" + digest(target.name)[:16]


def tell(there: int, total: int, target: Path) -> None:
    """Say in one line how many pictures of all are there already, if any is."""
    if there:
        log.info("going on: %d of %s are in %s already", there, counted(total, "picture"), target)


def _sha256_of(path: Path) -> str | None:
    """Of a regular file's bytes; None for anything else."""
    if path.is_symlink() or not path.is_file():
        return None
    with storage.naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
