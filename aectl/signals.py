"""SIGINT, SIGTERM and SIGHUP: a wish to stop, heard at the next safe point."""

import signal
import threading
from types import FrameType
from typing import Any, NoReturn

from aectl.errors import TERMINATED

TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def exit_on_termination() -> None:
    """Let SIGTERM and SIGHUP unwind the program, as SIGINT does, instead of ending it on the spot.

    A signal that is being ignored, as `nohup` does with SIGHUP, stays ignored.
    """
    if threading.current_thread() is threading.main_thread():
        for number in TERMINATING:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _terminate)


class StopRequest:
    """While entered, notes the first of the signals in `signal`; a second one ends the process at once."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            for number in (signal.SIGINT, *TERMINATING):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.stop()
        self.signal = number

    def stop(self) -> NoReturn:
        """End the process the way the noted signal asks for, once everything is safe."""
        if self.signal in TERMINATING:
            raise SystemExit(TERMINATED)
        raise KeyboardInterrupt
