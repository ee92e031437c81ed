"""Processes that end with the one that started them, however that has ended, by SIGKILL too.

A process of ours holds the far end of a pipe, its lifeline, whose near end its parent keeps and hands to nobody else:
where the parent is gone, the system closes it. One that somebody else's launcher has started has no such pipe; it
looks for the process that the sweep began in, or torchrun's. Either asks the training to stop, as SIGTERM does: the
step is finished, the state is saved, the exit code is 143. Where that takes longer than `GRACE`, nobody waits for it:
it ends at once, and has lost what a killed run loses.
"""

import contextlib
import os
import signal
import threading
import time
from multiprocessing.connection import Connection

import psutil

from aectl import signals
from aectl.errors import TERMINATED

GRACE = 5.0  # seconds in which an orphan may finish its step and save
LOOKS = 0.5  # seconds between looks

_held = threading.Event()  # this process has a lifeline


def hold(line: Connection) -> None:
    """End with whoever holds the near end of `line`, or stop when something comes from there."""
    _held.set()
    threading.Thread(target=_listen, args=(line,), daemon=True, name="lifeline").start()


def follow(process: int) -> None:
    """End with the process of this number, if this one descends from it.

    A queue's processes, such as SLURM's, do not: they are its to end.
    """
    if _held.is_set():
        return
    found = next((one for one in psutil.Process().parents() if one.pid == process), None)
    if found is not None:
        _held.set()
        threading.Thread(target=_watch, args=(found,), daemon=True, name="lifeline").start()


def _listen(line: Connection) -> None:
    try:
        while True:
            line.recv_bytes()
            signals.ask(signal.SIGTERM)
    except (EOFError, OSError):
        _end()


def _watch(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(LOOKS)
    _end()


def _end() -> None:
    signals.ask(signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(TERMINATED)
