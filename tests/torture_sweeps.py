"""Suites of `torture.py` with the real commands: sweeps and reports killed at random moments, and repeated.

A sweep is killed with SIGKILL, sometimes asked with SIGTERM or, as a terminal does it, all its processes with SIGINT;
then it is gone on with by `sweep.resume=` until it is done, and must end as one that was never disturbed. After each
kill nothing of its session may be alive some seconds later.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from torture import contents, torn

from aectl.machine import lifelines
from aectl.runs import checkpoint, layout, papers, sweeps

SETTINGS = (
    "train", "-m", "experiment=smoke", "device=cpu", "threads=1", "explore=false", "figures_every=0", "epochs=40",
    "dataset.synthetic_shape=[1,9,10]", "dataset.synthetic_size=200", "network.hidden=[16]", "hydra.sweep.dir=sweep",
)  # fmt: skip
BESIDE = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
KINDS = {
    "side by side": ("latent=2,3", "model=ae,vae", *BESIDE),
    "own folders": ("latent=2,3", "model=vae", "hydra.sweep.subdir=of/${hydra.job.num}", *BESIDE),
    "batched": ("seed=range(4)", "hydra/launcher=batched", "hydra.launcher.n_jobs=2"),
    "batched in one": ("seed=range(3)", "hydra/launcher=batched", "hydra.launcher.n_jobs=1"),
    "one after another": ("latent=2,3", "hydra/launcher=basic"),
}
FAULTS = ("different", "torn", "failed", "orphans", "lost", "tracebacks")  # what there may be none of
GENTLE = {signal.SIGTERM: 143, signal.SIGINT: 130}
BOUND = lifelines.GRACE + 5  # seconds after which nothing of a sweep may be alive
AT_MOST = 5  # times that one sweep is disturbed before it is left to end
LONGEST = 300  # seconds for a command
ROUNDING = 1e-3  # relative; jobs that were killed at different steps are batched with others than before


@dataclass
class Ended:
    """How a command has ended: its exit code, what it said, whether it was disturbed, and who outlived it."""

    status: int
    said: str
    err: str
    disturbed: bool
    orphans: int

    @property
    def told_too_much(self) -> bool:
        """Whether it has printed a traceback, or lines on its errors that are not ours."""
        raw = any(not line.startswith("aectl: ") for line in self.err.splitlines())
        if raw or "Traceback" in self.said:
            print(self, file=sys.stderr)
        return raw or "Traceback" in self.said


def command(folder: Path, *args: str) -> subprocess.Popen:
    """The real command in a folder and a session of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "aectl", *args], cwd=folder, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "AECTL_CACHE": str(folder / "cache")},
        stdin=subprocess.DEVNULL, stdout=(folder / "out").open("w"), stderr=(folder / "err").open("w"),
    )  # fmt: skip


def alive(session: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def ended(process: subprocess.Popen, folder: Path, number: int | None, moment: float) -> Ended:
    """Wait for a command, which gets the signal so many seconds from now, unless it has ended."""
    disturbed = False
    if number is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        if process.poll() is None:
            disturbed = True
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    process.wait(LONGEST)
    end = time.monotonic() + BOUND
    while (left := alive(process.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    said, err = ((folder / name).read_text() for name in ("out", "err"))
    return Ended(process.returncode, said, err, disturbed, len(left))


def read_sweep(folder: Path) -> dict[str, tuple]:
    """What must be equal, by the number of the job."""
    return {job["job"]: contents(job["folder"]) for job in sweeps.read_jobs(folder) if job["status"] == "completed"}


def same(kind: str, folder: Path, ours: dict[str, tuple], theirs: dict[str, tuple], whole: Path) -> int:
    """How many jobs differ: in a byte, or if they were batched by more than rounding."""
    both = ours.keys() & theirs.keys()
    if not kind.startswith("batched"):
        return sum(ours[job] != theirs[job] for job in both)
    found = 0
    for job, other in zip(layout.jobs_of(folder), layout.jobs_of(whole), strict=True):
        weights = [checkpoint.newest(layout.checkpoints_of(one))[0].model for one in (job, other)]
        near = all(torch.allclose(weights[0][n], weights[1][n], rtol=ROUNDING, atol=ROUNDING) for n in weights[1])
        records = [papers.read_metrics(one) for one in (job, other)]
        for record in (*records[0], *records[1]):
            record.pop("images_per_s", None)
        near &= len(records[0]) == len(records[1])
        near &= all(one == pytest.approx(two, rel=ROUNDING, abs=1e-6) for one, two in zip(*records, strict=False))
        found += not near
    return found


def undisturbed(folder: Path, given: Sequence[str]) -> float:
    """A sweep in `folder` that nobody stops; returns the seconds that it took."""
    folder.mkdir()
    began = time.perf_counter()
    done = ended(command(folder, *SETTINGS, *given), folder, None, 0)
    assert (done.status, done.orphans) == (0, 0), done
    return time.perf_counter() - began


def killed_sweeps(count: int, seed: int) -> dict[str, int]:
    """Disturb sweeps at random moments until that has happened `count` times; each is gone on with to its end."""
    rng = random.Random(seed)
    found = dict.fromkeys(("kills", "asked", "sweeps", *FAULTS), 0)
    with tempfile.TemporaryDirectory() as root:
        seconds: dict[str, float] = {}
        while found["kills"] + found["asked"] < count:
            kind = list(KINDS)[found["sweeps"] % len(KINDS)]
            whole = Path(root) / kind
            if not whole.exists():
                seconds[kind] = undisturbed(whole, KINDS[kind])
            folder = Path(root) / f"disturbed-{found['sweeps']}"
            folder.mkdir()
            _until_done(folder, kind, seconds[kind], rng, found)
            ours, theirs = read_sweep(folder / "sweep"), read_sweep(whole / "sweep")
            found["sweeps"] += 1
            found["lost"] += len(theirs.keys() - ours.keys())
            found["torn"] += sum(map(torn, layout.jobs_of(folder / "sweep")))
            found["different"] += same(kind, folder / "sweep", ours, theirs, whole / "sweep")
    return found


def _until_done(folder: Path, kind: str, seconds: float, rng: random.Random, found: dict[str, int]) -> None:
    """One sweep, disturbed as often as it comes, to its end."""
    for n in range(AT_MOST + 1):
        more = ("sweep.resume=sweep",) if (folder / "sweep").is_dir() else ()
        process = command(folder, *SETTINGS, *KINDS[kind], *more)
        number = rng.choices([signal.SIGKILL, *GENTLE], [6, 1, 1])[0] if n < AT_MOST else None
        if number in GENTLE:  # before it has begun, Python itself answers
            _wait_for(process, folder / "sweep/multirun.yaml")
        done = ended(process, folder, number, rng.uniform(0.2, 1) * seconds)
        found["orphans"] += done.orphans
        found["tracebacks"] += done.told_too_much
        if not done.disturbed or done.status == 0:
            found["failed"] += done.status != 0
            return
        found["kills" if number == signal.SIGKILL else "asked"] += 1
        found["failed"] += done.status != GENTLE.get(number, -signal.SIGKILL)


def _wait_for(process: subprocess.Popen, path: Path) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.02)


# --------------------------------------------------------------------------------------- reports

REPORT = ("report", "sweep=sweep", "device=cpu", "threads=1")


def files(folder: Path) -> dict[str, bytes]:
    """Every file that a report leaves, but for what was said."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".log")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def killed_reports(count: int, seed: int) -> dict[str, int]:
    """SIGKILL the report of a sweep at random moments, and repeat it in its folder until it is done."""
    rng = random.Random(seed)
    found = dict.fromkeys(("kills", "reports", *FAULTS), 0)
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "made"
        undisturbed(folder, KINDS["side by side"])
        began = time.perf_counter()
        done = ended(command(folder, *REPORT, "hydra.run.dir=whole"), folder, None, 0)
        seconds = time.perf_counter() - began
        assert done.status == 0, done
        expected = files(folder / "whole")
        while found["kills"] < count:
            name = f"killed-{found['reports']}"
            while True:
                process = command(folder, *REPORT, f"hydra.run.dir={name}")
                done = ended(process, folder, signal.SIGKILL, rng.uniform(0.3, 1.1) * seconds)
                found["orphans"] += done.orphans
                found["tracebacks"] += done.told_too_much
                if not done.disturbed:
                    break
                found["kills"] += 1
            found["failed"] += done.status != 0
            found["reports"] += 1
            ours = files(folder / name)
            other = sorted(one for one in ours.keys() | expected.keys() if ours.get(one) != expected.get(one))
            found["different"] += bool(other)
            if other:
                print(*other, file=sys.stderr)
    return found
