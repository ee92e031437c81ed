"""Kill, stop and refuse a training run at every place, resume it, and compare bytes with a run never disturbed.

    python tests/torture.py kills --count 200     SIGKILL at random moments, over AE, DAE and VAE
    python tests/torture.py exits                 the process ends at each file-system step of a save
    python tests/torture.py refusals              ENOSPC, EIO and EACCES at each of those steps
    python tests/torture.py streams               every command with its streams closed, full or unread
    python tests/torture.py values --stride 20    any JSON value at any key of any file, and the commands that read it
    python tests/torture.py sweeps --count 30     whole sweeps killed at random moments, and who outlives them
    python tests/torture.py reports --count 10    SIGKILL while a sweep is reported on
    python tests/torture.py folders --count 40    SIGKILL of denoise, encode, decode, score and export, then repeated
    python tests/torture.py strangers             every command over runs that name places, or lead elsewhere
    python tests/torture.py memory                commands with too little memory, and files that would take very much

Suites that stand in a module of their own start the real commands. Of the others each run is a forked child of one
process that has everything imported: a real process with a real SIGKILL, started in milliseconds. Prints counts;
exits with 1 if a single comparison fails.
"""

import argparse
import contextlib
import errno
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import broken_streams
import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401  (imported here once, not in each child)
import short_of_memory
import strangers
import torch
import torch.utils.tensorboard
import values
from tqdm import tqdm

from aectl.cli import messages
from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.models.autoencoder import Vae
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout
from aectl.runs.config import TrainConfig
from aectl.runs.schedules import Cosine
from aectl.training import keeping, loop
from configs import train_config

SMALL = train_config(
    dataset=Synthetic(val_size=24, test_size=24, synthetic_size=176, synthetic_shape=[1, 9, 10]),
    network=Mlp(hidden=[16]), epochs=4, batch_size=16, device="cpu", threads=1, figures_every=0,
)  # fmt: skip
MODELS = {
    "ae": SMALL,
    "dae": replace(SMALL, noise=noises.Gaussian(sigma=0.5)),
    "vae": replace(SMALL, model=Vae(posterior="logvar"), schedule=Cosine(), kl_warmup=2.0),
    "vae-std": replace(SMALL, model=Vae(posterior="std"), noise=noises.Masking(p=0.3), grad_clip=1.0),
}
STEPS = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "unlink", "rmdir")


def contents(run: Path) -> tuple[bytes, bytes, str, list[dict]]:
    """What must be equal: weights, optimizer, counters, and every epoch's figures (but for the speed)."""
    saved = checkpoint.newest(layout.checkpoints_of(run))[0]
    state = {key: value for key, value in saved.state.items() if key != "seconds"}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["images_per_s"]
    tensors = [(saved.path / f"{name}.safetensors").read_bytes() for name in ("model", "trainer")]
    return tensors[0], tensors[1], json.dumps(state), records


def child(work: Callable[[], object]) -> int:
    """Fork, do `work` as `aectl` would and end with its exit code; return the child's process number."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        with Path(os.devnull).open("w") as silence, contextlib.redirect_stderr(silence):
            work()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException as error:
        status, message = messages.explain(error)
        if message is None:
            import traceback

            traceback.print_exception(error)
    finally:
        os._exit(status)


def wait(pid: int) -> int:
    """The exit code of a child; negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def ended(pid: int) -> int | None:
    """The exit code of a child that has ended, else None."""
    which, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if which else None


def torn(run: Path) -> int:
    """How many checkpoints stand under their name without being whole; there must never be one."""
    found = 0
    for path in checkpoint.listing(layout.checkpoints_of(run)):
        try:
            checkpoint.verify(path)
        except ValueError:
            found += 1
    return found


def start_or_resume(config: TrainConfig, run: Path) -> None:
    """Go on with the run if it has a checkpoint, else start it."""
    if checkpoint.listing(layout.checkpoints_of(run)):
        loop.train(train_config(resume=str(run)), run)
    else:
        loop.train(config, run)


def undisturbed(folder: Path) -> tuple[dict[str, tuple], float]:
    """The contents of each model's run that nobody stopped, and how long the longest took."""
    expected, longest = {}, 0.0
    loop.train(SMALL, folder / "warm")  # here, so that no child pays again for what is made at first use
    for name, config in MODELS.items():
        began = time.perf_counter()
        assert wait(child(lambda config=config, name=name: loop.train(config, folder / name))) == 0
        longest = max(longest, time.perf_counter() - began)
        expected[name] = contents(folder / name)
    return expected, longest


# --------------------------------------------------------------------------------------- SIGKILL


def kills(count: int, seed: int) -> dict[str, int]:
    """SIGKILL runs at random moments until `count` have died; each run is resumed until it is done."""
    rng = random.Random(seed)
    found = {"kills": 0, "runs": 0, "different": 0, "torn": 0, "failed": 0}
    with tempfile.TemporaryDirectory() as folder:
        expected, longest = undisturbed(Path(folder))
        while found["kills"] < count:
            name = rng.choice(list(MODELS))
            run = Path(folder) / f"killed-{found['runs']}"
            while True:
                pid = child(lambda name=name, run=run: start_or_resume(MODELS[name], run))
                moment = time.perf_counter() + rng.uniform(0, longest)
                status = None
                while status is None and time.perf_counter() < moment:
                    time.sleep(0.002)
                    status = ended(pid)
                if status is None:
                    os.kill(pid, signal.SIGKILL)
                    status = wait(pid)
                if status == -signal.SIGKILL:
                    found["kills"] += 1
                    found["torn"] += torn(run)
                    continue
                found["failed"] += status != 0
                break
            found["runs"] += 1
            found["different"] += contents(run) != expected[name]
    return found


# ----------------------------------------------------------------------- every file-system step


@contextlib.contextmanager
def counted_steps(at: int, act: Callable[[], None], counter: list[int]) -> Iterator[None]:
    """Inside a save, count the calls of `os` that change the disk, and `act` instead of the call number `at`.

    Those of other threads do not count: training goes on beside a save.
    """
    real, saving = {name: getattr(os, name) for name in STEPS}, threading.get_ident()

    def step(name: str) -> Callable:
        def call(*args, **kwargs):
            counter[0] += threading.get_ident() == saving
            if counter[0] == at and threading.get_ident() == saving:
                act()
            return real[name](*args, **kwargs)

        return call

    for name in STEPS:
        setattr(os, name, step(name))
    try:
        yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def disturbed_training(run: Path, at: int, act: Callable[[], None], counter: list[int]) -> None:
    """Train, and count and disturb the file-system steps of the fourth save, which removes an older one."""
    real, saves = keeping._write, 0

    def save(*given) -> None:
        nonlocal saves
        saves += 1
        if saves != 4:
            return real(*given)
        with counted_steps(at, act, counter):
            return real(*given)

    keeping._write = save
    loop.train(MODELS["vae"], run)


def steps_of_a_save(folder: Path) -> int:
    """How many file-system steps the save has."""
    reading, writing = os.pipe()

    def work() -> None:
        counter = [0]
        disturbed_training(folder / "counted", -1, lambda: None, counter)
        os.write(writing, str(counter[0]).encode())

    assert wait(child(work)) == 0
    os.close(writing)
    total = int(os.read(reading, 20))
    os.close(reading)
    return total


def exits(stride: int = 1) -> dict[str, int]:
    """End the process at each step of a save, as a power cut would; then resume."""
    found = {"steps": 0, "different": 0, "torn": 0, "failed": 0}
    with tempfile.TemporaryDirectory() as folder:
        expected, _ = undisturbed(Path(folder))
        for at in range(1, steps_of_a_save(Path(folder)) + 1, stride):
            run = Path(folder) / f"exit-{at}"
            status = wait(child(lambda run=run, at=at: disturbed_training(run, at, lambda: os._exit(9), [0])))
            found["failed"] += status != 9
            found["torn"] += torn(run)
            found["failed"] += wait(child(lambda run=run: start_or_resume(MODELS["vae"], run))) != 0
            found["steps"] += 1
            found["different"] += contents(run) != expected["vae"]
    return found


def refusals(stride: int = 1) -> dict[str, int]:
    """Refuse each step of a save with each error: exit code 6, a whole checkpoint left, an exact resume."""
    found = {"refusals": 0, "different": 0, "torn": 0, "failed": 0, "endured": 0}
    with tempfile.TemporaryDirectory() as folder:
        expected, _ = undisturbed(Path(folder))
        total = steps_of_a_save(Path(folder))
        for number in (errno.ENOSPC, errno.EIO, errno.EACCES):

            def refuse(number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            for at in range(1, total + 1, stride):
                run = Path(folder) / f"refused-{number}-{at}"
                status = wait(child(lambda run=run, at=at, act=refuse: disturbed_training(run, at, act, [0])))
                found["refusals"] += 1
                found["endured"] += status == 0
                found["failed"] += status not in (0, 6)
                checkpoint.newest(layout.checkpoints_of(run))
                found["torn"] += torn(run)
                found["failed"] += wait(child(lambda run=run: start_or_resume(MODELS["vae"], run))) != 0
                found["different"] += contents(run) != expected["vae"]
    return found


# ------------------------------------------------------------------------ any value in any file


def any_value(stride: int, seed: int) -> dict[str, int]:
    """Each n-th value of `values.py` at each key of each file through a command, and ten times as many only read.

    `places` are all keys, `values` the attempts without a command, `read` those of all that were taken for what they
    are; of the rest there must be none.
    """
    names = ("files", "places", "values", "commands", "read", "tracebacks", "undocumented", "lines", "slow")
    found, before = dict.fromkeys(names, 0), Path.cwd()

    def attempt(name: str, place: tuple, value: str, reader: str) -> None:
        ended = scene.attempt(name, place, values.TEXTS[value], reader)
        found["read"] += ended.code == 0
        if ended.wrong is not None:
            found[ended.wrong] += 1
            print(f"{ended.wrong}: {value} at {place} of {name}, by {reader}: {ended}", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder) / "here"
        here.mkdir()
        os.environ["AECTL_CACHE"] = str(here / "cache")
        os.chdir(here)
        try:
            scene = values.Scene(here)
            found |= {"files": len(values.FILES), "places": sum(len(scene.places(name)) for name in values.FILES)}
            for index, (name, place, value, reader) in enumerate(values.attempts(scene, seed)):
                if (index - seed) % max(1, stride // 10) == 0:
                    attempt(name, place, value, values.READING)
                    found["values"] += 1
                if (index - seed) % stride == 0:
                    attempt(name, place, value, reader)
                    found["commands"] += 1
        finally:
            os.chdir(before)
    return found


def killed(what: str, given: argparse.Namespace) -> dict[str, int]:
    """A suite of kills, of a module that takes from this one how children are started and what must be equal."""
    import torture_folders
    import torture_sweeps

    suites = {
        "sweeps": torture_sweeps.killed_sweeps, "reports": torture_sweeps.killed_reports,
        "folders": torture_folders.folders,
    }  # fmt: skip
    return suites[what](given.count, given.seed)


def of_strangers(given: argparse.Namespace) -> dict[str, int]:
    """In a folder of its own, which runs that were made elsewhere must not lead out of."""
    with tempfile.TemporaryDirectory() as folder:
        return strangers.suite(Path(folder), given.stride)


# Each suite, and what it is told.
SUITES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "kills": lambda given: kills(given.count, given.seed),
    "exits": lambda given: exits(given.stride),
    "refusals": lambda given: refusals(given.stride),
    "sweeps": lambda given: killed("sweeps", given),
    "reports": lambda given: killed("reports", given),
    "folders": lambda given: killed("folders", given),
    "streams": lambda given: broken_streams.streams(given.stride),
    "strangers": of_strangers,
    "memory": lambda given: short_of_memory.suite(),
    "values": lambda given: any_value(given.stride, given.seed),
}
MUST_BE_NONE = {
    "different", "torn", "failed", "lost", "orphans", "tracebacks", "undocumented", "lines", "slow", "wrong", "raw",
    "damaged", "connections", "folders", "reads", "writes", "changed", "leftovers",
}  # fmt: skip


def main() -> None:
    """Run one suite, print its counts as JSON, and fail if there is any of what there must be none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--stride", type=int, default=1, help="take only every n-th step, or command")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)  # before the first fork: a pool of threads would not survive it
    # The bars' own lock is the system's, shared with every child, and kept for ever by one that is killed with it.
    tqdm.set_lock(threading.RLock())
    tqdm.monitor_interval = 0
    began = time.perf_counter()
    found = SUITES[given.suite](given)
    print(json.dumps({"suite": given.suite, **found, "seconds": round(time.perf_counter() - began)}))
    sys.exit(any(found.get(name) for name in MUST_BE_NONE))


if __name__ == "__main__":
    main()
