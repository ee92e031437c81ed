"""A run's folder: the names of its files, where it is found, and its lock."""

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from aectl import storage
from aectl.errors import CheckpointError, DataError, brief
from aectl.runs import checkpoint
from aectl.runs.checkpoint import Checkpoint

OUTPUTS = Path("outputs")
RESULT = "result.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
SPLIT = "split.json"  # which of people's own pictures are in which part
MAX_MANIFEST = 2**30  # bytes


def checkpoints_of(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / "checkpoints"


def locate(run: str) -> Path | None:
    """The run folder that `run` names: a run folder, a checkpoint folder, or `latest`; None where there is none.

    `latest` is the run below `outputs/train` or `outputs/multirun` with the newest checkpoint.
    """
    if run == "latest":
        found = [
            *OUTPUTS.glob("train/*/checkpoints/step-*"),
            *OUTPUTS.glob("multirun/*/*/checkpoints/step-*"),
        ]
        latest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        return latest.parent.parent if latest else None
    path = storage.expanded(run)
    if checkpoint.step_of(path) >= 0 and path.parent.name == "checkpoints":
        path = path.parent
    if path.name == "checkpoints":
        path = path.parent
    return path if path.is_dir() else None


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise CheckpointError(f"{run_dir}: another process is training this run; wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


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
    """The epochs recorded in a run's metrics.jsonl; a last line cut short by a crash is left out."""
    path = folder / METRICS
    records = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def newest(run_dir: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint of a run, and why newer ones were passed over."""
    if not checkpoints_of(run_dir).is_dir():
        raise CheckpointError(f"{run_dir}: is not a run folder, it has no checkpoints/; train one, or give another")
    return checkpoint.newest(checkpoints_of(run_dir))
