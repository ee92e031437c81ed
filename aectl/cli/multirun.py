"""A sweep: its jobs, one after another or side by side, a bar while they run, and their table."""

import contextlib
import math
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aectl import shell, storage
from aectl.cli import batching, composing, conduct, launching, paths
from aectl.cli.job import Job
from aectl.cli.launching import BATCHED, hydra_main
from aectl.cli.messages import explain
from aectl.errors import INTERRUPTED, ConfigError, brief, one_line
from aectl.files import tables
from aectl.machine import load
from aectl.runs import finding, layout, receipts, sweeps
from aectl.runs.schema import TOGETHER
from aectl.runs.sweeps import read_jobs, table
from aectl.terminal import say

WORKERS = "hydra.launcher.n_jobs"
BESIDE = "hydra/launcher=joblib"  # with nothing but a number of workers: what we do ourselves
QUIET = "hydra.hydra_logging.root.level=WARNING"
LOOKS = 0.5  # seconds between looks at the folder of a sweep


def run_sweep(job: Job, overrides: list[str]) -> int:
    """All jobs of a sweep, then their table; returns the exit code of the first that failed, if any.

    What has become of each the jobs say (`aectl.runs.receipts`). Where none has failed and one has not come to its
    end, because its process was killed or there never was one, that is 130, as if it had been interrupted.
    """
    command = job.task.command
    broken: Exception | None = None
    folder = job.task.places["hydra.sweep.dir"] = _sweep_folder(job.task.places)
    overrides = [paths.for_hydra(shell.setting("hydra.sweep.dir", folder)), *overrides]
    layout.refuse_leads(folder)
    apart = _apart(overrides) if command == "train" else None
    if folder.is_dir():
        _take(folder, command, resumed="sweep.resume" in job.task.places)
    try:
        with watched(folder, apart) if apart is not None else contextlib.nullcontext():
            if apart is None:
                hydra_main(job, ["-m", *overrides])
            else:
                own = [one for one in overrides if one not in (BATCHED, BESIDE) and paths.key_of(one) != WORKERS]
                batching.run(job, [QUIET, *own], apart.workers, batched=apart.batched, always=apart.always)
    except Exception as error:
        if explain(error)[1] is not None or os.environ.get("AECTL_DEBUG") == "1":
            raise
        broken = error  # a launcher's own, where a job's process was killed, or a defect of ours
    finally:
        found = read_jobs(folder) if folder.is_dir() else []
        if command == "train":
            summarize(folder, found, job.line)
    return _told(folder, command, found, max(len(found), _expected(overrides)), broken)


def _told(folder: Path, command: str, found: Sequence[dict[str, Any]], jobs: int, broken: Exception | None) -> int:
    """The exit code of a sweep of so many `jobs`, of which `found` have left word; why it is not 0 is said.

    `broken` is what a launcher has raised.
    """
    failed = [one for one in found if one["status"] == "failed"]
    ended = [one for one in found if one["status"] in ("completed", "failed")]
    if broken is not None and (len(ended) == jobs or any(one["exit_code"] == 1 for one in failed)):
        raise broken
    if failed:
        which = f"{len(failed)} of {jobs} jobs failed, the first" if jobs > 1 else "its only job failed"
        conduct.complain(f"{which}: {one_line(failed[0]['error'])}", failed[0]["exit_code"])
        return failed[0]["exit_code"]
    if len(ended) < jobs:
        which = f"{jobs - len(ended)} of {jobs} jobs" if jobs > 1 else "its only job"
        says = "" if broken is None else f" ({type(broken).__name__}: {brief(broken)})"
        again = f" with {shell.shown('sweep.resume', folder)}" if command == "train" else ""
        how = f"did not come to an end, as if killed{says}; repeat the command{again}"
        conduct.complain(f"{which} {how}", INTERRUPTED)
        return INTERRUPTED
    return 0


def _take(folder: Path, command: str, *, resumed: bool) -> None:
    """Make a folder that is there the sweep's: its jobs are known as today's are, or there are none.

    Raises:
        ConfigError: it has runs, and nothing says that they are to be gone on with.
    """
    if resumed:
        sweeps.taken_up(folder)
        return
    if command == "train" and layout.has_trained(folder):
        raise ConfigError(
            f"hydra.sweep.dir={folder}: holds a sweep already; go on with {shell.shown('sweep.resume', folder)} or "
            "choose another folder"
        )
    receipts.clear(folder)


def _sweep_folder(given: dict[str, Path]) -> Path:
    """Where a sweep lands: in the folder given, in that of the sweep to go on with, else in a new one."""
    resumed = given.get("sweep.resume")
    if resumed:
        resumed = finding.sweep(str(resumed), "sweep.resume", "checkpoints/step-*", ConfigError)
    return given.get("hydra.sweep.dir") or resumed or Path(composing.sweep_dir())


@dataclass(frozen=True)
class Apart:
    """How jobs run in processes of their own.

    Attributes:
        jobs, workers: so many jobs in so many processes.
        batched: whether those of one form take every step together; if so, `always`, also where they gain nothing.
    """

    jobs: int
    workers: int
    batched: bool = False
    always: bool = False


def _apart(overrides: list[str]) -> Apart | None:
    """How the jobs of a sweep are to run next to each other, each process on its share of the cores.

    A small model leaves a second core half idle. Jobs whose models have one form can share every call, too. One after
    another go jobs on a GPU, which they would share, those of another sweeper or launcher, and where the number of
    threads is itself swept.
    """
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    on_gpu = given.get("device", "auto") != "cpu" and Path("/dev/nvidiactl").exists()
    threads, batched = given.get("threads", "1"), BATCHED in overrides
    settings = {key for key in given if key.startswith("hydra.launcher.")} - {WORKERS}
    asked = batched or (BESIDE in overrides and not settings and "hydra/sweeper" not in given)
    if not asked and ({"hydra/launcher", "hydra/sweeper"} & given.keys() or on_gpu or not threads.isdigit()):
        return None
    if batched and "hydra/sweeper" in given:
        raise ConfigError(
            f"{BATCHED}: goes with Hydra's own sweeper; leave out hydra/sweeper={given['hydra/sweeper']}"
        )
    sizes, jobs = _choices(overrides), _expected(overrides)
    each = int(threads) if threads.isdigit() else 1
    room = 1 if on_gpu else max(1, min(jobs, len(load.cores()) // max(1, each)))
    if asked:
        workers = given.get(WORKERS, str(room))
        workers = str(room) if BESIDE in overrides and workers == "-1" else workers
        if not workers.isdigit() or workers == "0":
            raise ConfigError(f"{WORKERS}={workers}: give how many processes, at least 1")
        return Apart(jobs, int(workers), batched=batched, always=batched)
    if room == 1:
        return None
    alike = {key.partition(".")[0] for key, size in sizes.items() if size > 1} <= set(TOGETHER)
    return Apart(jobs, room, batched=alike and jobs >= 2 * room)


def _expected(overrides: Sequence[str]) -> int:
    """How many jobs there are to be; 0 where another sweeper than Hydra's own decides."""
    if any(paths.key_of(one) == "hydra/sweeper" for one in overrides):
        return 0
    return math.prod(_choices(overrides).values())


def _choices(overrides: Sequence[str]) -> dict[str, int]:
    """How many values each override has for Hydra's own sweeper, which makes a job of each combination."""
    swept = [one for one in launching.parsed(overrides) if one.is_sweep_override()]
    return {one.get_key_element(): len(list(one.sweep_string_iterator())) for one in swept}


@contextlib.contextmanager
def watched(folder: Path, apart: Apart) -> Iterator[None]:
    """While the block runs, a bar over jobs that say nothing themselves, and a line for each that ends."""
    stop = threading.Event()
    ended = {job["job"] for job in read_jobs(folder) if job["status"] == "completed"} if folder.is_dir() else set()

    def watch() -> None:
        with tqdm(
            total=apart.jobs, initial=len(ended), unit="job", disable=None, dynamic_ncols=True, leave=False
        ) as bar:
            going = True
            while going:
                going = not stop.wait(LOOKS)  # and once more at the end
                for job in read_jobs(folder) if folder.is_dir() else []:
                    if job["status"] != "interrupted" and job["job"] not in ended:
                        ended.add(job["job"])
                        bar.update()
                        tqdm.write(one_line(f"job {job['job']}, {' '.join(job['overrides'])}: {_outcome(job)}"))

    processes = "one process" if apart.workers == 1 else f"{apart.workers} processes"
    say(f"{apart.jobs} jobs, in {processes}, each with its own train.log: {folder}")
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
    found = [f"{name} {job[name]:.2f}" for name in ("val/loss", "train/loss") if job.get(name) is not None]
    return f"{(found or [job['status']])[0]} after {job.get('seconds') or 0:.0f} s"


def summarize(folder: Path, jobs: Sequence[dict[str, Any]], line: str) -> None:
    """Print the table of the jobs of the sweep in `folder`; write it there as `summary.md` and `summary.csv`.

    `line` is the command that made them.
    """
    if not jobs:
        return
    header, rows = table(jobs)
    text = tables.markdown(header, rows)
    storage.replace(folder / "summary.md", f"{text}\n".encode())
    storage.replace(folder / "summary.csv", tables.plain_csv(header, rows))
    say(f"\n{text}\n")
    for job in jobs:
        if job["status"] == "failed":
            say(one_line(f"job {job['job']} failed: {job['error']}"))
    say(f"sweep: {folder} (summary.md, summary.csv)")
    say(shell.what_next(*_next(folder, {job["status"] for job in jobs}, line)))


def _next(folder: Path, how_ended: set[str], line: str) -> list[str]:
    """Commands that fit how the sweep's jobs have ended, each as a line to paste."""
    words = [word for word in shell.split(line) if paths.key_of(word) not in ("sweep.resume", "hydra.sweep.dir")]
    missing = shell.line(*words, shell.setting("sweep.resume", folder))
    report = shell.command("report", shell.setting("sweep", folder))
    return [
        *([missing] if how_ended != {"completed"} else []),
        *([report] if "completed" in how_ended else []),
        shell.line("tensorboard", "--logdir", str(folder)),
    ]
