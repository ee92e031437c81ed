"""Speed, beside other programs and on its own, into docs/performance.md: `make bench`.

Everything that is compared runs in turn, round after round, in processes of its own; figures are medians over the
rounds, and ratios are ratios of medians, but in the section Training, which has them within each round. pythae and
Lightning live in an environment of their own, which is made in .venv-bench when it is missing. About 25 minutes on
two cores; nothing else should run beside it.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import batched
import performance_page
import training
from performance_page import Section
from timing import AECTL, beside, environment, in_turn, save_images, script, seconds

from aectl.files import tables
from aectl.machine import devices


def medians(found: dict[str, list[float]]) -> dict[str, float]:
    """Of each of the things that were measured in turn."""
    return {name: statistics.median(values) for name, values in found.items()}


def anatomy(given: Namespace, folder: Path) -> str:
    """Where the time of a step goes."""
    path = save_images(folder)
    found = [script("step.py", path, batch, 3 * given.rounds) for batch in training.BATCHES]
    rows = [(name, *(f"{one[name]:,.0f}" for one in found)) for name in found[0]]
    return tables.markdown(("in turn in one process", *(f"batch {batch}: µs" for batch in training.BATCHES)), rows)


# As the command does, it looks at the clock before torch is imported, and so need not wait to see what others take.
FIRST_STEP = """
import os
import aectl.machine.load
from aectl.training.adam import Adam
step = Adam.step
Adam.step = lambda *given: (step(*given), os._exit(0))
from aectl.cli.main import main
main(["train", "experiment=smoke"])
"""


def starting(given: Namespace, folder: Path) -> str:
    """Seconds to the first sign of life of several kinds."""
    shim = "import torch; import aectl.data.datasets._torchvision, torchvision"
    complete = {"COMP_LINE": "aectl tr"}
    deeper = {"COMP_LINE": "aectl train model=v"}
    measure = {
        "`aectl --help`": lambda: seconds([*AECTL, "--help"], folder),
        "TAB after `aectl tr`": lambda: seconds([*AECTL, "-sc", "query=bash"], folder, complete),
        "TAB after `aectl train model=v`": lambda: seconds([*AECTL, "-sc", "query=bash"], folder, deeper),
        "`aectl train --help`": lambda: seconds([*AECTL, "train", "--help"], folder),
        "`import torch, torchvision`": lambda: seconds([sys.executable, "-c", shim], folder),
        "the first training step, `experiment=smoke`": lambda: seconds([sys.executable, "-c", FIRST_STEP], folder),
        "all of `aectl train experiment=smoke`": lambda: seconds([*AECTL, "train", "experiment=smoke"], folder),
    }
    found = medians(in_turn(measure, given.rounds, "starting"))
    rows = [(name, f"{value:.2f}") for name, value in found.items()]
    ratio = found["the first training step, `experiment=smoke`"] / found["`import torch, torchvision`"]
    verdict = "reached" if ratio <= 1.3 else "missed"
    return (
        tables.markdown(("until", "seconds"), rows)
        + f"\n\nThe first step comes after {ratio:.2f} times the two imports (goal 1.3: {verdict})."
    )


def sweeping(given: Namespace, folder: Path) -> str:
    """Sweeps of eight jobs, batched, side by side and one after another."""
    command = [*AECTL, "train", "-m", "epochs=20", "figures_every=0"]
    sweeps = {"`latent=2,4,8,16 seed=0,1`": ("latent=2,4,8,16", "seed=0,1"), "`seed=range(8)`": ("seed=range(8)",)}
    launchers = {"one after another": "basic", "side by side": "joblib", "batched": "batched"}

    def one(swept: str, launcher: str) -> float:
        own = () if launchers[launcher] == "basic" else (f"hydra.launcher.n_jobs={os.cpu_count()}",)
        return seconds([*command, *sweeps[swept], f"hydra/launcher={launchers[launcher]}", *own], folder)

    # Four sizes of the code make four crews of two runs each, which is the least that a crew can gain.
    found = {
        swept: in_turn({name: lambda s=swept, n=name: one(s, n) for name in launchers}, given.rounds, swept)
        for swept in sweeps
    }
    rows = []
    for swept, of in found.items():
        ratios = [paired(of["one after another"], of[name]) for name in ("side by side", "batched")]
        rows.append((swept, *(f"{statistics.median(of[name]):.1f}" for name in launchers), *ratios))
    header = ("eight jobs of 20 epochs, mnist5k: seconds", *launchers, "gain side by side", "gain batched")
    return tables.markdown(header, rows)


def paired(these: Sequence[float], those: Sequence[float]) -> str:
    """The median of the ratios within a round."""
    return f"{statistics.median(one / other for one, other in zip(these, those, strict=True)):.2f}"


def run_of(folder: Path, *overrides: str) -> tuple[float, float]:
    """Images per second of a run's second epoch, and the process's peak memory in MiB."""
    where = Path(tempfile.mkdtemp(dir=folder))
    command = [*AECTL, "train", "epochs=2", "batch_size=128", "figures_every=0", *overrides]
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


def scaling(given: Namespace, folder: Path) -> str:
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
    }
    if devices.bf16_instructions():
        cases["network=conv precision=bf16"] = (*cases["network=conv"], "precision=bf16")
    memory: dict[str, float] = {}

    def one(name: str) -> float:
        speed, memory[name] = run_of(folder, *cases[name])
        return speed

    found = medians(in_turn({name: lambda name=name: one(name) for name in cases}, given.rounds, "scaling"))
    rows = [(name, f"{value:,.0f}", f"{memory[name]:,.0f}") for name, value in found.items()]
    return tables.markdown(("VAE on drawn shapes, batch 128", "images/s", "peak memory (MiB)"), rows)


GOALS_OF_A_RUN = {"whole": 1.35, "ends": 0.95}  # at most the first, at least the second


def whole_run(given: Namespace, folder: Path) -> str:
    """A whole run beside its own steps, and its epochs' ends without pictures beside its steps."""
    steps: list[float] = []

    def once(what: str) -> float:
        where = Path(tempfile.mkdtemp(dir=folder)) / "run"
        plain = () if what == "whole" else ("figures_every=0", "explore=false")
        env = {"PYTHONDONTWRITEBYTECODE": ""}  # or everything would be compiled anew in each run
        took = seconds([*AECTL, "train", "epochs=20", *plain, f"hydra.run.dir={where}"], folder, env)
        if what == "whole":
            steps.append(json.loads((where / "result.json").read_text())["seconds"])
            return took / steps[-1]
        told = [line[:23] for line in (where / "train.log").read_text().splitlines() if " INFO epoch " in line]
        first, last = (datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f") for at in (told[0], told[-1]))
        records = [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]
        alone = sum(TRAINED_ON / record["images_per_s"] for record in records[1:])
        return alone / (last - first).total_seconds()

    found = medians(in_turn({what: lambda w=what: once(w) for what in GOALS_OF_A_RUN}, given.rounds, "a whole run"))
    whole, ends = found.values()
    met = [whole <= GOALS_OF_A_RUN["whole"], ends >= GOALS_OF_A_RUN["ends"]]
    words = [
        f"{goal}: {'reached' if one else 'missed'}" for goal, one in zip(GOALS_OF_A_RUN.values(), met, strict=True)
    ]
    rows = [
        ("the run's steps alone, s", f"{statistics.median(steps):.1f}", ""),
        ("the whole command / its steps", f"{whole:.2f}", words[0]),
        ("steps alone / steps with epochs' ends", f"{ends:.3f}", words[1]),
    ]
    return tables.markdown(("20 epochs of 4,000 digits, batch 32", "median", "goal"), rows)


TRAINED_ON = 4000  # images of mnist5k
FEW_EPOCHS = (*AECTL, "train", "epochs=2", "figures_every=0")


def evaluating(given: Namespace, folder: Path) -> str:
    """`aectl eval` with and without the importance-weighted bound, on 500 digits."""
    seconds(FEW_EPOCHS, folder)
    measure = {
        "`aectl eval`": lambda: seconds([*AECTL, "eval"], folder),
        "`aectl eval nll_samples=1000`": lambda: seconds([*AECTL, "eval", "nll_samples=1000"], folder),
    }
    found = medians(in_turn(measure, given.rounds, "evaluating"))
    plain, bound = found.values()
    return (
        tables.markdown(("lecture's VAE, 500 digits", "seconds"), [(n, f"{v:.1f}") for n, v in found.items()])
        + f"\n\nThe bound takes {500 * 1000 / (bound - plain):,.0f} draws of z per second, from code to score."
    )


def bounding(given: Namespace, folder: Path) -> str:
    """`aectl eval nll_samples=5000` on the 10,000 test images of MNIST, found or downloaded as ever."""
    settings = ("dataset=mnist", "dataset.binarize=dynamic", "latent=40", "epochs=2", "figures_every=0")
    seconds([*AECTL, "train", *settings, "network.hidden=[300,300]"], folder)
    took = statistics.median(seconds([*AECTL, "eval", "nll_samples=5000"], folder) for _ in range(given.rounds))
    verdict = "reached" if took <= GOAL_OF_THE_BOUND else "missed"
    return f"It takes {took:.0f} s (goal {GOAL_OF_THE_BOUND}: {verdict}), {5e7 / took:,.0f} draws of z per second."


GOAL_OF_THE_BOUND = 300  # seconds
NEIGHBOURS = {"idle machine": 0, "one busy process beside": 1, "two busy processes beside": 2}


def training_beside(given: Namespace, folder: Path) -> str:
    """Images per second of the default on an idle machine and beside busy processes, and of other ways to wait."""
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
        with beside(busy):
            command = [*AECTL, "train", "epochs=10", "figures_every=0", *overrides]
            seconds([*command, f"hydra.run.dir={where}/run"], folder, env)
        records = [json.loads(line) for line in (where / "run/metrics.jsonl").read_text().splitlines()]
        shutil.rmtree(where)
        return statistics.median(record["images_per_s"] for record in records[1:])

    columns = {
        what: medians(in_turn({name: lambda n=name, b=busy: rate(n, b) for name in ways}, given.rounds, what))
        for what, busy in NEIGHBOURS.items()
    }
    idle, busy, _ = columns.values()
    rows = [(name, *(f"{column[name]:,.0f}" for column in columns.values())) for name in ways]
    kept = idle["default"] / idle[f"threads={cores}"]
    best = busy["default"] / max(value for name, value in busy.items() if name not in ("default", f"threads={cores}"))
    return (
        tables.markdown(("lecture's VAE, batch 32: images/s", *columns), rows)
        + f"\n\nThe default makes {kept:.2f} of what all cores' threads make on the idle machine (goal 0.97: "
        f"{'reached' if kept >= 0.97 else 'missed'}), and beside a busy process {best:.2f} of the better of the last "
        f"two (goal 0.8: {'reached' if best >= 0.8 else 'missed'})."
    )


def evaluating_beside(given: Namespace, folder: Path) -> str:
    """Seconds of a whole `aectl eval` with several numbers of threads, beside busy processes."""
    seconds(FEW_EPOCHS, folder)
    ways = {"default": (), "threads=1": ("threads=1",), "threads=2": ("threads=2",)}

    def one(name: str, busy: int) -> float:
        with beside(busy):
            return seconds([*AECTL, "eval", *ways[name]], folder)

    columns = {
        what: medians(in_turn({name: lambda n=name, b=busy: one(n, b) for name in ways}, given.rounds, what))
        for what, busy in NEIGHBOURS.items()
    }
    rows = [(name, *(f"{column[name]:.1f}" for column in columns.values())) for name in ways]
    return tables.markdown(("`aectl eval`, 500 digits: seconds", *columns), rows)


# 2,000 photographs' worth of pixels, made once: what takes the time is JPEG, so anything with detail will do.
PHOTOGRAPHS = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
folder.mkdir()
for number in range(2000):
    coarse = rng.integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(folder / f"{number:04d}.jpg")
"""
DECODE = """
import sys, time
import aectl.machine.load
from aectl.cli.composing import composed
from aectl.data.split import build_dataset
settings = composed("train", "dataset=folder", f"dataset.root={sys.argv[1]}", "dataset.size=64")
began = time.perf_counter()
build_dataset(settings.dataset, None)
print(time.perf_counter() - began)
"""


def decoding_beside(given: Namespace, folder: Path) -> str:
    """Pictures per second, from JPEG files to a data set, beside busy processes."""
    seconds([sys.executable, "-c", PHOTOGRAPHS, str(folder / "photographs")], folder)

    def rate(busy: int) -> float:
        with beside(busy), tempfile.TemporaryDirectory(dir=folder) as cache:
            env = {**environment(), "AECTL_CACHE": cache}
            command = [sys.executable, "-c", DECODE, str(folder / "photographs")]
            return 2000 / float(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)

    found = medians(in_turn({what: lambda b=busy: rate(b) for what, busy in NEIGHBOURS.items()}, given.rounds, ""))
    rows = [("pictures/s", *(f"{value:,.0f}" for value in found.values()))]
    return tables.markdown(("2,000 JPEGs of 640×480 to 64×64", *found), rows)


SECTIONS = {
    "Training": Section(training.MEANING, training.section),
    "A step": Section(
        "Parts of the same step (`benchmarks/step.py`), each on its own and warm. What the bare loop takes beyond "
        "products and Adam is some sixty small operations, Python, and weights that Adam's pass has driven from the "
        "cache. What aectl takes beyond it is the sum of every gradient for the check, random numbers by key, and "
        "scores of each image instead of the batch alone.",
        anatomy,
    ),
    "Beside other processes": Section(
        "The default takes as many threads as have a core to themselves, and looks again while it computes "
        "(`aectl/machine/threads.py`).",
        training_beside,
    ),
    "A whole run": Section(
        "`aectl train epochs=20` from the shell's return key to its end: start, validation, checkpoints, pictures "
        "and the explorer's page, beside the seconds of its steps alone; and its epochs' ends by themselves: "
        "validation, curves, and a checkpoint that is written and read back while the next steps are taken.",
        whole_run,
    ),
    "Starting": Section("From the shell's return key, with files in the disk cache.", starting),
    "Many models in one step": Section(batched.MEANING, batched.section),
    "Sweeps": Section("Whole commands, start and pictures included.", sweeping),
    "Size": Section("Images per second in the second epoch of two.", scaling),
    "Evaluation": Section("Whole commands, start, baselines and figures included.", evaluating),
    "The bound": Section(
        "All of `aectl eval nll_samples=5000` for a 784-300-300-40 VAE on 10,000 images of MNIST.", bounding
    ),
    "Evaluation beside a busy process": Section("Whole commands.", evaluating_beside),
    "Decoding beside a busy process": Section(
        "A folder of pictures becomes a data set: found, hashed, decoded in a thread for each core, made smaller, "
        "and written into the cache.",
        decoding_beside,
    ),
}


UNASKED = [title for title in SECTIONS if title != "The bound"]  # which needs MNIST, and six minutes


def main() -> None:
    """Measure every section but the bound's, or those named, and write the page."""
    parser = performance_page.options(__doc__.partition("\n")[0], rounds=5)
    parser.add_argument("--without-others", action="store_true", help="no pythae and no Lightning: no .venv-bench")
    parser.add_argument("sections", nargs="*", metavar="section", help=", ".join(SECTIONS))
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"{min(unknown)}: choose from {', '.join(SECTIONS)}")

    def command(title: str) -> str:
        without = " --without-others" if given.without_others and title == "Training" else ""
        return f"python benchmarks/speed.py --rounds {given.rounds}{without} {shlex.quote(title)}"

    performance_page.write({title: SECTIONS[title] for title in given.sections or UNASKED}, given, command)


if __name__ == "__main__":
    main()
