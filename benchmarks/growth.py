"""How cost grows with the size of everything, into the section Growth of docs/performance.md: `make bench-growth`.

Each size is a process of its own. Seconds are of processor time (see one_run.py), but for runs side by side, where a
clock decides. Under 10 minutes.
"""

import math
import os
import statistics
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import performance_page
from performance_page import Section
from timing import AECTL, environment, script
from tqdm import tqdm

from aectl.files import tables

STRAIGHT = 1.1  # the largest exponent that is taken for a straight line's
NOISE = 1.3  # times that a cost may differ between two sizes and be the same
IMAGES = (1_000, 10_000, 100_000, 1_000_000)
LAST = 1_000_000  # of these a single round
SIDES = (8, 16, 32, 64)
LATENTS = (2, 8, 32, 128, 512)
JOBS = (1, 2, 4, 8, 16)
SMALL = ("dataset=synthetic", "dataset.synthetic_size=4400", "batch_size=128")
COSTS = {"start": "to the first step: s", "step": "step: ms", "end": "epoch's end: ms", "memory": "peak memory: MiB"}
SCALE = {"start": 1.0, "step": 1e3, "end": 1e3, "memory": 1.0}

Costs = dict[str, float]


@dataclass(frozen=True)
class Axis:
    """Something that grows.

    Attributes:
        what: its name, the header of its column.
        sizes: by which it is drawn, and how each is shown.
        costs: of each size, by name.
        words: header of each cost.
        reasons: why a cost grows faster than a straight line, where it does.
    """

    what: str
    sizes: Sequence[int]
    costs: Sequence[Costs]
    words: dict[str, str]
    reasons: dict[str, str] = field(default_factory=dict)

    def exponent(self, name: str) -> float:
        """The slope of a cost in log-log between the two largest sizes."""
        (small, less), (large, more) = list(zip(self.sizes, self.costs, strict=True))[-2:]
        return math.log(more[name] / less[name]) / math.log(large / small)

    def verdict(self, name: str) -> str:
        """In words."""
        if max(one[name] for one in self.costs) < NOISE * min(one[name] for one in self.costs):
            return "the same at every size"
        exponent = self.exponent(name)
        if exponent <= STRAIGHT:
            return f"no more than a straight line (exponent {exponent:.2f})"
        reason = self.reasons.get(name, "nobody has looked why")
        return f"more than a straight line (exponent {exponent:.2f}): {reason}"

    def text(self) -> str:
        """A table, and a line for each cost."""
        rows = [
            (f"{size:,}", *(f"{SCALE.get(name, 1) * one[name]:,.2f}" for name in self.words))
            for size, one in zip(self.sizes, self.costs, strict=True)
        ]
        verdicts = [f"- {words.partition(':')[0]}: {self.verdict(name)}." for name, words in self.words.items()]
        return f"{tables.markdown((self.what, *self.words.values()), rows)}\n\n" + "\n".join(verdicts)


def medians(found: Sequence[Costs]) -> Costs:
    """Of each cost, over the rounds."""
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def runs(what: str, sizes: Sequence[int], overrides: Sequence[Sequence[str]], rounds: int) -> Axis:
    """Runs of several sizes, in turn."""
    found: list[list[Costs]] = [[] for _ in sizes]
    for current in tqdm(range(rounds), desc=what, disable=None):
        for size, given, measured in zip(sizes, overrides, found, strict=True):
            if current == 0 or size != LAST:
                measured.append(script("one_run.py", *given))
    return Axis(what, sizes, [medians(one) for one in found], COSTS)


def images(rounds: int) -> Axis:
    """Small pictures, so that a million of them fit."""
    small = ("dataset=synthetic", "dataset.synthetic_shape=[1,8,8]", "network.hidden=[64]", "batch_size=128")
    return runs("images of 8×8", IMAGES, [(*small, f"dataset.synthetic_size={size}") for size in IMAGES], rounds)


def pixels(rounds: int) -> Axis:
    """Wider pictures."""
    shapes = [f"dataset.synthetic_shape=[1,{side},{side}]" for side in SIDES]
    return runs("pixels", [side**2 for side in SIDES], [(*SMALL, shape) for shape in shapes], rounds)


def latent(rounds: int) -> Axis:
    """Longer codes."""
    return runs("latent", LATENTS, [(*SMALL, f"latent={size}") for size in LATENTS], rounds)


def processor_time(arguments: Sequence[str], folder: Path) -> float:
    """Seconds of processor time of a command and of all that it starts."""
    with (folder / "log").open("w") as log:
        child = subprocess.Popen([*AECTL, *arguments], cwd=folder, env=environment(), stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"aectl {' '.join(arguments)}: {(folder / 'log').read_text()[-2000:]}")
    return usage.ru_utime + usage.ru_stime


def jobs(rounds: int) -> Axis:
    """Sweeps of tiny jobs, and their reports."""
    found: list[list[Costs]] = [[] for _ in JOBS]
    for _ in tqdm(range(rounds), desc="jobs of a sweep", disable=None):
        for count, measured in zip(JOBS, found, strict=True):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                seeds = f"seed={','.join(map(str, range(count)))}"
                where = f"hydra.sweep.dir={folder}/sweep"
                tiny = ("experiment=smoke", "figures_every=0", "explore=false", "threads=1")
                sweep = processor_time(["train", "-m", *tiny, seeds, where], folder)
                report = processor_time(["report", f"sweep={folder}/sweep"], folder)
            measured.append({"sweep": sweep, "report": report})
    words = {"sweep": "sweep and its summary: s", "report": "report: s"}
    return Axis("jobs of a sweep", JOBS, [medians(one) for one in found], words)


def side_by_side(rounds: int, folder: Path) -> str:
    """Runs of one thread, alone and two at a time, by the clock."""
    found: dict[int, list[float]] = {1: [], 2: []}
    settings = ("train", "epochs=10", "figures_every=0", "explore=false", "threads=1")
    for _ in tqdm(range(rounds), desc="side by side", disable=None):
        for count, measured in found.items():
            began = time.perf_counter()
            children = [
                subprocess.Popen(
                    [*AECTL, *settings, f"hydra.run.dir={folder}/{began}_{number}"], cwd=folder, env=environment(),
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
                for number in range(count)
            ]  # fmt: skip
            statuses = [child.wait() for child in children]
            if any(statuses):
                raise SystemExit("a run side by side with others has failed")
            measured.append(time.perf_counter() - began)
    ratios = [two / one for one, two in zip(*found.values(), strict=True)]
    return (
        f"Two runs of a thread each, side by side, take {statistics.median(ratios):.2f} times the time of one "
        f"({min(ratios):.2f} to {max(ratios):.2f}), on {os.cpu_count()} cores."
    )


def growth(given: Namespace, folder: Path) -> str:
    """Every axis."""
    axes = [axis(given.rounds) for axis in (images, pixels, latent, jobs)]
    return "\n\n".join([*(axis.text() for axis in axes), side_by_side(given.rounds, folder)])


MEANING = """\
What a run costs as something about it grows, the rest being the same: a VAE of 784-300-300-2 on drawn shapes, batch
128, but for what a table says; small pictures with a hidden layer of 64 where their number grows, and
`experiment=smoke` in sweeps. Seconds are of processor time on one thread, from inside the process, imports not
counted; those of sweeps and reports are of whole commands with all their processes. The exponent is the slope between
the two largest sizes with both axes logarithmic: 1 is a straight line, 2 a parabola."""


def main() -> None:
    """Measure and write the section."""
    given = performance_page.options(__doc__.partition("\n")[0], rounds=2).parse_args()
    command = f"python benchmarks/growth.py --rounds {given.rounds}"
    performance_page.write({"Growth": Section(MEANING, growth)}, given, lambda title: command)


if __name__ == "__main__":
    main()
