"""What the small files of a run say: how it went and ended, its settings, its epochs, its pictures. No torch."""

import contextlib
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from aectl import storage
from aectl.errors import CheckpointError, DataError, DivergedError, brief
from aectl.files import documents
from aectl.plain import LINE, SMALL, from_json
from aectl.runs import layout, older, records
from aectl.runs.layout import CONFIG, FILES, MANIFEST, METRICS, RESULT, SPLIT

T = TypeVar("T")


def looks_whole(path: Path) -> bool:
    """Whether a checkpoint has every file in the size that its manifest says; their bytes are not read."""
    files = _seen(path / MANIFEST).get("files")
    if not isinstance(files, dict) or sorted(files) != sorted(FILES):
        return False
    try:
        return all((path / name).lstat().st_size == files[name]["bytes"] for name in FILES)
    except (OSError, KeyError, TypeError):
        return False


def read_manifest(run_dir: Path) -> dict[str, list[list[str]]] | None:
    """Which pictures the run has in which part, as `aectl.data.images.Split` has it; None for data sets with a name.

    Raises:
        DataError: the file is damaged.
    """
    return _of_split(run_dir, lambda path: records.parts(documents.plain_of(path, records.OF_SPLIT)))


def digest_of_split(run_dir: Path) -> str | None:
    """The SHA-256 of split.json, which tells whether two runs have the same; None where there is none.

    Raises:
        DataError: it cannot be read.
    """

    def digest(path: Path) -> str:
        return hashlib.sha256(storage.read(path, records.OF_SPLIT.size, links=False)).hexdigest()

    return _of_split(run_dir, digest)


def _of_split(run_dir: Path, read: Callable[[Path], T]) -> T | None:
    """What is read of a run's split.json, where it has one."""
    path = run_dir / SPLIT
    if not os.path.lexists(path):
        return None
    try:
        return read(path)
    except ValueError as error:
        raise DataError(
            f"{path}: cannot be used ({brief(error, 200)}); put back what the run saved there, or train it anew"
        ) from None


def without_nan(value: Any) -> Any:
    """`value` for JSON, which has no NaN and no infinities: those become null, in mappings and lists too."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs recorded in a run's metrics.jsonl, in their order, but for a last line that a crash has cut short.

    Raises:
        CheckpointError: a line is damaged, or something else.
    """
    path = folder / METRICS
    if not os.path.lexists(path):
        return []
    try:
        found = list(_epochs_of(path))
        records.check_order(found)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: cannot be used ({brief(error, 200)}); mend or remove that line, or train the run anew"
        ) from None
    return found


def epochs_seen(folder: Path) -> list[dict[str, Any]]:
    """`read_metrics` for those who only look: up to a line that is none; a record may have no count there."""
    found = []
    with contextlib.suppress(ValueError):
        for record in _epochs_of(folder / METRICS):
            found.append(record)
    return found


def _epochs_of(path: Path) -> Iterator[dict[str, Any]]:
    *lines, last = documents.lines_of(path, records.MAX_METRICS)
    for number, line in enumerate(lines if _cut_short(last) else [*lines, last], 1):
        try:
            yield records.epoch(from_json(line, LINE))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _cut_short(line: bytes) -> bool:
    """Whether a last line, which has no end, is no whole document; after a line end it has nothing at all."""
    try:
        from_json(line, LINE)
    except ValueError:
        return True
    return False


def _seen(path: Path) -> dict[str, Any]:
    """A JSON file of ours for those who only look; empty where it is missing, damaged or something else."""
    try:
        return documents.plain_of(path)
    except ValueError:
        return {}


def read_result(run_dir: Path) -> dict[str, Any]:
    """How the run ended, if it has: its result.json, checked; empty where it has none that can be read."""
    try:
        return records.result(documents.plain_of(run_dir / RESULT))
    except ValueError:
        return {}


def damage_of_result(run_dir: Path) -> str | None:
    """Why a result.json that is there cannot be read; None where it can, or is not there."""
    if not os.path.lexists(run_dir / RESULT):
        return None
    try:
        records.result(documents.plain_of(run_dir / RESULT))
    except ValueError as error:
        return brief(error, 200)
    return None


def outcome(run_dir: Path) -> dict[str, Any]:
    """`read_result` of a run that has saved nothing since; empty where it was gone on with."""
    result = read_result(run_dir)
    step, newest = result.get("step"), max(map(layout.step_of, layout.checkpoints_seen(run_dir)), default=0)
    return {} if isinstance(step, int) and step < newest else result


def diverged(result: dict[str, Any]) -> bool:
    """Whether a run's result says that its numbers were not finite; as job of a sweep 0.1.0 called that failed."""
    return result.get("status") == "diverged" or result.get("exit_code") == DivergedError.exit_code


def read_config(run_dir: Path) -> dict[str, Any]:
    """The settings in a run's config.yaml, plain data, under the names of today.

    Raises:
        ValueError: it is missing, damaged or something else.
    """
    return older.updated(documents.plain_of(run_dir / CONFIG))


def command_of(run_dir: Path) -> str:
    """The command line that a run was begun with, as its config.yaml has it; empty where none can be read."""
    try:
        first = documents.lines_of(run_dir / CONFIG, SMALL)[0].decode("utf-8")
    except ValueError:
        return ""
    return first.removeprefix("# ") if first.startswith("# ") else ""


def read_settings(run_dir: Path) -> dict[str, Any]:
    """The run's configuration as plain data, as its newest checkpoint has it; empty where none can be read.

    Without a checkpoint it is that of config.yaml, which a run that is gone on with does not write again.
    """
    for path in layout.checkpoints_seen(run_dir):
        if isinstance(settings := _seen(path / "config.json").get("train"), dict):
            return older.updated(settings)
    try:
        return read_config(run_dir)
    except ValueError:
        return {}
