"""Many models in one step: the section of that name in docs/performance.md.

Eight VAEs one after another with all cores' threads; side by side, a process with one thread for each core; and
batched, as many processes in each of which its share of the eight takes every step together. All processes live from
the first round to the last; in a round every way runs for a second by itself, and ratios are taken within a round.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from timing import beside, environment
from tqdm import tqdm

from aectl.cli.composing import composed
from aectl.files import tables
from aectl.training.crew import Crew
from aectl.training.feeding import rest_of_epoch
from aectl.training.session import Session, prepare
from aectl.training.step import stepping

MODELS = 8
CASES = (  # widths, batch size, busy processes beside
    ("32,32", 32, 0), ("100,100", 32, 0), ("200,200", 32, 0), ("300,300", 32, 0), ("300,300", 128, 0),
    ("300,300", 32, 1), ("300,300", 32, 2),
)  # fmt: skip
SECONDS = 1.0
ROUNDS = 3  # of these short ones for each that a slow section has
ONE, SIDE, BATCHED = "one after another", "side by side", "batched"
GOAL = 1.6  # times as many steps as one after another, for the lecture's VAE
MEANING = """\
Steps per second of eight VAEs on mnist5k that differ in their seed, all models' added: one after another with all
cores' threads, side by side in a process with one thread for each core, and batched (`hydra/launcher=batched`) in as
many processes. Steps alone, with the fetching of images; in a round every way runs for a second, and ratios are
medians of those within a round."""


def sessions(models: int, hidden: str, batch: int, folder: Path) -> list[Session]:
    """So many runs that differ in their seed, at their beginning."""
    os.environ.setdefault("AECTL_STAMP", "bench")  # what the name of a run's folder is made of
    os.environ.setdefault("AECTL_UNIQUE", "0")
    words = (f"network.hidden=[{hidden}]", f"batch_size={batch}", f"threads={torch.get_num_threads()}", "device=cpu")
    configs = [composed("train", *words, f"seed={seed}") for seed in range(models)]
    return [prepare(one, folder / str(n), None) for n, one in enumerate(configs)]


def alone(one: Session) -> Iterator[None]:
    """A step at a time, as a run by itself makes them."""
    step = stepping(one.model, one.loss, one.adam, one.config)
    while True:
        one.progress.epoch += 1
        for (x, seen), rng in rest_of_epoch(one.data.train, one.config, one.progress, one.device):
            values = step(x, one.config.noise(seen, rng), one.model.draw(len(x), rng), None, 1.0, 1e-3)
            one.running.add(values, len(x))
            yield


def together(several: Sequence[Session]) -> Iterator[None]:
    """A step of all of them at a time."""
    crew = Crew(several)
    while True:
        for one in several:
            one.progress.batch = 0
            one.progress.epoch += 1
        for batches in crew.batches():
            crew.step(batches)
            yield


def work(models: int, threads: int, hidden: str, batch: int) -> None:
    """Answer each line of standard input, when to begin, with the model-steps per second that follow."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = sessions(models, hidden, batch, Path(folder))
    steps = together(runs) if models > 1 else alone(*runs)
    next(itertools.islice(steps, 5, None))
    print("ready", flush=True)
    for line in sys.stdin:
        time.sleep(max(0.0, float(line) - time.time()))
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            next(steps)
            count += models
        print(count / (time.perf_counter() - began), flush=True)


def started(*of_work: object) -> subprocess.Popen:
    """A process that does such `work`."""
    command = [sys.executable, __file__, *map(str, of_work)]
    found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
    if found.stdout.readline() != "ready\n":
        raise SystemExit(f"{' '.join(command)}: did not start")
    return found


def measured(hidden: str, batch: int, busy: int, rounds: int) -> dict[str, list[float]]:
    """Model-steps per second of each way, round by round."""
    cores = torch.get_num_threads()
    processes = {
        ONE: [started(1, cores, hidden, batch)],
        SIDE: [started(1, 1, hidden, batch) for _ in range(cores)],
        BATCHED: [started(MODELS // cores, 1, hidden, batch) for _ in range(cores)],
    }
    found: dict[str, list[float]] = {way: [] for way in processes}
    with beside(busy):
        for _ in tqdm(range(rounds), desc=f"{hidden}, batch {batch}, {busy} beside", disable=None):
            for way, workers in processes.items():
                for one in workers:
                    one.stdin.write(f"{time.time() + 0.1}\n")
                    one.stdin.flush()
                found[way].append(sum(float(one.stdout.readline()) for one in workers))
    for one in itertools.chain(*processes.values()):
        one.stdin.close()
        one.wait()
        one.stdout.close()
    return found


def section(given: Namespace, folder: Path) -> str:
    """The ways at several widths, and what became of the goal."""
    rows, of_lecture = [], 0.0
    for hidden, batch, busy in CASES:
        found = measured(hidden, batch, busy, ROUNDS * given.rounds)
        ratios = {
            other: statistics.median(ours / its for ours, its in zip(found[BATCHED], found[other], strict=True))
            for other in (ONE, SIDE)
        }
        if (hidden, batch, busy) == ("300,300", 32, 0):
            of_lecture = ratios[ONE]
        what = f"784-{hidden.replace(',', '-')}-2, batch {batch}" + (f", {busy} busy beside" if busy else "")
        rates = [f"{statistics.median(found[way]):,.0f}" for way in found]
        rows.append((what, *rates, *(f"{one:.2f}" for one in ratios.values())))
    header = ("eight VAEs: steps/s", ONE, SIDE, BATCHED, f"batched / {ONE}", f"batched / {SIDE}")
    verdict = "reached" if of_lecture >= GOAL else "missed"
    return (
        f"{tables.markdown(header, rows)}\n\nThe lecture's VAE (784-300-300-2, batch 32) eight times makes "
        f"{of_lecture:.2f} times the steps of one after another (goal {GOAL}: {verdict})."
    )


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
