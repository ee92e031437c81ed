"""Pictures that cannot be used: listed with their reasons, and a stop; or left out, and written down."""

import csv
import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from aectl import storage
from aectl.errors import DataError, brief, one_line

FILE = "bad_pictures.csv"

log = logging.getLogger(__name__)


def settle(bad: Sequence[tuple[str, str]], total: int, where: str, key: str, on_bad: str) -> None:
    """List the bad ones of `total` pictures, each by its name and reason, and go on only if `on_bad` is `skip`.

    `where` says whose they are, as the setting that named them; `key` is the setting that holds `on_bad`.

    Raises:
        DataError: `on_bad` is `stop`, or no picture is left.
    """
    if not bad:
        return
    for name, reason in bad:
        log.warning("%s", one_line(f"{name}: {reason}"))
    some_left = total > len(bad)
    if on_bad == "stop" or not some_left:
        name, reason = bad[0]
        first = brief(f"{name}: {reason}", 200)
        remedy = "mend or remove them" + (f", or set {key}=skip" if some_left else "")
        raise DataError(
            f"{where}: {len(bad)} of {total} pictures cannot be used, as listed above, the first is {first}; {remedy}"
        )


def beside(path: Path) -> Path:
    """Where the list goes that belongs to a file: its name before the list's own, as far as there is room."""
    return path.with_name(f"{os.fsencode(path.stem)[:200].decode(errors='ignore')}_{FILE}")


def write(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Write the list down, and say so; without any nothing is written."""
    if bad:
        storage.replace(path, listed(bad))
        tell(path, bad)


def listed(bad: Sequence[tuple[str, str]]) -> bytes:
    """The list as CSV: file, reason."""
    buffer = io.StringIO(newline="")
    # With the line ends of RFC 4180, for then every version of the module quotes a carriage return in a name.
    csv.writer(buffer).writerows([("file", "reason"), *bad])
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def tell(path: Path, bad: Sequence[tuple[str, str]]) -> None:
    """Say in one line that the list is there, where it is not empty."""
    if bad:
        log.warning("note: %d pictures are left out, as %s says", len(bad), path)
