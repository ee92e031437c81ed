"""The sha256 of every picture of a folder, read anew only where a name, a size or a time of change is new."""

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from aectl import leads, sealed, storage
from aectl.errors import DataError, brief
from aectl.files.listing import Entry
from aectl.machine import memory

SETTLED = 2 * 10**9  # ns; a file written later than this before it was read may change again within its time stamp

log = logging.getLogger(__name__)


def sha256(data: bytes) -> str:
    """64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def hashes(entries: Sequence[Entry], remembered: Path) -> list[str | None]:
    """The hash of each entry's bytes; None where they cannot be read.

    `remembered` is the file that keeps those of before. A file's size and time of change stand for its content, as
    with git and make; for a zip's member its size and checksum do.
    """
    known = _known(remembered)
    found: list[str | None] = [known.get((entry.name, entry.size, entry.changed)) for entry in entries]
    missing = [index for index, value in enumerate(found) if value is None]
    if not missing:
        return found
    now = time.time_ns()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(missing), desc="reading", unit="picture", disable=None, leave=False) as bar,
    ):
        for index, value in zip(missing, pool.map(lambda index: _hash(entries[index]), missing), strict=True):
            found[index] = value
            bar.update()
    settled = [
        [entry.name, entry.size, entry.changed, value]
        for entry, value in zip(entries, found, strict=True)
        if value is not None and (entry.archive is not None or now - entry.changed > SETTLED)
    ]
    leads.refuse_odd(remembered.parent)
    remembered.parent.mkdir(parents=True, exist_ok=True)
    storage.replace(remembered, sealed.seal({"files": settled}))
    return found


def _hash(entry: Entry) -> str | None:
    try:
        with memory.FILES.taken(entry.weight, lambda: entry.name):
            return sha256(entry.read())
    except DataError:
        return None  # decoding will say why


def _known(remembered: Path) -> dict[tuple[str, int, int], str]:
    if not os.path.lexists(remembered):
        return {}
    try:
        rows = sealed.unseal(storage.read(remembered, sealed.LIMITS.size))["files"]
        if not all(list(map(type, row)) == [str, int, int, str] for row in rows):
            raise ValueError("has a row that is none")
        return {(name, size, changed): value for name, size, changed, value in rows}
    except (ValueError, TypeError, KeyError) as error:
        log.warning("%s: damaged (%s); every picture is read again", remembered, brief(error))
        storage.remove(remembered)
        return {}
