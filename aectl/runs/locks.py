"""Who trains a run: a lock in its folder, which goes with the process that holds it. No torch."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from aectl import storage
from aectl.errors import CheckpointError
from aectl.runs import layout

PATIENCE = 1.0  # seconds that a start waits for the lock: somebody may be looking whether it is held


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
        StorageError: the folder has a link somewhere, or the like; see `refuse_leads`.
    """
    import filelock  # 50 ms, which only those pay who train

    run_dir.mkdir(parents=True, exist_ok=True)
    layout.refuse_leads(run_dir)
    lock = filelock.FileLock(run_dir / layout.LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise CheckpointError(f"{run_dir}: another process is training this run; wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def held(run_dir: Path) -> bool:
    """Whether a process holds the run, hence trains it; nothing is made or changed by looking.

    The look is a lock of its own, shared with others who look, for some microseconds: `locked` waits for so long.
    """
    path = run_dir / layout.LOCK
    try:
        import fcntl
    except ImportError:  # on Windows
        return path.is_file() and not path.is_symlink() and not _can_be_locked(path)
    try:
        if not path.is_file() or path.is_symlink():
            return False
        descriptor = os.open(path, os.O_RDONLY | storage.PLAIN)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second on some network file systems
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)  # and with it the lock goes
    return False


def _can_be_locked(path: Path) -> bool:
    import filelock

    lock = filelock.FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return True
    except (filelock.Timeout, OSError):
        return False
