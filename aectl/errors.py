"""What a user can be told: one class for each exit code, and the number of each.

Every message is one line that names what, where and what to do; `aectl.cli.main` prints it and exits.
"""

import re


class UserError(ValueError):
    """A mistake that the user can mend; its text is the whole message, `exit_code` the process's status."""

    exit_code = 2


class ConfigError(UserError):
    """A command line or configuration that cannot be used (exit code 2)."""


class OtherSweepError(ConfigError):
    """The folder of a sweep to go on with holds the jobs of another command."""


class TakenError(ConfigError):
    """The folder that a sweep's job was given is another job's, or no place for it."""


class DataError(UserError):
    """Images that are missing, unreadable or unfit (exit code 3)."""

    exit_code = 3


class ScaleError(UserError):
    """Nothing says what is white in an input's pictures (exit code 3); it bears on all, so none is just left out."""

    exit_code = 3


class CheckpointError(UserError):
    """A run or checkpoint that is missing, damaged or does not fit (exit code 4)."""

    exit_code = 4


class DivergedError(UserError):
    """Training met a number that is not finite (exit code 5)."""

    exit_code = 5


class StorageError(UserError):
    """The disk is full, read-only or otherwise refuses (exit code 6)."""

    exit_code = 6


class DeviceError(UserError):
    """The requested device is not there, or has not what it takes (exit code 7)."""

    exit_code = 7


class MemoryShortError(DeviceError):
    """There is less memory than is needed (exit code 7); it is the machine that lacks it, and no file is to blame."""


INTERRUPTED = 130
TERMINATED = 143


def counted(number: int, what: str) -> str:
    """A number of things in words: 1 picture, 2 pictures."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# Letters that count as printable and show nothing, so that two names may look alike: fillers and joiners.
INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0").union(
    map(chr, range(0xE0100, 0xE01F0))
)


def spelled_out(text: object) -> str:
    """`text` with what a terminal obeys, or shows nothing of, spelled out, all but new lines and tabs.

    That is control characters, marks of direction, invisible letters, and bytes of names that are no UTF-8.
    """
    text = str(text)
    if text.isprintable() and INVISIBLE.isdisjoint(text):  # at once, for nearly all
        return text
    return "".join(
        letter if letter in "\n\t" or (letter.isprintable() and letter not in INVISIBLE) else ascii(letter)[1:-1]
        for letter in text
    )


_OBJECT = re.compile(r"<(?:[\w.]*\.)?(\w+)(?: object)? at 0x[0-9a-fA-F]+>")


def one_line(text: object) -> str:
    """`spelled_out`, with white space folded into single spaces, and no address of an object, which says nothing."""
    return spelled_out(_OBJECT.sub(_kind, " ".join(str(text).split())))


def _kind(found: re.Match[str]) -> str:
    return "the file" if found[1] in ("BytesIO", "BufferedReader", "FileIO") else f"<{found[1]}>"


def brief(text: object, limit: int = 100) -> str:
    """`one_line` cut at `limit` letters, for texts that are not ours."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."
