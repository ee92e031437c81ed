"""A sweep's jobs as one table: the overrides that vary and the final metrics."""

import csv
import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULT = "result.json"
COLUMNS = (
    "train/loss",
    "val/loss",
    "val/recon",
    "val/kl",
    "val/elbo",
    "val/active_units",
    "best_epoch",
    "seconds",
)

log = logging.getLogger(__name__)


def record_failure(folder: Path, overrides: Sequence[str], message: str, exit_code: int) -> None:
    """Leave word in a job's folder that it failed and why."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {"status": "failed", "overrides": list(overrides), "error": message, "exit_code": exit_code}
    (folder / RESULT).write_text(json.dumps(result, indent=2) + "\n")


def _number_of(job: Path) -> int:
    """A job's number: its folder's name up to the first underscore."""
    return int(job.name.partition("_")[0])


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """The results of the jobs below `folder` in the order of their numbers; a job without one was interrupted."""
    jobs = []
    folders = [path for path in folder.iterdir() if path.is_dir() and path.name.partition("_")[0].isdigit()]
    for path in sorted(folders, key=_number_of):
        try:
            result = json.loads((path / RESULT).read_text())
        except (OSError, ValueError):
            result = {"status": "interrupted", "overrides": []}
        jobs.append({"job": str(_number_of(path)), **result})
    return jobs


def table(jobs: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: job, the overrides that differ between jobs, status, the metrics that some job has."""
    settings = [dict(item.split("=", 1) for item in job["overrides"] if "=" in item) for job in jobs]
    keys = list(dict.fromkeys(key for setting in settings for key in setting))
    varying = [key for key in keys if len({setting.get(key) for setting in settings}) > 1]
    metrics = [name for name in COLUMNS if any(job.get(name) is not None for job in jobs)]
    header = ["job", *varying, "status", *metrics]
    rows = []
    for job, setting in zip(jobs, settings, strict=True):
        figures = [_number(job.get(name)) for name in metrics]
        rows.append([job["job"], *(setting.get(key, "") for key in varying), job["status"], *figures])
    return header, rows


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its columns aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summarize(folder: Path, jobs: Sequence[dict[str, Any]]) -> None:
    """Print the table of the jobs of the sweep in `folder`; write it there as `summary.md` and `summary.csv`."""
    if not jobs:
        return
    header, rows = table(jobs)
    text = markdown(header, rows)
    (folder / "summary.md").write_text(text + "\n")
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    (folder / "summary.csv").write_text(buffer.getvalue())
    print(f"\n{text}\n")
    for job in jobs:
        if job["status"] == "failed":
            print(f"job {job['job']} failed: {job['error']}")
    print(f"sweep: {folder} (summary.md, summary.csv)")
