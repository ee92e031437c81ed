"""A run's folder: the names of its files and checkpoints, what its small files say, and its lock. No torch."""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aectl import storage
from aectl.errors import CheckpointError, DataError, DivergedError, brief
from aectl.runs import older, seals

OUTPUTS = Path("outputs")
RESULT = "result.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
EXPLORER = "explore.html"
VALIDATION = "validation"  # the folder of its curves
LOCK = ".lock"
SPLIT = "split.json"  # which of people's own pictures are in which part
MAX_MANIFEST = 2**30  # bytes
FILES = ("model.safetensors", "config.json", "trainer.safetensors", "trainer.json")  # of a checkpoint
MANIFEST = "manifest.json"
PATIENCE = 1.0  # seconds that a start waits for the lock: somebody may be looking whether it is held

_NAME = re.compile(r"step-(\d{8,})")

# What commands make in their folders beside files that `storage` writes: folders, and files that grow in place.
FOLDERS = ("checkpoints", "figures", "images", "pictures", VALIDATION)


def _grows(name: str) -> bool:
    """Whether a file of this name is opened in its place, not written anew: the lock, and logs."""
    return name == LOCK or name.endswith(".log")


def _is_ours(name: str) -> bool:
    """Whether writers other than `storage` open something of this name in a command's folder.

    TensorBoard's projector, and the jobs of a sweep, have folders whose names begin with digits.
    """
    return _grows(name) or name in FOLDERS or name[:1].isdigit()


def refuse_leads(folder: Path) -> None:
    """Refuse to let a command, or a sweep, write into a folder that leads elsewhere; see `storage.refuse_leads`.

    Of the folder that people work in, or one around it, only what bears the names of ours is looked at.
    """
    around = Path.cwd().is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (links stay as they are named)
    storage.refuse_leads(folder, _grows, _is_ours if around else None)


def refuse_links(path: Path) -> None:
    """Refuse to read a run, or one of its checkpoints, that was not made here and has a link in it.

    That is, in the place of one of its files and folders.

    Raises:
        CheckpointError: names the link.
    """
    run_dir = run_of(path)
    if seals.any_in(run_dir):
        return
    shelf = checkpoints_of(run_dir)
    steps = [shelf] if shelf.is_symlink() else [shelf, *(one for one in _below(shelf) if step_of(one) >= 0)]
    files = [folder / name for folder in (path, *steps) if not folder.is_symlink() for name in (*FILES, MANIFEST)]
    own = [run_dir / name for name in (CONFIG, METRICS, RESULT, SPLIT, LOCK, seals.FILE)]
    link = next((one for one in (*own, *steps, *files) if one.is_symlink()), None)
    if link is not None:
        raise CheckpointError(
            f"{link}: is a link, and {run_dir} was not made here, so nothing is read through it; put a copy of what "
            "it leads to in its place"
        )


def _below(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def checkpoints_of(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / "checkpoints"


def run_of(path: Path) -> Path:
    """The run's folder, of that or of one of its checkpoints; whether it is there or not."""
    if step_of(path) >= 0 and path.parent.name == "checkpoints":
        path = path.parent
    return path.parent if path.name == "checkpoints" else path


def name_of(step: int) -> str:
    """The folder's name of the checkpoint after `step` optimizer steps."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name; -1 for what is none."""
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def listing(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, newest first, verified or not; temporary ones are none.

    Where links lead is looked at only in a run that was made here.
    """
    if not folder.is_dir() or (folder.is_symlink() and not seals.any_in(folder.parent)):
        return []
    found = [path for path in folder.iterdir() if step_of(path) >= 0]
    if any(path.is_symlink() for path in found) and not seals.any_in(folder.parent):
        found = [path for path in found if not path.is_symlink()]
    return sorted(found, key=step_of, reverse=True)


def checkpoints_seen(run_dir: Path) -> list[Path]:
    """`listing` of a run's checkpoints for those who only look: none where the folder cannot be read."""
    try:
        return listing(checkpoints_of(run_dir))
    except OSError:
        return []


def looks_whole(path: Path) -> bool:
    """Whether a checkpoint has every file in the size that its manifest says; their bytes are not read."""
    files = read_json(path / MANIFEST).get("files")
    if not isinstance(files, dict) or sorted(files) != sorted(FILES):
        return False
    try:
        return all((path / name).lstat().st_size == files[name]["bytes"] for name in FILES)
    except (OSError, KeyError, TypeError):
        return False


def number_of(job: Path) -> int:
    """A job's number in its sweep: its folder's name up to the first underscore; -1 for what is none."""
    number = job.name.partition("_")[0]
    return int(number) if number.isdecimal() else -1


def jobs_of(sweep: Path) -> list[Path]:
    """The folders of a sweep's jobs, in the order of their numbers; a link is none."""
    found = (path for path in sweep.iterdir() if number_of(path) >= 0 and path.is_dir() and not path.is_symlink())
    return sorted(found, key=number_of)


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
        StorageError: the folder has a link somewhere, or the like; see `refuse_leads`.
    """
    import filelock  # 50 ms, which only those pay who train

    run_dir.mkdir(parents=True, exist_ok=True)
    refuse_leads(run_dir)
    lock = filelock.FileLock(run_dir / LOCK)
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
    path = run_dir / LOCK
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


def read_manifest(run_dir: Path) -> dict[str, list[list[str]]] | None:
    """Which pictures the run has in which part, as `aectl.data.images.Split` has it; None for data sets with a name.

    Raises:
        DataError: the file is damaged.
    """
    path = run_dir / SPLIT
    if not path.is_file():
        return None
    try:
        parts = storage.parse_json(storage.read(path, MAX_MANIFEST, links=False))["parts"]
        if set(parts) != {"train", "val", "test"}:
            raise ValueError("has other parts than train, val and test")
        for part in parts.values():
            for row in part:
                texts = isinstance(row, list) and all(isinstance(one, str) for one in row)
                if not texts or len(row) not in (2, 4):
                    raise ValueError("has a name that is none")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: cannot be used ({brief(error)})") from None
    return parts


def plain(value: Any) -> Any:
    """`value` for JSON, which has no NaN and no infinities: those become null, in mappings and lists too."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs recorded in a run's metrics.jsonl, up to a line that is none, such as one cut short by a crash."""
    path = folder / METRICS
    records: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.is_file() and not path.is_symlink() else []:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not isinstance(record, dict):
            break
        records.append(record)
    return records


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file of ours; empty where it is missing, damaged or something else."""
    try:
        return storage.parse_json(storage.read(path, storage.MAX_JSON, links=False))
    except ValueError:
        return {}


def read_result(run_dir: Path) -> dict[str, Any]:
    """How the run ended, if it has: its result.json; empty where it has none that can be read."""
    found = read_json(run_dir / RESULT)
    return found if isinstance(found.get("status"), str) else {}


def outcome(run_dir: Path) -> dict[str, Any]:
    """`read_result` of a run that has saved nothing since; empty where it was gone on with."""
    result = read_result(run_dir)
    step, newest = result.get("step"), max(map(step_of, checkpoints_seen(run_dir)), default=0)
    return {} if isinstance(step, int) and step < newest else result


def diverged(result: dict[str, Any]) -> bool:
    """Whether a run's result says that its numbers were not finite; as job of a sweep 0.1.0 called that failed."""
    return result.get("status") == "diverged" or result.get("exit_code") == DivergedError.exit_code


def read_settings(run_dir: Path) -> dict[str, Any]:
    """The run's configuration as plain data, as its newest checkpoint has it; empty where none can be read.

    Without a checkpoint it is that of config.yaml, which a run that is gone on with does not write again.
    """
    for path in checkpoints_seen(run_dir):
        if isinstance(settings := read_json(path / "config.json").get("train"), dict):
            return older.updated(settings)
    import yaml

    try:
        settings = yaml.safe_load(storage.read(run_dir / CONFIG, storage.MAX_JSON, links=False))
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return older.updated(settings) if isinstance(settings, dict) else {}
