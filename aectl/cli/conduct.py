"""How a process of ours meets signals and refusals, and what it says on standard error. No torch."""

import logging
import os
import sys
import threading
import time
import warnings
from pathlib import Path

from aectl import signals, terminal, torchrun
from aectl.errors import ConfigError
from aectl.machine import memory
from aectl.terminal import say

GRACE = 2.0  # seconds in which the first process can say what is wrong; torchrun ends all once one has ended


def prepare() -> None:
    """How this process meets signals and what surrounds it, whether it is the command's own or a sweep's worker."""
    signals.unwind_on_signals()
    os.environ.pop("MPLBACKEND", None)  # no plot of ours is in a window, and matplotlib refuses a name it has not
    # matplotlib's word for memory that was refused while it was imported, which ends in a line of ours.
    warnings.filterwarnings("ignore", "Unable to import Axes3D")
    # Where the disk or the memory refuses, the main thread learns of it and says so in one line; the log and
    # TensorBoard's thread, who meet it too, would print tracebacks.
    logging.raiseExceptions = False
    terminal.log_plainly()
    threading.excepthook = _quiet_about_storage


def be_quiet(*, libraries: bool = False) -> None:
    """What this process prints goes nowhere from now on: lines of several would run through each other.

    With `libraries` so does what is written past Python, as libraries in C do.
    """
    if libraries:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(nowhere, descriptor)
        if nowhere > 2:
            os.close(nowhere)
    silence = Path(os.devnull).open("w", encoding="utf-8", errors="replace")  # noqa: SIM115 (as long as the process)
    sys.stdout = sys.stderr = silence


def follows() -> bool:
    """Whether torchrun has started this process beside a first one, which does all the writing."""
    return torchrun.my_rank() > 0


def tell(note: str) -> None:
    """Say something of the command line in one line; of several processes the first alone does."""
    if not follows():
        say(f"aectl: {note}", sys.stderr)


def complain(message: str, status: int) -> None:
    """Say in one line why the command failed; of several processes the first alone says what is wrong with it."""
    if not follows():
        say(f"aectl: {message}", sys.stderr)
    elif status == ConfigError.exit_code:
        time.sleep(GRACE)
    else:
        say(f"aectl (process {torchrun.my_rank()}): {message}", sys.stderr)


def _quiet_about_storage(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, OSError) and memory.refused(args.exc_value or args.exc_type()) is None:
        threading.__excepthook__(args)
