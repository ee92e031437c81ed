"""Speed beside other programs, into docs/performance.md: `make bench`.

Everything that is compared runs in turn, round after round, in processes of its own; figures are medians over the
rounds, and ratios are ratios of medians. pythae and Lightning live in an environment of their own, which is made in
.venv-bench when it is missing. About 20 minutes on two cores; nothing else should run beside it.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.split import build_dataset
from aectl.files import tables
from aectl.machine import facts

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/performance.md"
OTHERS = ROOT / ".venv-bench"
OTHER_PACKAGES = ("pythae==0.1.2", "lightning>=2.5,<3")
IMAGES = 30_000
BATCHES = (32, 128)
# What aectl's steps per second are to be of each other program's, at each batch size.
GOALS = {"bare": (0.97, 0.97), "notebook": (2.4, 1.8), "pythae": (2.2, 1.7), "lightning": (None, None)}
WORDS = {
    "aectl": "aectl", "aectl_bf16": "aectl, precision=bf16", "bare": "bare loop", "notebook": "notebook-style loop",
    "pythae": "pythae 0.1.2", "lightning": "PyTorch Lightning",
}  # fmt: skip

Rows = list[Sequence[str]]


def others() -> Path:
    """The interpreter of the environment with pythae and Lightning, beside the same torch."""
    python = OTHERS / "bin/python"
    if not (OTHERS / ".installed").is_file():
        subprocess.run([sys.executable, "-m", "venv", str(OTHERS)], check=True)
        torch_version = torch.__version__.partition("+")[0]
        packages = [f"torch=={torch_version}", "torchvision", *OTHER_PACKAGES]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (OTHERS / ".installed").touch()
    return python


def environment() -> dict[str, str]:
    """What child processes see: this checkout on the path, and no warnings."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}


def median_of(measure: dict[str, Callable[[], float]], rounds: int, what: str) -> dict[str, list[float]]:
    """Each of `measure`, in turn, `rounds` times."""
    found: dict[str, list[float]] = {name: [] for name in measure}
    with tqdm(total=rounds * len(measure), desc=what, disable=None) as bar:
        for _ in range(rounds):
            for name, one in measure.items():
                found[name].append(one())
                bar.update()
    return found


# ------------------------------------------------------------------------------------------ training


def save_images(folder: Path) -> Path:
    """A file of 30,000 digits, uint8, (N, 784)."""
    digits = build_dataset(Mnist5k(val_size=0, test_size=10), None).train.pixels.flatten(1).numpy()
    np.save(folder / "images.npy", np.resize(digits, (IMAGES, digits.shape[1])))
    return folder / "images.npy"


def script(name: str, *arguments: object, python: Path | str = sys.executable) -> dict[str, float]:
    """What another file of this folder prints as its last line, JSON."""
    command = [str(python), str(ROOT / "benchmarks" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode:
        raise SystemExit(f"{name} {arguments[0]}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def training(rounds: int, folder: Path) -> str:
    """Steps per second of each program, and aectl's in relation to them."""
    path = save_images(folder)
    python = {"pythae": others(), "lightning": others()}
    text = []
    for index, batch in enumerate(BATCHES):
        whole: dict[str, list[float]] = {name: [] for name in WORDS}

        def steps(name: str, batch: int = batch, whole: dict[str, list[float]] = whole) -> float:
            measured = script("contenders.py", name, path, batch, python=python.get(name, sys.executable))
            whole[name].append(measured.get("with_epoch_end", measured["steps_per_s"]))
            return measured["steps_per_s"]

        found = median_of({name: lambda name=name: steps(name) for name in WORDS}, rounds, f"batch {batch}")
        ours, all_of_ours = statistics.median(found["aectl"]), statistics.median(whole["aectl"])
        rows: Rows = []
        for name, values in found.items():
            middle, low, high = statistics.median(values), min(values), max(values)
            verdict = ""
            if goal := GOALS.get(name, (None, None))[index]:
                verdict = f"{goal}: {'reached' if ours / middle >= goal else 'missed'}"
            ratios = (f"{ours / middle:.2f}", verdict, f"{all_of_ours / middle:.2f}")
            own = ("", "", f"{statistics.median(whole[name]) / middle:.2f}")
            row = own if name.startswith("aectl") else ratios
            by_hand = f"{statistics.median(found['bare']) / middle:.2f}"
            rows.append((WORDS[name], f"{middle:.0f}", f"{low:.0f} to {high:.0f}", *row, by_hand))
        header = ("program", "steps/s", "range", "aectl / it", "goal", "with epochs' ends", "bare loop / it")
        text.append(f"Batch {batch}:\n\n{tables.markdown(header, rows)}")
    return "\n\n".join(text)


def anatomy(rounds: int, folder: Path) -> str:
    """Where the time of a step goes."""
    path = save_images(folder)
    found = [script("step.py", path, batch, 3 * rounds) for batch in BATCHES]
    rows = [(name, *(f"{one[name]:,.0f}" for one in found)) for name in found[0]]
    return tables.markdown(("in turn in one process", *(f"batch {batch}: µs" for batch in BATCHES)), rows)


# ------------------------------------------------------------------------------------------- starting


FIRST_STEP = """
import os
from aectl import adam
step = adam.Adam.step
adam.Adam.step = lambda *given: (step(*given), os._exit(0))
from aectl import cli
cli.main(["train", "experiment=smoke"])
"""


def seconds(arguments: Sequence[str], folder: Path, env: dict[str, str] | None = None) -> float:
    """How long a command takes."""
    began = time.perf_counter()
    subprocess.run(arguments, cwd=folder, env={**environment(), **(env or {})}, capture_output=True, check=True)
    return time.perf_counter() - began


def starting(rounds: int, folder: Path) -> str:
    """Seconds to the first sign of life of several kinds."""
    python = [sys.executable, "-m", "aectl"]
    shim = "import torch; import aectl.data.datasets._torchvision, torchvision"
    complete = {"COMP_LINE": "aectl tr"}
    deeper = {"COMP_LINE": "aectl train model=v"}
    measure = {
        "`aectl --help`": lambda: seconds([*python, "--help"], folder),
        "TAB after `aectl tr`": lambda: seconds([*python, "-sc", "query=bash"], folder, complete),
        "TAB after `aectl train model=v`": lambda: seconds([*python, "-sc", "query=bash"], folder, deeper),
        "`aectl train --help`": lambda: seconds([*python, "train", "--help"], folder),
        "`import torch, torchvision`": lambda: seconds([sys.executable, "-c", shim], folder),
        "the first training step, `experiment=smoke`": lambda: seconds([sys.executable, "-c", FIRST_STEP], folder),
        "all of `aectl train experiment=smoke`": lambda: seconds([*python, "train", "experiment=smoke"], folder),
    }
    found = {name: statistics.median(values) for name, values in median_of(measure, rounds, "starting").items()}
    rows = [(name, f"{value:.2f}") for name, value in found.items()]
    ratio = found["the first training step, `experiment=smoke`"] / found["`import torch, torchvision`"]
    verdict = "reached" if ratio <= 1.3 else "missed"
    return (
        tables.markdown(("until", "seconds"), rows)
        + f"\n\nThe first step comes after {ratio:.2f} times the two imports (goal 1.3: {verdict})."
    )


# -------------------------------------------------------------------------------------------- sweeping


def sweeping(rounds: int, folder: Path) -> str:
    """A sweep of eight jobs side by side against one after another."""
    command = [
        sys.executable,
        "-m",
        "aectl",
        "train",
        "-m",
        "latent=2,4,8,16",
        "seed=0,1",
        "epochs=20",
        "figures_every=0",
    ]
    measure = {
        "side by side": lambda: seconds(command, folder),
        "one after another, all cores each": lambda: seconds([*command, "hydra/launcher=basic"], folder),
    }
    found = {name: statistics.median(values) for name, values in median_of(measure, rounds, "sweeps").items()}
    side, one = found.values()
    verdict = "reached" if one / side >= 1.7 else "missed"
    return (
        tables.markdown(("eight jobs of 20 epochs, mnist5k", "seconds"), [(n, f"{v:.1f}") for n, v in found.items()])
        + f"\n\nSide by side is {one / side:.2f} times as fast (goal 1.7: {verdict})."
    )


# --------------------------------------------------------------------------------------------- scaling


def run_of(folder: Path, *overrides: str) -> tuple[float, float]:
    """Images per second of a run's second epoch, and the process's peak memory in MiB."""
    where = Path(tempfile.mkdtemp(dir=folder))
    command = [sys.executable, "-m", "aectl", "train", "epochs=2", "batch_size=128", "figures_every=0", *overrides]
    with (where / "log").open("w") as log:
        child = subprocess.Popen(
            [*command, f"hydra.run.dir={where / 'run'}"], cwd=folder, env=environment(), stdout=log, stderr=log
        )
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit((where / "log").read_text()[-2000:])
    last = json.loads((where / "run/metrics.jsonl").read_text().splitlines()[-1])
    shutil.rmtree(where)
    return last["images_per_s"], usage.ru_maxrss / 1024


def scaling(rounds: int, folder: Path) -> str:
    """Throughput and memory against the size of everything."""
    base = "dataset=synthetic"
    cases = {
        "4,000 images, latent 2, widths 300-300": (base, "dataset.synthetic_size=4400"),
        "40,000 images, drawn in memory": (base, "dataset.synthetic_size=40400"),
        "latent 64": (base, "dataset.synthetic_size=4400", "latent=64"),
        "latent 256": (base, "dataset.synthetic_size=4400", "latent=256"),
        "widths 100-100": (base, "dataset.synthetic_size=4400", "network.hidden=[100,100]"),
        "widths 1000-1000": (base, "dataset.synthetic_size=4400", "network.hidden=[1000,1000]"),
        "network=conv": (base, "dataset.synthetic_size=4400", "network=conv"),
        "network=conv precision=bf16": (base, "dataset.synthetic_size=4400", "network=conv", "precision=bf16"),
    }
    memory: dict[str, float] = {}

    def one(name: str) -> float:
        speed, memory[name] = run_of(folder, *cases[name])
        return speed

    found = median_of({name: lambda name=name: one(name) for name in cases}, rounds, "scaling")
    rows = [(name, f"{statistics.median(values):,.0f}", f"{memory[name]:,.0f}") for name, values in found.items()]
    return tables.markdown(("VAE on drawn shapes, batch 128", "images/s", "peak memory (MiB)"), rows)


def evaluating(rounds: int, folder: Path) -> str:
    """`aectl eval` with and without the importance-weighted bound, on 500 digits."""
    aectl = [sys.executable, "-m", "aectl"]
    subprocess.run(
        [*aectl, "train", "epochs=2", "figures_every=0"],
        cwd=folder,
        env=environment(),
        check=True,
        capture_output=True,
    )
    measure = {
        "`aectl eval`": lambda: seconds([*aectl, "eval"], folder),
        "`aectl eval nll_samples=1000`": lambda: seconds([*aectl, "eval", "nll_samples=1000"], folder),
    }
    found = {name: statistics.median(values) for name, values in median_of(measure, rounds, "evaluating").items()}
    plain, bound = found.values()
    return (
        tables.markdown(("lecture's VAE, 500 digits", "seconds"), [(n, f"{v:.1f}") for n, v in found.items()])
        + f"\n\nThe bound takes {500 * 1000 / (bound - plain):,.0f} draws of z per second, from code to score."
    )


BUSY = [sys.executable, "-c", "while True: pass"]


def beside(rounds: int, folder: Path) -> str:
    """Images per second of the default on an idle machine and beside a busy process, and of other ways to wait."""
    cores = os.cpu_count() or 1
    ways: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
        "default": ((), {}),
        f"threads={cores}": ((f"threads={cores}",), {}),
        "threads=1": (("threads=1",), {}),
        f"threads={cores}, OMP_WAIT_POLICY=passive": ((f"threads={cores}",), {"OMP_WAIT_POLICY": "passive"}),
    }

    def rate(name: str, busy: int) -> float:
        overrides, env = ways[name]
        where = Path(tempfile.mkdtemp(dir=folder))
        others = [subprocess.Popen(BUSY) for _ in range(busy)]
        try:
            command = [sys.executable, "-m", "aectl", "train", "epochs=10", "figures_every=0", *overrides]
            seconds([*command, f"hydra.run.dir={where}/run"], folder, env)
        finally:
            for one in others:
                one.kill()
        records = [json.loads(line) for line in (where / "run/metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(where)
        return statistics.median(record["images_per_s"] for record in records[1:])

    columns = []
    for busy, what in enumerate(("idle", "one busy process")):
        found = median_of({name: lambda n=name, b=busy: rate(n, b) for name in ways}, rounds, what)
        columns.append({name: statistics.median(values) for name, values in found.items()})
    idle, busy = columns
    rows = [(name, f"{idle[name]:,.0f}", f"{busy[name]:,.0f}") for name in ways]
    kept = idle["default"] / idle[f"threads={cores}"]
    best = busy["default"] / max(value for name, value in busy.items() if name not in ("default", f"threads={cores}"))
    return (
        tables.markdown(("lecture's VAE, batch 32: images/s", "idle machine", "one busy process beside"), rows)
        + f"\n\nThe default makes {kept:.2f} of what all cores' threads make on the idle machine (goal 0.97: "
        f"{'reached' if kept >= 0.97 else 'missed'}), and beside a busy process {best:.2f} of the better of the last "
        f"two (goal 0.8: {'reached' if best >= 0.8 else 'missed'})."
    )


SECTIONS: dict[str, Callable[[int, Path], str]] = {
    "Training": training, "A step": anatomy, "Beside other processes": beside, "Starting": starting,
    "Sweeps": sweeping, "Size": scaling, "Evaluation": evaluating,
}  # fmt: skip


def main() -> None:
    """Measure every section, or those named, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"{min(unknown)}: choose from {', '.join(SECTIONS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts = written(given.out) if given.sections else {}
        for title in given.sections or SECTIONS:
            parts[title] = f"{measured_on(given.rounds)}\n\n{SECTIONS[title](given.rounds, folder)}"
            given.out.write_text(page(parts))
    print(f"written: {given.out}")


def written(path: Path) -> dict[str, str]:
    """What an earlier page has under each title, so that one section can be measured anew."""
    chunks = path.read_text().split("\n## ")[1:] if path.is_file() else []
    return {title: text.strip().split("\n\n", 1)[1] for title, _, text in (chunk.partition("\n") for chunk in chunks)}


def measured_on(rounds: int) -> str:
    """Where a section was measured, and how often."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"Medians of {rounds} rounds on {facts.processor()}, {versions}, no GPU:"


def page(parts: dict[str, str]) -> str:
    """The whole page; each section under its title with what it means."""
    parts = {title: parts[title] for title in SECTIONS if title in parts}
    head = (
        "# Performance\n\nWritten by `make bench` (`benchmarks/speed.py`). In each round everything that is compared "
        "runs in turn. Absolute figures are the machine's that a section names; ratios travel better."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{MEANING[title]}\n\n{text}" for title, text in parts.items())]) + "\n"


MEANING = {
    "Training": "The lecture's VAE (784-300-300-2, binary cross-entropy, Adam) on 30,000 digits, the same in each "
    "program (`benchmarks/contenders.py`). aectl is its own `train` as by default, with the check of every gradient "
    "for NaN in every step; the last column has in its time also the ends of aectl's epochs, which the others do not "
    "have: validation of 2,500 images, curves, a checkpoint that is read back, and pictures in every fifth. The "
    "goals were set on another processor, with AMX.",
    "A step": "Parts of the same step (`benchmarks/step.py`), each on its own and warm. What the bare loop takes "
    "beyond products and Adam is some sixty small operations, Python, and weights that Adam's pass has driven from "
    "the cache. What aectl takes beyond it is the sum of every gradient for the check, random numbers by key, and "
    "scores of each image instead of the batch alone.",
    "Beside other processes": "The default takes as many threads as have a core to themselves, and looks again while "
    "it computes (`aectl/machine/threads.py`).",
    "Starting": "From the shell's return key, with files in the disk cache.",
    "Sweeps": "Whole commands, start and pictures included.",
    "Size": "Images per second in the second epoch of two.",
    "Evaluation": "Whole commands, start, baselines and figures included.",
}

if __name__ == "__main__":
    main()
