"""What a user can be told: one class for each exit code, and the number of each.

Every message is one line that names what, where and what to do; `aectl.cli.main` prints it and exits.
"""


class UserError(ValueError):
    """A mistake that the user can mend; its text is the whole message, `exit_code` the process's status."""

    exit_code = 2


class ConfigError(UserError):
    """A command line or configuration that cannot be used (exit code 2)."""


class OtherSweepError(ConfigError):
    """The folder of a sweep to go on with holds the jobs of another command."""


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


def one_line(text: object) -> str:
    """`text` with white space folded into single spaces and what a terminal cannot show, or obeys, spelled out."""
    folded = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in folded)


def brief(text: object, limit: int = 100) -> str:
    """`one_line` cut at `limit` letters, for texts that are not ours."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 3].rstrip() + "..."
