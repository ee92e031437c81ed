"""Many models in one step, into docs/performance.md: model-steps per second of three ways to train eight VAEs.

One after another with all cores' threads, side by side with a thread for each core, and batched: as many processes,
in each of which its share of the eight take every step together. All processes live from the first round to the
last; in each round every way runs for a second by itself, and ratios are taken within a round. Three minutes.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from tqdm import tqdm

from aectl.files import tables

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # for the worker processes

MODELS = 8
WIDTHS = ("32,32", "64,64", "100,100", "200,200", "300,300")
SECONDS = 1.0
WAYS = ("one after another", "side by side", "batched")
CORES = torch.get_num_threads()


def steps_of(models: int, hidden: str, batch: int):
    """A function that makes one step of each of so many models, by itself or as a crew."""
    from aectl.cli.composing import composed
    from aectl.training.crew import Crew
    from aectl.training.feeding import rest_of_epoch
    from aectl.training.session import prepare
    from aectl.training.step import stepping

    folder = Path(tempfile.mkdtemp())
    configs = [
        composed("train", f"network.hidden=[{hidden}]", f"seed={seed}", f"batch_size={batch}", "device=cpu",
                 f"threads={torch.get_num_threads()}") for seed in range(models)
    ]  # fmt: skip
    sessions = [prepare(one, folder / str(n), None) for n, one in enumerate(configs)]
    if models > 1:
        crew = Crew(sessions)

        def again():
            while True:
                for one in sessions:
                    one.progress.batch = 0
                    one.progress.epoch += 1
                for batches in crew.batches():
                    crew.step(batches)
                    yield
    else:
        (one,) = sessions
        step = stepping(one.model, one.loss, one.adam, one.config)
        images = one.data.train

        def again():
            while True:
                one.progress.epoch += 1
                for (x, seen), rng in rest_of_epoch(images, one.config, one.progress, one.device):
                    values = step(x, one.config.noise(seen, rng), one.model.draw(len(x), rng), None, 1.0, 1e-3)
                    one.running.add(values, len(x))
                    yield

    return again()


def work(models: int, threads: int, hidden: str, batch: int) -> None:
    """Answer each line of standard input, when to begin, with the model-steps per second that follow."""
    torch.set_num_threads(threads)
    steps = steps_of(models, hidden, batch)
    for _ in itertools.islice(steps, 5):
        pass
    print("ready", flush=True)
    for line in sys.stdin:
        time.sleep(max(0.0, float(line) - time.time()))
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            next(steps)
            count += models
        print(count / (time.perf_counter() - began), flush=True)


def start(models: int, threads: int, hidden: str, batch: int) -> subprocess.Popen:
    """A process that does such `work`."""
    command = [sys.executable, __file__, "--work", *map(str, (models, threads, hidden, batch))]
    found = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    found.stdout.readline()
    return found


def measure(hidden: str, batch: int, rounds: int) -> dict[str, list[float]]:
    """Model-steps per second of each way, round by round."""
    each = MODELS // CORES
    processes = {
        WAYS[0]: [start(1, CORES, hidden, batch)],
        WAYS[1]: [start(1, 1, hidden, batch) for _ in range(CORES)],
        WAYS[2]: [start(each, 1, hidden, batch) for _ in range(CORES)],
    }
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in tqdm(range(rounds), desc=f"{hidden}, batch {batch}", disable=None):
        for way, workers in processes.items():
            for one in workers:
                one.stdin.write(f"{time.time() + 0.1}\n")
                one.stdin.flush()
            found[way].append(sum(float(one.stdout.readline()) for one in workers))
    for one in itertools.chain(*processes.values()):
        one.stdin.close()
        one.wait()
    return found


def table(rounds: int) -> str:
    """The ways at several widths."""
    rows = []
    for hidden, batch in [*((one, 32) for one in WIDTHS), (WIDTHS[-1], 128)]:
        found = measure(hidden, batch, rounds)
        rates = [f"{statistics.median(found[way]):,.0f}" for way in WAYS]
        ratios = [
            statistics.median(ours / its for ours, its in zip(found[WAYS[2]], found[other], strict=True))
            for other in WAYS[:2]
        ]
        rows.append((f"784-{hidden.replace(',', '-')}-2, batch {batch}", *rates, *(f"{one:.2f}" for one in ratios)))
        print(json.dumps(rows[-1]), file=sys.stderr)
    header = ("eight VAEs: model-steps/s", *WAYS, f"batched / {WAYS[0]}", f"batched / {WAYS[1]}")
    return tables.markdown(header, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", nargs=4, metavar=("models", "threads", "hidden", "batch"))
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    if given.work:
        models, threads, hidden, batch = given.work
        work(int(models), int(threads), hidden, int(batch))
    else:
        print(table(given.rounds))
