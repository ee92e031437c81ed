"""SIGINT and SIGTERM as a wish to stop at the next safe point."""

import signal
import threading
from types import FrameType
from typing import Any

from aectl.errors import TERMINATED


class StopRequest:
    """While entered, notes the first SIGINT or SIGTERM in `signal`; a second one ends the process at once."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self.stop()
        self.signal = number

    def stop(self) -> None:
        """End the process the way the noted signal asks for, once everything is safe."""
        if self.signal == signal.SIGTERM:
            raise SystemExit(TERMINATED)
        raise KeyboardInterrupt
