"""Kill, stop and refuse a training run at every place, resume it, and compare bytes with a run never disturbed.

    python tests/torture.py kills --count 200     SIGKILL at random moments, over AE, DAE and VAE
    python tests/torture.py exits                 the process ends at each file-system step of a save
    python tests/torture.py refusals              ENOSPC, EIO and EACCES at each of those steps
    python tests/torture.py folders --count 40    SIGKILL of denoise, encode, decode, score and export, then repeated

Each run is a forked child of one process that has everything imported: a real process with a real SIGKILL, started
in milliseconds. Prints counts; exits with 1 if a single comparison fails.
"""

import argparse
import contextlib
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import filelock  # noqa: F401  (imported here once, not in each child)
import matplotlib.backends.backend_agg
import matplotlib.figure  # noqa: F401
import numpy as np
import torch
import torch.utils.tensorboard

from aectl.cli import messages
from aectl.cli.composing import composed
from aectl.commands.table import COMMANDS
from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.files.pictures import png
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.logistic import Logistic256
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


# ------------------------------------------------------------------------- commands that write folders

PICTURES = 40
MOST = 12  # kills of one command; the one after them is left alone
DOCUMENTED = (0, 2, 3, 4, 5, 6, 7, 130, 143, -signal.SIGKILL)


def material(folder: Path) -> None:
    """Pictures, their references, one that cannot be used, and two runs."""
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        picture = rng.integers(0, 256, (24 + index % 3, 31), dtype=np.uint8)
        for place, values in (("in", picture), ("clean", picture // 2)):
            path = folder / place / f"{'ab'[index % 2]}/{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png.of_image(values[None]))
        (folder / f"in/a/{PICTURES}.png").write_bytes(b"no picture")
        (folder / f"clean/a/{PICTURES}.png").write_bytes(b"no picture")
    loop.train(MODELS["dae"], folder / "dae")
    loop.train(replace(SMALL, model=Vae(posterior="logvar"), likelihood=Logistic256(components=1)), folder / "vae")


def works(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Each work's command and what it is given; those that read what others write come after them."""
    pictures = [f"input={folder}/in", "on_bad=skip"]
    dae, vae = [f"run={folder}/dae", "threads=1"], [f"run={folder}/vae", "threads=1"]
    made = {
        "denoise": ("denoise", [*dae, *pictures], ""),
        "denoise with references": ("denoise", [*dae, *pictures, f"reference={folder}/clean"], ""),
        "denoise with noise": ("denoise", [*dae, *pictures, "noise=gaussian", "noise.sigma=0.2"], ""),
        "encode to npz": ("encode", [*vae, *pictures], "/codes.npz"),
        "encode to csv": ("encode", [*vae, *pictures, "sample=true"], "/codes.csv"),
        "encode to bits": ("encode", [*vae, *pictures], "/pictures.aec"),
        "decode": ("decode", [*vae, f"input={folder}/made/encode to npz/codes.npz"], ""),
        "decode bits": ("decode", [*vae, f"input={folder}/made/encode to bits/pictures.aec"], ""),
        "score": ("score", [*vae, *pictures], "/scores.csv"),
        "explore": ("explore", vae, "/page.html"),
        "export": ("export", [*vae, "format=safetensors"], "/it"),
    }
    return {
        name: (command, [*given, f"output='{folder}/made/{name}{place}'"])
        for name, (command, given, place) in made.items()
    }


def files_below(place: Path) -> dict[str, bytes]:
    """The bytes of every file by its name."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def folders(count: int, seed: int) -> dict[str, int]:
    """SIGKILL commands that write folders or files at random moments until `count` have died; repeat each until done.

    Its end must be that of one which nobody disturbed, to the byte and without a file more.
    """
    rng = random.Random(seed)
    found = {"kills": 0, "works": 0, "gone_on": 0, "different": 0, "leftovers": 0, "failed": 0, "tracebacks": 0}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        material(folder)
        expected, longest, work = {}, {}, {}
        for name, (command, given) in works(folder).items():
            settings, (_, function) = composed(command, *given), COMMANDS[command].load()
            work[name] = lambda function=function, settings=settings: function(settings, folder / "own")
            (folder / "own").mkdir(exist_ok=True)
            began = time.perf_counter()
            assert wait(child(work[name])) == 0, name
            longest[name], expected[name] = time.perf_counter() - began, files_below(folder / "made" / name)
        names = list(work)
        while found["kills"] < count:
            name = names[found["works"] % len(names)]
            shutil.rmtree(folder / "made" / name)
            made = {}
            for attempt in range(MOST + 1):
                pid, status = child(work[name]), None
                moment = time.perf_counter() + (rng.uniform(0, longest[name]) if attempt < MOST else 600)
                while status is None and time.perf_counter() < moment:
                    time.sleep(0.001)
                    status = ended(pid)
                if status is None:
                    os.kill(pid, signal.SIGKILL)
                    status = wait(pid)
                found["kills"] += status == -signal.SIGKILL
                found["tracebacks"] += status not in DOCUMENTED
                found["gone_on"] += bool(made) and status == 0
                made = files_below(folder / "made" / name)
                # One that was killed when all was done has nothing to go on with.
                if status != -signal.SIGKILL or made == expected[name]:
                    found["failed"] += status not in (0, -signal.SIGKILL)
                    break
            found["works"] += 1
            found["leftovers"] += len(made.keys() - expected[name].keys())
            found["different"] += made != expected[name]
    return found


def main() -> None:
    """Run one suite, print its counts as JSON, and fail if anything differed or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", choices=["kills", "exits", "refusals", "folders"])
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--stride", type=int, default=1, help="take only every n-th step")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # before the first fork: a pool of threads would not survive it
    began = time.perf_counter()
    if args.suite in ("kills", "folders"):
        found = {"kills": kills, "folders": folders}[args.suite](args.count, args.seed)
    else:
        found = {"exits": exits, "refusals": refusals}[args.suite](args.stride)
    print(json.dumps({"suite": args.suite, **found, "seconds": round(time.perf_counter() - began)}))
    bad = ("different", "torn", "failed", "leftovers", "tracebacks")
    sys.exit(1 if any(found.get(name) for name in bad) else 0)


if __name__ == "__main__":
    main()
