"""How many threads compute: as many as have a core to themselves, looked at again while they do.

The threads of a step meet some hundred times in it, and spin while they wait for each other. One that shares its core
with another process makes all of them wait for the scheduler's next turn. The lecture's VAE at batch 32 on two cores,
in images/s: two threads 14,100 on an idle machine and 3,100 to 3,600 beside one busy process; one thread 11,400 in
both; two that sleep while they wait (OMP_WAIT_POLICY=passive) 7,200 in both. To spin for a shorter time
(GOMP_SPINCOUNT from 1,000 to 100,000) makes 9,900 to 14,500 on the idle machine, 6,300 to 1,500 beside the process.
"""

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import torch

from aectl.machine import load

T = TypeVar("T")

# Multiply-adds in a step that take as long as one more thread makes it wait; `worth` has what this rests on.
WAIT = 353_000
LOOK = 1.0  # seconds between looks
FREE_AGAIN = 3  # looks in a row that find a core free before a thread takes it
SHORTEST, LONGEST = 0.2, 10.0  # seconds before a choice in which what others took says something about it

log = logging.getLogger(__name__)


@dataclass
class _Choice:
    """Of this process, where nobody gave the number: the most that are of use, and what the last looks found."""

    most: int
    since: load.Moment
    others: float = 0.0  # cores
    free: int = 0  # looks in a row that found room for more
    said: int = 0  # the number that was last told


_choice: _Choice | None = None


def compute_with(asked: int | None) -> None:
    """Compute with `asked` threads from now on, or with as many as torch would where cores are free for them."""
    global _choice
    torch_would = _of_torch()
    if asked is not None or torch_would == 1:
        keep(asked or 1)
        return
    since, now = _choice.since if _choice else load.BEGAN, load.now()
    if not SHORTEST <= now.at - since.at <= LONGEST:
        since = now
        time.sleep(SHORTEST)
        now = load.now()
    _choice = _Choice(torch_would, now, load.others(since, now), said=torch_would)
    torch.set_num_threads(_room(_choice))


def keep(number: int) -> None:
    """Compute with that many threads, whatever others do."""
    global _choice
    _choice = None
    torch.set_num_threads(number)


def limit(products: int) -> None:
    """Let no more threads compute than are `worth` it for a step of that many multiply-adds; a given number stays."""
    if _choice is not None:
        _choice.most = min(_choice.most, worth(products))
        _choice.said = _choice.most
        torch.set_num_threads(_room(_choice))


def worth(products: int) -> int:
    """How many threads make a step of that many multiply-adds fastest where all have cores: they wait for each other.

    On two cores a second thread loses 2 % at 430,000 and gains 6 % at 1.7 million, 13 % at 3.5 million. A step of x
    million takes 1 + 0.153·x/n + 0.054·(n − 1) on n threads: the first two of these give both numbers, and with them
    the third. So the n-th thread gains where x > 0.353·n·(n − 1). That the wait grows by as much with each thread is
    an assumption: more than two have not been measured.
    """
    return int((1 + math.sqrt(1 + 4 * products / WAIT)) / 2)


def look() -> None:
    """Between two batches: a thread fewer where another process computes, one more where it has ended; and say so.

    Cheap enough for every batch. The last bits of a sum depend on the number of threads.
    """
    if _choice is None:
        return
    if (now := load.now_if_after(_choice.since, LOOK)) is not None:
        _choice.others, _choice.since = load.others(_choice.since, now), now
        room, number = _room(_choice), torch.get_num_threads()
        _choice.free = _choice.free + 1 if room > number else 0
        if room < number or _choice.free == FREE_AGAIN:
            torch.set_num_threads(room)
            _choice.free = 0
    number = torch.get_num_threads()
    if number != _choice.said:
        again = " again" if number > _choice.said else ""
        log.info(
            "computing with %d thread%s%s: other processes take %.1f of %d cores",
            number, "" if number == 1 else "s", again, _choice.others, len(load.cores()),
        )  # fmt: skip
        _choice.said = number


def _room(choice: _Choice) -> int:
    """How many threads have a core each: half a core counts."""
    return max(1, min(choice.most, _allowed(), int(len(load.cores()) - choice.others + 0.5)))


@cache
def _of_torch() -> int:
    """What torch has chosen before anything of ours has: the cores, or what OMP_NUM_THREADS says."""
    return torch.get_num_threads()


@cache
def _allowed() -> int:
    """How many cores' time this process may take, also where a container's limit is below its cores."""
    from joblib import cpu_count

    return cpu_count()


def in_parallel(calls: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What `calls` return, in their order: as many run at a time as there may be threads, each with a single one.

    For calls of some hundred milliseconds on the CPU that need nothing of each other. Since none waits for another,
    there may be as many beside other processes; and their last bits do not depend on the number of threads.
    """
    global _choice
    before, choice = torch.get_num_threads(), _choice
    number = before if choice is None else min(choice.most, _allowed())
    coming: deque[Future[T]] = deque()
    _choice = None  # nobody looks meanwhile
    try:
        with single(), ThreadPoolExecutor(number, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for call in calls:
                coming.append(pool.submit(call))
                while len(running := [one for one in coming if not one.done()]) > number:  # and one that waits
                    wait(running, return_when=FIRST_COMPLETED)
                while coming and coming[0].done():
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
    finally:
        _choice = choice
        torch.set_num_threads(before)


@contextlib.contextmanager
def single() -> Iterator[None]:
    """One thread in the block, since the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
