"""What has become of a run or a sweep, from its small files alone. No torch."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aectl.runs import finding, layout, locks, papers, receipts, schema


@dataclass(frozen=True)
class Summary:
    """A run or a sweep in a line.

    Attributes:
        state: as `state_of` has it; of a sweep how many of its jobs are done.
        best: the smallest validation loss, nats per image; None without validation.
        changed: when it got its newest checkpoint, in seconds since 1970.
        size: bytes on the disk.
        jobs: how many a sweep has; None of a run.
    """

    path: Path
    name: str
    state: str
    model: str
    data: str
    best: float | None
    changed: float
    size: int
    jobs: int | None = None


def all_of_them() -> list[Summary]:
    """Every run and every sweep below outputs/ of this folder, in no order."""
    return [*map(of_run, finding.runs().values()), *map(of_sweep, finding.sweeps().values())]


def of_run(run_dir: Path) -> Summary:
    """A run by itself, or the job of a sweep."""
    settings, result = papers.read_settings(run_dir), papers.outcome(run_dir)
    model, data = described(settings)
    return Summary(
        run_dir, finding.name_in(settings), state_of(run_dir, settings, result), model, data,
        _best(run_dir, result), finding.changed(run_dir), sum(_sizes(run_dir)),
    )  # fmt: skip


def of_sweep(sweep: Path) -> Summary:
    """A sweep: its jobs counted, what is true of all of them, the best of them."""
    jobs = [of_run(job) for job in finding.trained_in(sweep)]
    models, data = (list(dict.fromkeys(getattr(job, key) for job in jobs)) for key in ("model", "data"))
    found = [job.best for job in jobs if job.best is not None]
    done = sum(job.state == "done" for job in jobs)
    training = any(job.state.startswith("training") for job in jobs)
    said = (receipts.of(sweep) or {}).values()
    known = len(jobs) + sum(receipts.folder_of(sweep, one) is None for one in said)
    state = f"{'training, ' if training else ''}{done} of {known} done"
    return Summary(
        sweep, finding.name_of_sweep(sweep), state, _several(models), _several(data), min(found, default=None),
        finding.changed(sweep), sum(_sizes(sweep)), known,
    )  # fmt: skip


def state_of(run_dir: Path, settings: dict[str, Any], result: dict[str, Any]) -> str:
    """Training, done, stopped, diverged, failed, or damaged where no checkpoint has every file in its size.

    With the epoch where it has not ended.
    """
    checkpoints = layout.checkpoints_seen(run_dir)
    if locks.held(run_dir):
        return f"training {_epochs(run_dir, settings)}"
    if not checkpoints and result.get("status") == "failed":
        return "failed"  # before there was one
    if not any(map(papers.looks_whole, checkpoints)):
        return "damaged"
    if papers.diverged(result):
        return "diverged"
    known = {"completed": "done", "failed": "failed"}
    return known.get(result.get("status", "")) or f"stopped {_epochs(run_dir, settings)}"


def described(settings: dict[str, Any]) -> tuple[str, str]:
    """What the run is called by its model, and its data with their noise; as far as the settings can be read."""
    try:
        config = _by_names(settings)
        root = getattr(config.dataset, "root", None)
        words = [config.dataset.name, *([Path(root).name] if root else [])]
        words += [config.noise.name] if config.noise.name != "none" else []
        return ", ".join(schema.title_of(config)), " ".join(words)
    except (AttributeError, TypeError, ValueError):
        return "?", "?"


def _by_names(value: Any) -> Any:
    """Settings with their keys as attributes."""
    if not isinstance(value, dict):
        return value
    return SimpleNamespace(**{key: _by_names(one) for key, one in value.items()})


def _epochs(run_dir: Path, settings: dict[str, Any]) -> str:
    records = papers.epochs_seen(run_dir)
    done = records[-1].get("epoch", "?") if records else 0
    return f"{done}/{settings.get('epochs', '?')}"


def _best(run_dir: Path, result: dict[str, Any]) -> float | None:
    ended = result.get("status") == "completed"
    losses = [found.get("val/loss") for found in ([result] if ended else papers.epochs_seen(run_dir))]
    return min((loss for loss in losses if loss is not None), default=None)


def _several(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{len(words)} kinds"


def _sizes(folder: str | Path) -> Iterator[int]:
    """The bytes of each file below a folder; what training takes away in the meantime counts nothing."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
            else:
                yield entry.stat(follow_symlinks=False).st_size


def age(changed: float) -> str:
    """How long ago, in its largest unit: 40 s, 3 min, 2 h, 5 d."""
    seconds = max(0.0, time.time() - changed)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"
