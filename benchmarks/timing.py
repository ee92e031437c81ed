"""Programs in processes of their own, timed in turn: what speed.py, training.py and growth.py share."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.split import build_dataset

ROOT = Path(__file__).resolve().parent.parent
AECTL = (sys.executable, "-m", "aectl")
IMAGES = 30_000
BUSY = (sys.executable, "-c", "while True: pass")


def environment() -> dict[str, str]:
    """What child processes see: this checkout on the path, and no warnings."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def in_turn(measure: Mapping[str, Callable[[], float]], rounds: int, what: str) -> dict[str, list[float]]:
    """Each of `measure`, in turn, `rounds` times."""
    found: dict[str, list[float]] = {name: [] for name in measure}
    with tqdm(total=rounds * len(measure), desc=what, disable=None) as bar:
        for _ in range(rounds):
            for name, one in measure.items():
                found[name].append(one())
                bar.update()
    return found


def seconds(arguments: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> float:
    """How long a command takes; one that fails ends everything, with what it said."""
    began = time.perf_counter()
    done = subprocess.run(
        arguments, cwd=folder, env={**environment(), **(env or {})}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return time.perf_counter() - began


def script(name: str, *arguments: object) -> dict[str, float]:
    """What another file of this folder prints as its last line, JSON."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise SystemExit(f"{name} {arguments[0]}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextlib.contextmanager
def beside(busy: int) -> Iterator[None]:
    """So many processes in the block that never wait for anything."""
    others = [subprocess.Popen(BUSY) for _ in range(busy)]
    try:
        yield
    finally:
        for one in others:
            one.kill()
            one.wait()


def save_images(folder: Path) -> Path:
    """A file of 30,000 digits, uint8, (N, 784)."""
    digits = build_dataset(Mnist5k(val_size=0, test_size=10), None).train.pixels.flatten(1).numpy()
    np.save(folder / "images.npy", np.resize(digits, (IMAGES, digits.shape[1])))
    return folder / "images.npy"
