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
from aectl.runs import older, receipts

OUTPUTS = Path("outputs")
RESULT = "result.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
EXPLORER = "explore.html"
LOCK = ".lock"
SPLIT = "split.json"  # which of people's own pictures are in which part
MAX_MANIFEST = 2**30  # bytes
FILES = ("model.safetensors", "config.json", "trainer.safetensors", "trainer.json")  # of a checkpoint
MANIFEST = "manifest.json"
PATIENCE = 1.0  # seconds that a start waits for the lock: somebody may be looking whether it is held

_NAME = re.compile(r"step-(\d{8,})")
_NUMBERED = re.compile(r"([0-9]{1,9})(?=_|\Z)")


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
    """The checkpoints below `folder`, newest first, verified or not; temporary ones are none."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if step_of(path) >= 0), key=step_of, reverse=True)


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
        return all((path / name).stat().st_size == files[name]["bytes"] for name in FILES)
    except (OSError, KeyError, TypeError):
        return False


def jobs_of(sweep: Path) -> list[Path]:
    """The folders of a sweep's jobs, in the order of their numbers: those that its jobs say are theirs."""
    found = receipts.of(sweep)
    if found is None:
        return [path for _, path in numbered(sweep)]
    folders = (receipts.folder_of(sweep, receipt) for receipt in found.values())
    return [folder for folder in folders if folder is not None and receipts.is_there(folder)]


def has_trained(sweep: Path) -> bool:
    """Whether some job of a sweep has a checkpoint."""
    try:
        return any(any(job.glob("checkpoints/step-*")) for job in jobs_of(sweep))
    except OSError:  # there is no such folder, or it cannot be read
        return False


def numbered(sweep: Path) -> list[tuple[int, Path]]:
    """The jobs of a sweep of 0.1.0, in order: the folders whose names up to an underscore are numbers."""
    named = ((_NUMBERED.match(path.name), path) for path in sweep.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match and path.is_dir())


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
    """
    import filelock  # 50 ms, which only those pay who train

    run_dir.mkdir(parents=True, exist_ok=True)
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
        return path.is_file() and not _can_be_locked(path)
    try:
        if not path.is_file():
            return False
        descriptor = os.open(path, os.O_RDONLY)
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
        parts = storage.parse_json(storage.read(path, MAX_MANIFEST))["parts"]
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
    for line in path.read_bytes().splitlines() if path.is_file() else []:
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
        return storage.parse_json(storage.read(path, storage.MAX_JSON))
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
        settings = yaml.safe_load(storage.read(run_dir / CONFIG, storage.MAX_JSON))
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return older.updated(settings) if isinstance(settings, dict) else {}
