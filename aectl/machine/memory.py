"""How much memory this process may still take, budgets of it that threads share, and what says that there was none.

No torch: pictures and files ask here before they are decoded.
"""

import contextlib
import errno
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from aectl.errors import ConfigError, MemoryShortError

SHORT = 2**29  # bytes; with less than that free, memory that is refused says nothing of what it was wanted for
CGROUPS = Path("/sys/fs/cgroup")

# What libraries say, beside a MemoryError of their own, when the system gives them no memory, or no thread, which
# needs some.
REFUSED = re.compile(
    r"not enough memory|out of memory|allocate memory|bad_alloc|failed to map segment|start new thread", re.IGNORECASE
)
# How much was wanted: as torch, CUDA, Arrow and NumPy have it.
WANTED = re.compile(
    r"(?:tried to allocate|malloc of size|realloc.* to size|unable to allocate)\s+([\d.]+)\s*([KMGTPE]iB|bytes?)?",
    re.IGNORECASE,
)
UNITS = {unit: 1024**power for power, unit in enumerate(("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))}


def shown(size: float) -> str:
    """Bytes in words: 512 MiB, 4.8 GiB."""
    unit = next((unit for unit in ("KiB", "MiB", "GiB", "TiB") if size < 1024 * UNITS[unit]), "PiB")
    return f"{size / UNITS[unit]:.3g} {unit}"


def free() -> int:
    """Bytes that this process may still take: the least that the system, its cgroups and its own limits leave it."""
    import psutil  # here, for what names this module without asking anything: it takes 20 ms

    return max(0, min([psutil.virtual_memory().available, *_of_cgroups(), *_of_limits()]))


def _of_limits() -> Iterator[int]:
    """What `ulimit` leaves of addresses (-v) and of data (-d), where the system has such limits."""
    import psutil

    process = psutil.Process()
    if not hasattr(process, "rlimit"):
        return
    used = process.memory_info()
    for limit, taken in ((psutil.RLIMIT_AS, used.vms), (psutil.RLIMIT_DATA, getattr(used, "data", 0))):
        most, _ = process.rlimit(limit)
        if most != psutil.RLIM_INFINITY:
            yield most - taken


def _of_cgroups(mounts: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What the cgroup of this process leaves, and each around it, in both versions of their files.

    In a container its path may be that outside; then what is mounted is its own.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            root, names = mounts, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            root = mounts / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        place = root / path.lstrip("/")
        place = place if place.is_dir() else root
        for folder in (place, *place.parents):
            if not folder.is_relative_to(root):
                break
            left = _left_in(folder, *names)
            if left is not None:
                yield left


def _left_in(folder: Path, limit: str, usage: str, reclaimed: str) -> int | None:
    """What one cgroup leaves; files that the system only keeps at hand count as free. None where it has no limit."""
    try:
        most = (folder / limit).read_text(encoding="utf-8").strip()
        if not most.isdigit():  # max
            return None
        used = int((folder / usage).read_text(encoding="utf-8"))
        stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
        return int(most) - used + int(stat.get(reclaimed, 0))
    except (OSError, ValueError):
        return None


# ------------------------------------------------------------------------------ before it is taken


class Budget:
    """Bytes that all threads of this process together may take for one purpose; who would take too much waits.

    They get them in the order in which they ask. Nobody waits who holds some already, so that none can wait for
    each other. What is larger than `total` gets its turn when nobody else holds any, if as much is free.

    Args:
        total: bytes; None: a quarter of what is free when they are first asked for.
    """

    def __init__(self, total: int | None = None):
        self._total = total
        self._taken = 0
        self._asking: deque[object] = deque()
        self._freed = threading.Condition()
        self._own = threading.local()

    @contextlib.contextmanager
    def taken(self, size: int, what: Callable[[], str] = lambda: "this") -> Iterator[None]:
        """`size` bytes for a block.

        Raises:
            MemoryShortError: more than is free; `what` is the subject of the message.
        """
        holds = getattr(self._own, "holds", 0)
        with self._freed:
            if self._total is None:
                self._total = free() // 4
            if not holds:
                self._wait(size)
            self._taken += size
        self._own.holds = holds + size
        try:
            if size > self._total:
                require(size, what)
            yield
        finally:
            self._own.holds = holds
            with self._freed:
                self._taken -= size
                self._freed.notify_all()

    def _wait(self, size: int) -> None:
        """Until it is our turn and there is room, the lock being held."""
        turn = object()
        self._asking.append(turn)
        try:
            self._freed.wait_for(
                lambda: self._asking[0] is turn and (self._taken + size <= self._total or not self._taken)
            )
        finally:
            self._asking.remove(turn)
            self._freed.notify_all()


# One order for all threads: the bytes of a file first, then what they are decoded to.
FILES, PICTURES = Budget(), Budget()


def require(size: int, what: Callable[[], str]) -> None:
    """Nothing where `size` bytes are free.

    Raises:
        MemoryShortError: they are not; `what` is the subject of the message, and may end with what to do.
    """
    there = free()
    if size > there:
        subject, _, instead = what().partition("; ")
        rest = f"; {instead}" if instead else "; close other programs, or use a machine with more"
        raise MemoryShortError(f"{subject} would take {shown(size)} of memory, and {shown(there)} are free{rest}")


def settle(setting: str, size: float, instead: str) -> None:
    """Refuse a setting for which there is not the memory, before any of it is taken.

    Args:
        setting: as it is typed, such as n=100000.
        size: bytes that it would take.
        instead: what to choose.

    Raises:
        ConfigError: so many are not free.
    """
    there = free()
    if size > there:
        raise ConfigError(f"{setting}: would take {shown(size)} of memory, and {shown(there)} are free; {instead}")


LEAST = 2**26  # bytes without which no command gets far
LIBRARIES = 2**28  # of addresses: what NumPy's and SciPy's linear algebra lay out when they are first used


def begin() -> None:
    """Before a command works: have what cannot be done without later, and refuse where that is not there.

    Where addresses are limited (`ulimit -v`), the linear algebra in NumPy and in SciPy either ends the process or
    waits for ever when there are none left for it. It takes what it needs when first used; so it is used here.

    Raises:
        MemoryShortError: there is too little.
    """
    import psutil

    process = psutil.Process()
    bounded = hasattr(process, "rlimit") and process.rlimit(psutil.RLIMIT_AS)[0] != psutil.RLIM_INFINITY
    require(LIBRARIES if bounded else LEAST, lambda: "a command of any kind")
    if bounded:
        import numpy as np
        import scipy.linalg

        square = np.eye(256)
        scipy.linalg.lu(square @ square)


# ------------------------------------------------------------------------------ where it was refused


def refused(error: BaseException) -> str | None:
    """What an error says of memory that the system, or the device, did not give, in words; None for any other."""
    text = str(error)
    number = error.errno if isinstance(error, OSError) else None  # the system's; Pillow's and FreeType's have none
    by_text = isinstance(error, RuntimeError | ImportError | SystemError | OSError) and number is None
    if not (isinstance(error, MemoryError) or number == errno.ENOMEM or (by_text and REFUSED.search(text))):
        return None
    found = WANTED.search(text)
    if found is None:
        return "memory was refused"
    size = float(found[1]) * UNITS.get(found[2] or "bytes", 1)
    return f"{shown(size)} of memory were refused"


def of_machine(error: BaseException) -> bool:
    """Whether memory was refused because there is little of it, and not because a damaged file asks for too much."""
    return isinstance(error, MemoryShortError) or (refused(error) is not None and free() < SHORT)


def let_go(error: BaseException) -> None:
    """Free what the functions held that an error has ended, so that there is memory to tell of it."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        _clear(one.__traceback__)
        one = one.__cause__ or one.__context__


def _clear(trace: TracebackType | None) -> None:
    while trace is not None:
        with contextlib.suppress(RuntimeError):  # it is still running
            trace.tb_frame.clear()
        trace = trace.tb_next
