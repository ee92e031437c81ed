"""The process's three streams, each of which may be closed, full, or a pipe that nobody reads.

Only the command itself changes them, before anything else happens: a program that calls us keeps its own.
"""

import contextlib
import faulthandler
import io
import os
import sys
import time
import warnings
from typing import TextIO

from aectl.errors import one_line
from aectl.terminal import say

POSIX = os.name == "posix"  # elsewhere a console is no file with a number, and stays what it is
STDIN, STDOUT, STDERR = range(3)
PAUSE = 0.01  # seconds between looks whether a pipe has room again


class Enduring(io.RawIOBase):
    """A stream that takes all that it is given; what cannot be written is dropped.

    Work of hours must not end since nobody reads of it any more. Whoever answers for the command asks at its end.

    Attributes:
        refused: the first error; None where everything was written.
    """

    def __init__(self, under: io.RawIOBase):
        self._under = under
        self.refused: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Write all of it, or note why not; how many bytes are settled."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                written = self._under.write(rest)
            except OSError as error:
                self.refused = self.refused or error
                break
            if written is None:  # a pipe that is full, and that somebody has told not to wait
                time.sleep(PAUSE)
            rest = rest[written or 0 :]
        return size

    def writable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor of what lies under it."""
        return self._under.fileno()

    def isatty(self) -> bool:
        """Whether somebody watches."""
        return self._under.isatty()


def settle() -> None:
    """Make the streams such that nothing ends where one of them fails, and files never get their numbers."""
    for number in (STDIN, STDOUT, STDERR):
        _open_if_closed(number)
    if sys.stdin is None:
        sys.stdin = sys.__stdin__ = open(STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _enduring(sys.stdout, STDOUT)
    sys.stderr = sys.__stderr__ = _enduring(sys.stderr, _ours_alone() if POSIX and not _wanted_raw() else STDERR)
    if faulthandler.is_enabled():
        faulthandler.enable(sys.stderr)
    if not _wanted_raw():
        warnings.showwarning = _warn


def _warn(message: Warning | str, *where: object, **more: object) -> None:
    """What a library warns of, in one line, without a line of its source."""
    say(f"aectl: note: {one_line(message)}", sys.stderr)


def _wanted_raw() -> bool:
    return os.environ.get("AECTL_DEBUG") == "1"


def _open_if_closed(number: int) -> None:
    """Else the next file that is opened would have this number, and get what is meant for the stream."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def _ours_alone() -> int:
    """A descriptor for what Python says on standard error.

    Descriptor 2 itself is for libraries and processes that write past Python, such as libtiff and joblib's tracker of
    resources: nobody can read what they mean, and errors of files are in our own lines.
    """
    ours, nothing = os.dup(STDERR), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, STDERR)
    os.close(nothing)
    return ours


def _enduring(stream: io.TextIOWrapper | None, number: int) -> TextIO:
    """The stream on that descriptor, as Python has made it but for what cannot be written, or be spelled."""
    if stream is None:  # it was closed
        return _text(Enduring(io.FileIO(number, "w", closefd=False)), "utf-8", line_buffering=False)
    encoding, by_lines, under = stream.encoding, stream.line_buffering, stream.detach()
    buffered = isinstance(under, io.BufferedWriter)  # but with `python -u`
    if buffered:
        under = under.detach()
    enduring = Enduring(io.FileIO(number, "w", closefd=False) if POSIX else under)
    return _text(enduring, encoding, line_buffering=by_lines, write_through=not buffered)


def _text(enduring: Enduring, encoding: str, *, line_buffering: bool, write_through: bool = False) -> TextIO:
    under = enduring if write_through else io.BufferedWriter(enduring)
    return io.TextIOWrapper(
        under, encoding, "backslashreplace", "\n" if POSIX else None, line_buffering, write_through,
    )  # fmt: skip


def refusal() -> OSError | None:
    """What standard output has refused by now, if anything: it is not tried again."""
    found = None
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        found = error
        with contextlib.suppress(OSError, ValueError):  # else Python would try once more at its end, and complain
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return found or (raw.refused if isinstance(raw, Enduring) else None)
