"""Steps per second of aectl and of other programs, in pairs: the section Training of docs/performance.md.

All programs are started once and then run in turn for a second or two, round after round (see contenders.py). What is
compared is taken within a round: a machine whose speed wanders within minutes is the same for both.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch
from timing import ROOT, environment, save_images
from tqdm import tqdm

from aectl.files import tables
from aectl.machine import devices

BATCHES = (32, 128)
SHORT = 1.5  # seconds of steps of a program in a round
ROUNDS = 4  # of these short ones for each that a slow section has
GOAL = 1.0  # aectl's steps per second beside the bare loop's
OTHERS = ROOT / ".venv-bench"
OTHER_PACKAGES = ("pythae==0.1.2", "lightning>=2.5,<3")
WORDS = {
    "aectl": "aectl", "aectl_bf16": "aectl, precision=bf16", "bare": "bare loop", "notebook": "notebook-style loop",
    "pythae": "pythae 0.1.2", "lightning": "PyTorch Lightning",
}  # fmt: skip
OF_OTHERS = ("pythae", "lightning")
MEANING = """\
The lecture's VAE (784-300-300-2, binary cross-entropy, Adam) on 30,000 digits, the same in each program
(`benchmarks/contenders.py`), on the same number of threads. aectl is its own `train` as by default, with the check of
every gradient for NaN in every step. The programs stay alive and run in turn for a second or two; each ratio is taken
within such a round, and what stands here is the median of these ratios, with the least and the greatest behind it.
With the ends of epochs there is in aectl's time what the others do not make: validation of 2,500 images, curves, a
checkpoint that is read back, and pictures in every fifth epoch."""


def others() -> str:
    """The interpreter of the environment with pythae and Lightning, and the same torch; made when it is missing."""
    python = OTHERS / "bin/python"
    if not (OTHERS / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(OTHERS)], check=True)
        torch_version = torch.__version__.partition("+")[0]
        packages = [f"torch=={torch_version}", "torchvision", *OTHER_PACKAGES]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (OTHERS / ".installed").touch()
    return str(python)


class Program:
    """One of contenders.py, alive: started, through its first step, and waiting to be told to go on."""

    def __init__(self, name: str, images: Path, batch: int, log: IO[str]):
        python = others() if name in OF_OTHERS else sys.executable
        command = [python, str(ROOT / "benchmarks/contenders.py"), name, str(images), str(batch)]
        self.name, self._log = name, log
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment()
        )
        self._answer()

    def run(self, seconds: float) -> dict[str, float]:
        """What it has measured in so many seconds of steps."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, float]:
        """The next line of JSON; other programs print what they like."""
        for line in self._process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.end()
        self._log.seek(0)
        raise SystemExit(f"contenders.py {self.name}: {self._log.read()[-2000:]}")

    def end(self) -> None:
        """Let it leave."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def names(given: Namespace) -> tuple[list[str], list[str]]:
    """Which programs run here, and a sentence for those that do not."""
    found, left_out = list(WORDS), []
    if not devices.bf16_instructions():
        found.remove("aectl_bf16")
        left_out.append("precision=bf16 is left out: this processor has no instructions for it.")
    if given.without_others:
        found = [name for name in found if name not in OF_OTHERS]
        left_out.append("pythae and PyTorch Lightning are left out (`--without-others`).")
    return found, left_out


def rounds_of(programs: Sequence[Program], rounds: int, seconds: float, what: str) -> list[dict[str, dict]]:
    """What each program measured, round by round; a first round warms them up."""
    found = []
    for current in tqdm(range(rounds + 1), desc=what, disable=None):
        measured = {program.name: program.run(seconds) for program in programs}
        if current:
            found.append(measured)
    return found


def measured(wanted: Sequence[str], images: Path, batch: int, rounds: int, seconds: float = SHORT) -> list[dict]:
    """Start the programs, measure them in turn, and end them."""
    programs: list[Program] = []
    with tempfile.TemporaryFile("w+") as log:
        try:
            for name in wanted:
                programs.append(Program(name, images, batch, log))
            return rounds_of(programs, rounds, seconds, f"batch {batch}")
        finally:
            for program in programs:
                program.end()


def ratios(found: Sequence[dict], one: str, other: str) -> list[float]:
    """Of steps per second, within each round."""
    return [each[one]["steps_per_s"] / each[other]["steps_per_s"] for each in found]


def spread(values: Sequence[float]) -> str:
    """The median, and the least and the greatest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def of_steps(found: Sequence[dict], name: str) -> float:
    """The share of a program's time that went into steps, over all rounds, which have equally long steps."""
    return statistics.harmonic_mean([1 - each[name]["ends"] for each in found])


def table(found: Sequence[dict]) -> str:
    """A line for each program."""
    rows = []
    for name in found[0]:
        steps = statistics.median(each[name]["steps_per_s"] for each in found)
        ours = ratios(found, "aectl", name)
        whole = statistics.median(ours) * of_steps(found, "aectl")
        reached = "reached" if statistics.median(ours) >= GOAL else "missed"
        verdict = f"{GOAL}: {reached}" if name == "bare" else ""
        beside = ("", "", f"{whole:.2f}") if name == "aectl" else (spread(ours), verdict, f"{whole:.2f}")
        by_hand = "" if name == "bare" else spread(ratios(found, "bare", name))
        rows.append((WORDS[name], f"{steps:.0f}", *beside, by_hand))
    return tables.markdown(("program", "steps/s", "aectl / it", "goal", "with epochs' ends", "bare loop / it"), rows)


def section(given: Namespace, folder: Path) -> str:
    """A table for each size of batch."""
    images, rounds = save_images(folder), ROUNDS * given.rounds
    wanted, left_out = names(given)
    threads = torch.get_num_threads()
    text = [f"{rounds} rounds of {SHORT} s, {threads} thread{'' if threads == 1 else 's'}."]
    for batch in BATCHES:
        text += [f"Batch {batch}:", table(measured(wanted, images, batch, rounds))]
    return "\n\n".join(text + left_out)
