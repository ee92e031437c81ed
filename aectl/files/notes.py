"""The note of an unfinished command: which work it is, and what was announced before it was written."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aectl import plain, storage
from aectl.settings import typed

MAX_BYTES = 2**28  # bytes; a line of a picture has some 250


def digest(*parts: str | bytes) -> str:
    """64 hexadecimal digits that stand for all of the parts, of which text may be no UTF-8."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little") + data)
    return whole.hexdigest()


@dataclass(frozen=True)
class Announced:
    """A line of a note.

    Attributes:
        files: the SHA-256 of each file's bytes, by its name below the folder, with `/`.
        of: a digest of what they were made of.
        figures: what was measured of them.
    """

    files: Any
    of: str
    figures: list[float] | None = None


@dataclass
class Note:
    """What a note says.

    Attributes:
        work: the digests of its first line; None where there is no whole line.
        size: bytes of its whole lines.
        lines: the newest that announces a file, by the file's name.
        announced: the SHA-256s that each file may have.
    """

    work: dict[str, str] | None = None
    size: int = 0
    lines: dict[str, Announced] = field(default_factory=dict)
    announced: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path) -> "Note":
        """That of a file, up to a line that a kill or a power cut has torn off.

        Raises:
            ValueError: it is none of ours.
        """
        found = cls()
        if not os.path.lexists(path):
            return found
        data = storage.read(path, MAX_BYTES, links=False)
        found.size = data.rfind(b"\n") + 1
        for line in data[: found.size].splitlines():
            value = plain.from_json(line)
            if found.work is None:
                found.work = _texts(value, "the first line")
            else:
                found.add(typed.from_dict(Announced, value, "a line"))
        return found

    def add(self, line: Announced) -> None:
        """Take note of a line.

        Raises:
            ValueError: it has a name that is none below the folder.
        """
        for name, sha in _texts(line.files, "files").items():
            if not _is_below(name):
                raise ValueError(f"{name!r} is no name below the folder")
            self.lines[name] = line
            self.announced.setdefault(name, set()).add(sha)


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError(f"{where} must be texts by name")
    return value


def _is_below(name: str) -> bool:
    parts = name.replace(os.sep, "/").split("/")
    return "\0" not in name and not {"", ".", ".."} & set(parts) and not Path(name).anchor


def line_of(value: Mapping[str, Any]) -> bytes:
    """A line of a note, as it stands in the file."""
    return json.dumps(value, allow_nan=False).encode() + b"\n"
