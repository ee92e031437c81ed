"""What has become of a run or a sweep, from its small files alone. No torch."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aectl.runs import finding, layout, schema

STATES = ("training", "done", "stopped", "diverged", "failed", "damaged")


@dataclass(frozen=True)
class Summary:
    """A run or a sweep in a line.

    Attributes:
        call: what it is called by its folders, as `finding` has it.
        state: one of `STATES`, with the epoch where it has not ended; of a sweep how many of its jobs are done.
        best: the best validation objective, nats per image, or the last training loss without validation.
        changed: when, in seconds since 1970.
        size: bytes on the disk.
    """

    call: str
    path: Path
    name: str
    state: str
    model: str
    data: str
    best: float | None
    changed: float
    size: int


def all_of_them() -> list[Summary]:
    """Every run and every sweep below outputs/ of this folder, in no order."""
    return [*(of_run(*one) for one in finding.runs().items()), *(of_sweep(*one) for one in finding.sweeps().items())]


def of_run(call: str, run_dir: Path) -> Summary:
    """A run by itself, or the job of a sweep."""
    settings, result = layout.read_settings(run_dir), layout.read_result(run_dir)
    model, data = described(settings)
    return Summary(
        call, run_dir, finding.name_of_run(run_dir), state_of(run_dir, settings, result), model, data,
        _best(run_dir, result), finding.changed(run_dir), _size(run_dir),
    )  # fmt: skip


def of_sweep(call: str, sweep: Path) -> Summary:
    """A sweep: its jobs counted, what is true of all of them, the best of them."""
    jobs = [of_run(job.name, job) for job in finding.trained_in(sweep)]
    models, data = (list(dict.fromkeys(getattr(job, key) for job in jobs)) for key in ("model", "data"))
    found = [job.best for job in jobs if job.best is not None]
    done = sum(job.state == "done" for job in jobs)
    training = any(job.state.startswith("training") for job in jobs)
    state = f"{'training, ' if training else ''}{done} of {len(jobs)} done"
    changed = max((job.changed for job in jobs), default=finding.time_of(sweep))
    return Summary(
        call, sweep, finding.name_of_sweep(sweep), state, _several(models), _several(data), min(found, default=None),
        changed, _size(sweep),
    )  # fmt: skip


def state_of(run_dir: Path, settings: dict[str, Any], result: dict[str, Any]) -> str:
    """Training, done, stopped, diverged, failed or damaged: no checkpoint has every file in its size."""
    checkpoints = layout.listing(layout.checkpoints_of(run_dir))
    if layout.held(run_dir):
        return f"training {_epochs(run_dir, settings)}"
    if checkpoints and not any(map(layout.looks_whole, checkpoints)):
        return "damaged"
    if layout.diverged(result):
        return "diverged"
    if result.get("status") == "completed":
        return "done"
    if result.get("status") == "failed":
        return "failed"
    return f"stopped {_epochs(run_dir, settings)}"


def described(settings: dict[str, Any]) -> tuple[str, str]:
    """What the run is called by its model, and its data with their noise; as far as the settings can be read."""
    try:
        config = json.loads(json.dumps(settings), object_hook=lambda found: SimpleNamespace(**found))
        root = getattr(config.dataset, "root", None)
        words = [config.dataset.name, *([Path(root).name] if root else [])]
        words += [config.noise.name] if config.noise.name != "none" else []
        return ", ".join(schema.title_of(config)), " ".join(words)
    except (AttributeError, TypeError, ValueError):
        return "?", "?"


def _epochs(run_dir: Path, settings: dict[str, Any]) -> str:
    records = layout.read_metrics(run_dir)
    done = records[-1].get("epoch", 0) if records else 0
    return f"{done}/{settings.get('epochs', '?')}"


def _best(run_dir: Path, result: dict[str, Any]) -> float | None:
    if isinstance(result.get("objective"), float):
        return result["objective"]
    records = layout.read_metrics(run_dir)
    values = [record.get("val/loss", record.get("train/loss")) for record in records]
    return min((value for value in values if isinstance(value, float)), default=None)


def _several(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{len(words)} kinds"


def _size(folder: Path) -> int:
    return sum(size for size in _sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(parent) / name).lstat().st_size
            except OSError:  # gone in the meantime
                continue


def age(changed: float) -> str:
    """How long ago, in its largest unit: 40 s, 3 min, 2 h, 5 d."""
    seconds = max(0.0, time.time() - changed)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
