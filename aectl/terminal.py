"""What goes to a screen or a log, without what a terminal would obey: names in it are other people's."""

import logging
import sys
from collections.abc import Iterable
from typing import TextIO

from aectl.errors import spelled_out


def say(text: object, file: TextIO | None = None) -> None:
    """Print a line, or several, on `file`; None: on standard output."""
    print(spelled_out(text), file=sys.stdout if file is None else file, flush=True)


class Record(logging.LogRecord):
    """A line of the log, whoever wrote it, and whatever stands in its arguments."""

    def getMessage(self) -> str:  # noqa: N802 (the library's name)
        """The message with its arguments."""
        return spelled_out(super().getMessage())


class Plain(logging.Formatter):
    """Lines of a log for a program that has its own kind of records."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, plain."""
        return spelled_out(super().format(record))


def log_plainly() -> None:
    """Let all lines that this process logs be plain from now on."""
    logging.setLogRecordFactory(Record)


class LogFile(logging.FileHandler):
    """A log file that takes all it is given; what the disk refuses is noted, for whoever answers for the command.

    Attributes:
        refused: the first error; None where all was written.
    """

    def __init__(self, path: str):
        self.refused: OSError | None = None
        super().__init__(path, encoding="utf-8", delay=True)  # a command that fails at once leaves no empty log

    @classmethod
    def instead_of(cls, handler: logging.Handler) -> logging.Handler:
        """One of these in the place of a plain one that has not begun; every other handler as it is."""
        if type(handler) is not logging.FileHandler:
            return handler
        found = cls(handler.baseFilename)
        found.setFormatter(handler.formatter)
        found.setLevel(handler.level)
        handler.close()
        return found

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or note why not, also where the file cannot be opened any more."""
        try:
            super().emit(record)
        except OSError as error:
            self._note(error)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        """Note what kept a line from being written."""
        error = sys.exc_info()[1]
        self._note(error) if isinstance(error, OSError) else super().handleError(record)

    def flush(self) -> None:
        """Write what is pending, or note why not."""
        try:
            super().flush()
        except OSError as error:
            self._note(error)

    def close(self) -> None:
        """Close the file, or note why not all of it is there; another line opens it again."""
        try:
            super().close()
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self.refused = self.refused or OSError(error.errno, error.strerror, self.baseFilename)


def finish(logs: Iterable[logging.Handler]) -> None:
    """Close log files at the end of what they are about.

    Raises:
        OSError: one of them is not whole; it names the file.
    """
    for one in logs:
        one.close()
        if isinstance(one, LogFile) and one.refused is not None:
            raise one.refused
