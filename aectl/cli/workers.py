"""Processes that each take the next piece of work until none is left, and end with this one.

One that dies takes with it the piece that it had, and no other: a new process goes on with the rest. What they print
goes nowhere, for there are several; their pieces have logs of their own. They are started with signals held back
until somebody is there who can answer them, and asked to stop through their lifelines, so that Ctrl-C, which the
terminal sends to all of them, is not followed by a second wish that would end them before they have saved.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from tqdm import tqdm

from aectl.cli import conduct
from aectl.cli.messages import explain
from aectl.errors import INTERRUPTED, OtherSweepError
from aectl.machine import lifelines, load

P = TypeVar("P")

HELD_BACK = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# What libraries ask for the number of their threads; each process has its share of the cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass
class Worker:
    """A process: where it gets its pieces and answers, and its lifeline's near end."""

    process: BaseProcess
    pieces: Connection
    lifeline: Connection

    def ask(self) -> None:
        """No more pieces, and the present one is to be left where it can be gone on with."""
        with contextlib.suppress(OSError):
            self.lifeline.send_bytes(b"stop")
        self.pieces.close()

    def close(self) -> None:
        """It has ended."""
        self.process.join()
        self.pieces.close()
        self.lifeline.close()


def work_through(work: Callable[[P], None], pieces: Sequence[P], number: int) -> None:
    """Call `work` with each piece, in `number` processes at a time.

    Raises:
        OtherSweepError: a piece has raised it; the others were asked to stop.
        Exception: what a piece has raised and nobody foresaw, once all others are done.
    """
    left, unforeseen = deque(pieces), None
    share = max(1, len(load.cores()) // number)
    workers: dict[Connection, Worker] = {}
    try:
        while left or workers:
            while left and len(workers) < number:
                with _held_back():
                    one = _start(share)
                    workers[one.pieces] = one
                _send(one, work)
                _give(one, left)
            for connection in wait(list(workers)):
                one = workers[connection]
                try:
                    answer = connection.recv()
                except (EOFError, OSError):  # it has ended: there was no more, or it was killed
                    workers.pop(connection).close()
                    continue
                if isinstance(answer, OtherSweepError):
                    raise answer
                unforeseen = unforeseen or answer
                _give(one, left)
    finally:
        _end(list(workers.values()))
    if unforeseen is not None:
        raise unforeseen


def _give(worker: Worker, left: deque[Any]) -> None:
    """The next piece, or the end of them."""
    _send(worker, left.popleft() if left else None)


def _send(worker: Worker, what: Any) -> None:
    with contextlib.suppress(OSError):  # it has just died, which is seen when its answer is waited for
        worker.pieces.send(what)


def _end(workers: Sequence[Worker]) -> None:
    """Have them save and end; a second signal does not wait for that."""
    try:
        for one in workers:
            one.ask()
        for one in workers:
            one.process.join()
    finally:
        for one in workers:
            one.process.kill()
            one.close()


def _start(share: int) -> Worker:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    near_line, far_line = context.Pipe()
    process = context.Process(target=_serve, args=(far, far_line, share), daemon=True)
    process.start()
    far.close()
    far_line.close()
    return Worker(process, near, near_line)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """A process that is started in the block gets its signals once it asks for them; so does this one at its end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its own start would let them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pieces: Connection, line: Connection, share: int) -> None:
    """What a process does from its beginning to its end."""
    conduct.be_quiet(libraries=True)
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system's, and a kill would be told of that
    for name in THREADS:
        os.environ.setdefault(name, str(share))  # before torch is imported
    lifelines.hold(line)
    conduct.prepare()
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        work = pieces.recv()
        while (piece := pieces.recv()) is not None:
            pieces.send(_unforeseen(work, piece))
    except (EOFError, OSError):  # nobody is there any more
        pass
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _unforeseen(work: Callable[[P], None], piece: P) -> Exception | None:
    """What a piece raises, with the lines where it did if that is a defect of ours; None where it is done."""
    try:
        work(piece)
    except Exception as error:
        if explain(error)[1] is not None:
            return error
        return RuntimeError(f"{error!r} in another process:\n{traceback.format_exc()}")
    return None
