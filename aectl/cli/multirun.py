"""A sweep: its jobs, one after another or side by side, a bar while they run, and their table."""

import contextlib
import math
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aectl import shell, storage
from aectl.cli import composing, paths
from aectl.cli.job import Job
from aectl.cli.launching import hydra_main
from aectl.errors import ConfigError
from aectl.files import tables
from aectl.machine import load
from aectl.runs import finding
from aectl.runs.sweeps import read_jobs, table

LOOKS = 0.5  # seconds between looks at the folder of a sweep


def run_sweep(job: Job, overrides: list[str]) -> int:
    """All jobs of a sweep, then their table; returns the exit code of the first that failed, if any."""
    command = job.task.command
    folder = job.task.places["hydra.sweep.dir"] = _sweep_folder(job.task.places)
    overrides = [paths.for_hydra(shell.setting("hydra.sweep.dir", folder)), *overrides]
    workers, jobs = (1, 0) if command != "train" else _side_by_side(overrides)
    if workers > 1:
        overrides += [
            "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", "hydra.hydra_logging.root.level=WARNING",
        ]  # fmt: skip
    try:
        with watched(folder, jobs, workers) if workers > 1 else contextlib.nullcontext():
            # argparse wants the overrides in one piece; -m may stand anywhere.
            hydra_main(job, ["-m", *overrides])
    finally:
        found = read_jobs(folder) if folder.is_dir() else []
        if command == "train":
            summarize(folder, found, job.line)
    failed = [one for one in found if one["status"] == "failed"]
    if failed:
        which = f"{len(failed)} of {len(found)} jobs failed, the first" if len(found) > 1 else "its only job failed"
        print(f"aectl: {which}: {failed[0]['error']}", file=sys.stderr)
    return failed[0]["exit_code"] if failed else 0


def _sweep_folder(given: dict[str, Path]) -> Path:
    """Where a sweep lands: in the folder given, in that of the sweep to go on with, else in a new one."""
    resumed = given.get("sweep.resume")
    if resumed:
        resumed = finding.sweep(str(resumed), "sweep.resume", "checkpoints/step-*", ConfigError)
    return given.get("hydra.sweep.dir") or resumed or Path(composing.sweep_dir())


def _side_by_side(overrides: list[str]) -> tuple[int, int]:
    """How many jobs of a sweep to run next to each other, each on its share of the cores, and how many there are.

    A small model leaves a second core half idle. One after another go jobs on a GPU, which they would share, those of
    another sweeper or launcher, and where the number of threads is itself swept.
    """
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    on_gpu = given.get("device", "auto") != "cpu" and Path("/dev/nvidiactl").exists()
    threads = given.get("threads", "1")
    if {"hydra/launcher", "hydra/sweeper"} & given.keys() or on_gpu or not threads.isdigit():
        return 1, 0
    jobs = count_jobs(overrides)
    return max(1, min(jobs, len(load.cores()) // max(1, int(threads)))), jobs


def count_jobs(overrides: Sequence[str]) -> int:
    """How many jobs Hydra's own sweeper makes of these overrides: the product of their choices."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return math.prod(len(list(one.sweep_string_iterator())) for one in parsed if one.is_sweep_override())


@contextlib.contextmanager
def watched(folder: Path, total: int, workers: int) -> Iterator[None]:
    """While the block runs, a bar over `total` jobs in other processes, and a line for each that ends."""
    stop = threading.Event()
    ended = {job["job"] for job in read_jobs(folder) if job["status"] == "completed"} if folder.is_dir() else set()

    def watch() -> None:
        with tqdm(total=total, initial=len(ended), unit="job", disable=None, dynamic_ncols=True, leave=False) as bar:
            going = True
            while going:
                going = not stop.wait(LOOKS)  # and once more at the end
                for job in read_jobs(folder) if folder.is_dir() else []:
                    if job["status"] != "interrupted" and job["job"] not in ended:
                        ended.add(job["job"])
                        bar.update()
                        tqdm.write(f"job {job['job']}, {' '.join(job['overrides'])}: {_outcome(job)}")

    print(f"{total} jobs, {workers} at a time, each with its own train.log: {folder}", flush=True)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _outcome(job: dict[str, Any]) -> str:
    if job["status"] == "failed":
        return f"failed, {job['error']}"
    name = "val/loss" if "val/loss" in job else "train/loss"
    return f"{name} {job[name]:.2f} after {job['seconds']:.0f} s"


def summarize(folder: Path, jobs: Sequence[dict[str, Any]], line: str) -> None:
    """Print the table of the jobs of the sweep in `folder`; write it there as `summary.md` and `summary.csv`.

    `line` is the command that made them.
    """
    if not jobs:
        return
    header, rows = table(jobs)
    text = tables.markdown(header, rows)
    storage.replace(folder / "summary.md", f"{text}\n".encode())
    storage.replace(folder / "summary.csv", tables.as_csv(header, rows).encode())
    print(f"\n{text}\n")
    for job in jobs:
        if job["status"] == "failed":
            print(f"job {job['job']} failed: {job['error']}")
    print(f"sweep: {folder} (summary.md, summary.csv)")
    print(shell.what_next(*_next(folder, {job["status"] for job in jobs}, line)))


def _next(folder: Path, how_ended: set[str], line: str) -> list[str]:
    """Commands that fit how the sweep's jobs have ended, each as a line to paste."""
    words = [word for word in shlex.split(line) if paths.key_of(word) not in ("sweep.resume", "hydra.sweep.dir")]
    missing = shell.line(*words, shell.setting("sweep.resume", folder))
    report = shell.command("report", shell.setting("sweep", folder))
    return [
        *([missing] if how_ended != {"completed"} else []),
        *([report] if "completed" in how_ended else []),
        shell.line("tensorboard", "--logdir", str(folder)),
    ]
