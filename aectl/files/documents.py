"""Small files that anybody may have written: what stands in them, as plain data within limits."""

from pathlib import Path
from typing import Any

from aectl import plain, storage
from aectl.plain import SMALL, Limits

READERS = {".json": plain.from_json, ".yaml": plain.from_yaml}


def plain_of(path: Path, limits: Limits = SMALL) -> dict[str, Any]:
    """What stands in a JSON or YAML file, by the end of its name.

    Raises:
        ValueError: it is missing, damaged, something else, or beyond the limits; says which.
    """
    return READERS[path.suffix](storage.read(path, limits.size, links=False), limits)


def lines_of(path: Path, limits: Limits) -> list[bytes]:
    """The lines of a file, without the line ends; the last one is empty unless it was cut short.

    Raises:
        ValueError: it is missing, no file or unreadable, or longer than the limit.
    """
    return storage.read(path, limits.size, links=False).split(b"\n")
