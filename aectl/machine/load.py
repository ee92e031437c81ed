"""How much of the processor others take: other processes, and on a rented machine other machines. No torch."""

import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Moment:
    """The clock, and how long this process's cores have been idle and it has computed, all in seconds."""

    at: float
    idle: float
    own: float


def cores() -> list[int]:
    """The numbers of the cores that this process may run on."""
    process = psutil.Process()
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(psutil.cpu_count() or 1))


def now() -> Moment:
    """The present moment; it takes some ten microseconds for each core."""
    times, ours = psutil.cpu_times(percpu=True), psutil.Process().cpu_times()
    # What waits for a disk (iowait) computes nothing; Linux alone tells it from idle.
    idle = sum(times[core].idle + getattr(times[core], "iowait", 0.0) for core in cores() if core < len(times))
    return Moment(time.perf_counter(), idle, ours.user + ours.system)


def now_if_after(since: Moment, seconds: float) -> Moment | None:
    """The present moment if so many seconds have passed, else None, at the cost of a look at the clock."""
    return now() if time.perf_counter() - since.at >= seconds else None


def others(since: Moment, until: Moment) -> float:
    """How many cores others took between two moments, on average."""
    elapsed = until.at - since.at
    if elapsed <= 0:  # clocks have stood still
        return 0.0
    return max(0.0, len(cores()) - (until.idle - since.idle + until.own - since.own) / elapsed)


BEGAN = now()  # who imports this before torch has, when torch is there, seen a second of what others take
