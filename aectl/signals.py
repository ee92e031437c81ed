"""SIGINT, SIGTERM and SIGHUP: a wish to stop, heard at the next safe point."""

import _thread
import signal
import threading
from types import FrameType
from typing import Any, NoReturn

from aectl.errors import TERMINATED

TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


AGAIN = 0.02  # seconds after which a signal that met an import knocks again


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


_met: list[int] = []  # the signals that have unwound the program
_wished: list[int] = []  # what `ask` was called with
_listening: list["StopRequest"] = []  # that are entered


def _unwind(number: int, frame: FrameType | None) -> None:
    """Raise what ends the program, but not within an import.

    Whoever tries an import may pass over an exception there, as torch does with NumPy's: the signal would be lost,
    and half a module would stand where others look for a whole one.
    """
    if _importing(frame):
        again = threading.Timer(AGAIN, _thread.interrupt_main, [number])
        again.daemon = True
        again.start()
    else:
        _met.append(number)
        _end(number)


def heed() -> None:
    """End the program where a signal has begun to unwind it and somebody on its way passed over that.

    Hydra's parser and OmegaConf's copies do, or make another error of it.
    """
    for number in (*_met, *_wished):
        _end(number)


def ask(number: int) -> None:
    """Wish to stop as by the signal `number`, from another thread; once it has been asked for, nothing more.

    A second signal ends the program at once; a wish beside a signal, in either order, is the same wish.
    """
    if _met or _wished or any(one.signal is not None for one in _listening):
        return
    _wished.append(number)
    if _listening:
        return
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)


def _end(number: int) -> NoReturn:
    if number in TERMINATING:
        raise SystemExit(TERMINATED)
    raise KeyboardInterrupt


def unwind_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the program as SIGINT does, instead of ending it on the spot.

    A signal that is being ignored, as `nohup` does with SIGHUP, stays ignored.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *TERMINATING):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, _unwind)


def leave_alone() -> None:
    """Let no signal change how the program ends, now that all is done: it takes half a second to leave."""
    for number in (signal.SIGINT, *TERMINATING):
        signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """While entered, notes the first of the signals, or what `ask` asks; a second signal ends the process at once."""

    def __init__(self) -> None:
        self._noted: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def signal(self) -> int | None:
        """What asks to stop; None for nothing."""
        return self._noted if self._noted is not None else next(iter(_wished), None)

    def __enter__(self) -> "StopRequest":
        heed()
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            for number in (signal.SIGINT, *TERMINATING):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
            _listening.append(self)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self in _listening:
            _listening.remove(self)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._noted is not None:
            self.stop()
        self._noted = number

    def stop(self) -> NoReturn:
        """End the process the way the noted signal asks for, once everything is safe."""
        _end(self.signal)
