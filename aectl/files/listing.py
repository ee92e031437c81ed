"""Which pictures there are: below a folder, in a zip, or one by itself; and what is passed over."""

import os
import zipfile
import zlib
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aectl.errors import DataError, brief
from aectl.files.unpacked import is_flat
from aectl.machine import memory

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
ARRAYS = (".npy", ".npz")  # NumPy's, which hold many pictures
MAX_BYTES = 2**29  # of one file
PIECE = 2**22  # bytes of a zip's member at a time
FLAT, SMALL = 2**28, 2**20  # bytes that a zip's members of next to nothing may have all together, or each
HIDDEN, READ_ALREADY = "hidden", "links to folders read already"


@dataclass(frozen=True)
class Entry:
    """A picture's place: a file, or a member of a zip.

    Attributes:
        name: its path below the folder or in the zip, with `/`.
        path: the file, or the member of `archive`.
        size, changed: bytes, and when it was last written (ns, or the zip's own stamp), to notice another content.
        problem: why it cannot be read, where its place says so already.
    """

    name: str
    path: str | zipfile.ZipInfo
    archive: zipfile.ZipFile | None = None
    size: int = 0
    changed: int = 0
    problem: str | None = None

    @property
    def weight(self) -> int:
        """Bytes of memory that reading it takes."""
        return min(self.size, MAX_BYTES) * (1 if self.archive is None else 2)

    def read(self) -> bytes:
        """The bytes of the file; nothing but a regular file is opened.

        Raises:
            DataError: it is none, too large, or cannot be read.
        """
        if self.problem is not None:
            raise DataError(self.problem)
        if self.size > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES // 2**20} MiB")
        try:
            if self.archive is not None:
                with self.archive.open(self.path) as file:  # which gives no more bytes than the zip says
                    # All at once, zipfile would copy what it has after every few.
                    data = b"".join(iter(lambda: file.read(PIECE), b""))
            else:
                path = Path(self.path)
                if not path.is_file():  # a FIFO would block whoever opens it
                    raise DataError("is not a file, or a link that leads nowhere")
                with path.open("rb") as file:
                    # Given a number, Python takes memory for so many bytes first.
                    data = file.read() if os.fstat(file.fileno()).st_size <= MAX_BYTES else None
        except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
            if memory.of_machine(error):
                raise
            raise DataError(f"cannot be read ({brief(error)})") from None
        if data is None or len(data) > MAX_BYTES:
            raise DataError(f"is larger than {MAX_BYTES // 2**20} MiB")
        return data


@dataclass(frozen=True)
class Listing:
    """What lies at a place.

    Attributes:
        entries: pictures, in the order of their names. A folder that cannot be listed, and a member that another one
            would overwrite, is an entry with a `problem`.
        passed_over: how many things that are no pictures, by suffix, or by what else they are.
    """

    entries: list[Entry]
    passed_over: Counter[str]

    def rest(self) -> str:
        """What was passed over, in words, the commonest first; empty if there was nothing."""
        words = [f"{brief(kind, 40)} {n}" for kind, n in self.passed_over.most_common(6)]
        kinds = len(self.passed_over) - len(words)
        return ", ".join([*words, f"{kinds} other kinds"] if kinds else words)


def below(root: Path, key: str = "dataset.root") -> Listing:
    """The pictures below a folder, or in a zip, by their suffix.

    Links are followed, but each folder is read once. Hidden files and folders are passed over. `key` is the setting
    that named the folder.

    Raises:
        DataError: there is no such folder or zip, or no picture in it.
    """
    passed_over: Counter[str] = Counter()
    if root.is_dir():
        found = list(_files(root, passed_over))
    elif root.is_file() and zipfile.is_zipfile(root):
        found = _members(root, key, passed_over)
    else:
        what = "is neither a folder nor a zip" if root.exists() else "no such folder, and no zip either"
        hint = "; dataset=array takes NumPy files" if root.suffix in ARRAYS else ""
        raise DataError(f"{key}={root}: {what}{hint}")
    listing = Listing(sorted(found, key=lambda entry: entry.name), passed_over)
    if not found:
        rest = f"; passed over: {listing.rest()}" if listing.rest() else ""
        raise DataError(f"{key}={root}: has no pictures ({', '.join(SUFFIXES)}){rest}")
    return listing


def at(root: Path, key: str) -> Listing:
    """The picture itself, whatever its suffix, or what is `below` a folder or zip."""
    if root.is_file() and not root.name.lower().endswith(".zip"):
        status = root.stat()
        return Listing([Entry(root.name, str(root), None, status.st_size, status.st_mtime_ns)], Counter())
    return below(root, key)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _kind(name: str) -> str | None:
    """None for a picture, else the name under which it is counted."""
    if name.lower().endswith(SUFFIXES):
        return None
    return os.path.splitext(name)[1].lower() or "without a suffix"  # noqa: PTH122


def _files(root: Path, passed_over: Counter[str]) -> Iterator[Entry]:
    """Folder by folder without recursion, however deep; links to folders come last, so that real names win."""
    # With plain strings: Path objects would take four fifths of the time that 200,000 pictures take.
    waiting, links = [("", str(root))], deque[tuple[str, str]]()
    # A link to a folder that the root lies in would lead back to the root.
    read = {_identity(folder) for folder in root.resolve().parents}
    while waiting or links:
        name, folder = waiting.pop() if waiting else links.popleft()
        try:
            identity = _identity(folder)
            if identity in read:
                passed_over[READ_ALREADY] += 1
                continue
            read.add(identity)
            with os.scandir(folder) as found:
                items = list(found)
        except OSError as error:
            yield Entry(name, folder, problem=f"is a folder that cannot be listed ({error.strerror})")
            continue
        more = []
        for item in items:
            if _is_hidden(item.name):
                passed_over[HIDDEN] += 1
                continue
            if _leads_to_folder(item):
                (more if item.is_symlink() else waiting).append((f"{name}{item.name}/", item.path))
            elif kind := _kind(item.name):
                passed_over[kind] += 1
            else:
                try:
                    status = item.stat()
                    size, changed = status.st_size, status.st_mtime_ns
                except OSError:  # such as a link that leads nowhere; reading it says so
                    size, changed = 0, 0
                yield Entry(name + item.name, item.path, None, size, changed)
        links.extend(sorted(more))


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _leads_to_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself
        return False


def _members(root: Path, key: str, passed_over: Counter[str]) -> list[Entry]:
    """Of several members that would be one file if the zip were unpacked, the last counts, as it would then."""
    found: dict[str, list[Entry]] = {}
    try:
        archive = zipfile.ZipFile(root)  # open as long as an entry of it is
        for member in archive.infolist():
            name = member.filename
            if member.create_system == 0 and "/" not in name:  # Windows' own programs wrote these once
                name = name.replace("\\", "/")
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if not parts or member.is_dir():
                continue
            problem = "has a name that leads out of the zip's folder" if ".." in parts else None
            if problem is None and any(map(_is_hidden, parts)):
                passed_over[HIDDEN] += 1
            elif kind := _kind(parts[-1]):
                passed_over[kind] += 1
            else:
                entry = Entry("/".join(parts), member, archive, member.file_size, member.CRC, problem)
                found.setdefault(entry.name, []).append(entry)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{key}={root}: cannot be read as a zip ({brief(error)})") from None
    entries = [entry for same in found.values() for entry in same]
    if sum(entry.path.compress_size for entry in entries) > root.stat().st_size:
        raise DataError(f"{key}={root}: cannot be read as a zip (its members lie over each other)")
    bombs = _bombs(entries)
    twice = "is in the zip once more, and only the last of that name can be kept"
    return [
        replace(entry, problem=entry.problem or bombs.get(id(entry)) or (twice if entry is not same[-1] else None))
        for same in found.values()
        for entry in same
    ]


def _bombs(entries: Sequence[Entry]) -> dict[int, str]:
    """Why members must not be unpacked that hold next to nothing in very many bytes; by the entry's `id`."""
    flat = [entry for entry in entries if is_flat(entry.size, entry.path.compress_size)]
    if sum(entry.size for entry in flat) <= FLAT:
        return {}
    large = [(entry, entry.size // max(1, entry.path.compress_size)) for entry in flat if entry.size > SMALL]
    end = "times its size; unpack the zip yourself if that is right"
    return {id(entry): f"would unpack to {memory.shown(entry.size)}, {times:,} {end}" for entry, times in large}
