"""A run of 2,000 epochs, watched from outside: does it take more and more? `make soak`.

    python tests/soak.py [--epochs N]

A tiny VAE trains with pictures every 100 epochs and a checkpoint every 10. Every 50 epochs its memory, its open files
and its processor time are noted. It exits with 1 and a line for each that grows; time is that of the processor, which
on a busy machine wanders less than a clock's. About 5 minutes of a core.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY = 50  # epochs from one look to the next
RUN = (
    "train", "dataset=synthetic", "dataset.synthetic_size=300", "dataset.synthetic_shape=[1,8,8]",
    "dataset.val_size=50", "dataset.test_size=50", "network.hidden=[16]", "batch_size=100", "figures_every=100",
    "checkpoint_every=10", "threads=1", "device=cpu",
)  # fmt: skip
WARM = 0.1  # share of the looks that are before everything has been done once
MEMORY = 1.05, 10.0  # what it may be at the end: times that of the beginning, and MiB more
FILES = 2  # more that may be open: some are for a moment
TIME = 1.5  # times that an epoch may take


@dataclass(frozen=True)
class Look:
    """A run after so many epochs: MiB of memory, open files, seconds of processor time since its start."""

    epoch: int
    memory: float
    files: int
    seconds: float


def watched(process: psutil.Process, metrics: Path) -> Iterator[Look]:
    """A look every so many epochs, until it ends."""
    epochs = last = 0
    with open_when_there(process, metrics) as file:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            epochs += file.read().count("\n")
            if epochs >= last + EVERY:
                last = epochs
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss / 2**20
                yield Look(epochs, memory, process.num_fds(), times.user + times.system)
            time.sleep(0.02)


def open_when_there(process: psutil.Process, path: Path):
    """The file, when the run has made it."""
    while not path.is_file():
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise SystemExit("the run has ended before its first epoch did")
        time.sleep(0.05)
    return path.open()


def quarters(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first quarter, without what is before it is warm, and of the last."""
    warm = values[int(WARM * len(values)) :]
    quarter = max(1, len(warm) // 4)
    return statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])


def costs(looks: Sequence[Look]) -> list[float]:
    """Milliseconds of processor time of an epoch, each over two looks, between which there are pictures once."""
    return [1e3 * (b.seconds - a.seconds) / (b.epoch - a.epoch) for a, b in zip(looks, looks[2:], strict=False)]


def grown(looks: Sequence[Look]) -> list[str]:
    """A line for each thing that grows."""
    found = []
    first, last = quarters([look.memory for look in looks])
    if last > first * MEMORY[0] + MEMORY[1]:
        found.append(f"memory grows: {first:.0f} MiB in the first quarter, {last:.0f} MiB in the last")
    first, last = quarters([look.files for look in looks])
    if last > first + FILES:
        found.append(f"open files grow: {first:.0f} in the first quarter, {last:.0f} in the last")
    first, last = quarters(costs(looks))
    if last > first * TIME:
        found.append(f"an epoch takes longer: {first:.1f} ms in the first quarter, {last:.1f} ms in the last")
    return found


def main() -> None:
    """Train, watch, and say."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=2000)
    epochs = parser.parse_args().epochs
    with tempfile.TemporaryDirectory() as name, (Path(name) / "log").open("w") as log:
        run = Path(name) / "run"
        command = [sys.executable, "-m", "aectl", *RUN, f"epochs={epochs}", f"hydra.run.dir={run}"]
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=name)
        looks = []
        for look in watched(psutil.Process(child.pid), run / "metrics.jsonl"):
            looks.append(look)
            print(f"epoch {look.epoch}: {look.memory:.0f} MiB, {look.files} files, {look.seconds:.1f} s", flush=True)
        if child.wait():
            raise SystemExit(f"the run has failed:\n{(Path(name) / 'log').read_text()[-2000:]}")
        kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    if len(kept) > 3:
        raise SystemExit(f"checkpoints are not removed: {len(kept)} are there")
    memory, cost = quarters([look.memory for look in looks]), quarters(costs(looks))
    print(f"first and last quarter: {memory[0]:.0f}, {memory[1]:.0f} MiB; {cost[0]:.1f}, {cost[1]:.1f} ms an epoch")
    if found := grown(looks):
        raise SystemExit("\n".join(found))
    print("nothing grows")


if __name__ == "__main__":
    main()
