"""Reproduce published results: train and measure the presets of configs/experiment/published/, row by row.

    make reproduce                            rows 1 to 12, three seeds each: a day on one core
    make reproduce ROWS="16 17"               which picture is odd: one digit alone; clothes and digits
    make reproduce ROWS="2 7 8" SEEDS="0 1"   some rows, some seeds
    make reproduce ROWS=24 PHOTOGRAPHS="a b"  a lossy codec: photographs to train on, and others
    make reproduce ROWS=2 FRESH=1             train again what is finished already

A run that was interrupted is continued, a finished one is only read. Runs are in outputs/published/<preset>/; what
they reached is written to docs/results.json and, as a page, to docs/results.md. Rows need all of MNIST or
Fashion-MNIST (AECTL_DATA, else the user's cache folder; downloaded there if absent). CPU minutes are those of the
whole process and of all its continuations.
"""

import argparse
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import codec
import numpy as np
import odd
import packed
import torch
import yaml
from results_page import PAGE, ROOT, read_results, write_results
from rows import ENOUGH, ROWS, Result, Row

from aectl import __version__, storage
from aectl.data.datasets.like_mnist import Mnist
from aectl.data.split import build_dataset

RUNS = Path("outputs/published")
ALL_DIGITS = RUNS / "mnist_all_70000.npz"
PATHS = ("dataset.root", "data.root")  # where files lie, which changes no result


def run_seed(row: Row, seed: int, fresh: bool) -> Result:
    """Train what is not trained, measure what is not measured, and return what docs/results.json keeps of it."""
    run_dir = RUNS / row.preset / f"seed{seed}"
    eval_dir, costs = run_dir.with_name(f"seed{seed}-eval"), run_dir.with_name(f"seed{seed}.costs")
    train, measure = commands(row, seed)
    if fresh:
        for folder in (run_dir, eval_dir):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (costs, run_dir.with_name(f"seed{seed}-packed.json")):
            file.unlink(missing_ok=True)
    if row.all_digits and not ALL_DIGITS.is_file():
        write_all_digits()
    run_dir.parent.mkdir(parents=True, exist_ok=True)
    if run_dir.is_dir():
        refuse_another(run_dir, train)
    if not (run_dir / "result.json").is_file():
        begun = any(run_dir.glob("checkpoints/step-*"))
        call(["train", f"resume={run_dir}"] if begun else [*train, f"hydra.run.dir={run_dir}"], costs)
        shutil.rmtree(eval_dir, ignore_errors=True)
    result = json.loads((run_dir / "result.json").read_text())
    metrics: Result = {}
    if measure is not None:
        if not (eval_dir / "metrics.json").is_file():
            call([*measure, f"run={run_dir}", f"hydra.run.dir={eval_dir}"], costs)
        metrics = json.loads((eval_dir / "metrics.json").read_text())
    if row.packed:
        metrics |= packed.measured(run_dir, lambda words: call(words, costs))
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    return kept(row, config, result, metrics, read_costs(costs))


def commands(row: Row, seed: int) -> tuple[list[str], list[str] | None]:
    """A seed's two commands, as lists of words without the program's name."""
    train = ["train", f"experiment=published/{row.preset}", f"seed={seed}"]
    train += [f"dataset.root={ALL_DIGITS}"] if row.all_digits else []
    return train, None if row.measure is None else ["eval", *row.measure]


def write_all_digits() -> None:
    """MNIST's 60,000 and 10,000 images, in their order, as one file."""
    split = build_dataset(Mnist(val_size=0), None)
    parts = (split.train, split.test)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        images=np.concatenate([part.pixels[:, 0].numpy() for part in parts]),
        labels=np.concatenate([part.labels.numpy() for part in parts]),
    )
    ALL_DIGITS.parent.mkdir(parents=True, exist_ok=True)
    storage.replace(ALL_DIGITS, buffer.getvalue())


def refuse_another(run_dir: Path, train: Sequence[str]) -> None:
    """End where the run was trained by other settings than the command's, such as those of an older preset."""
    saved = run_dir / "config.yaml"
    if not saved.is_file():
        return
    composed = subprocess.run(
        [sys.executable, "-m", "aectl", *train, "--cfg", "job"], capture_output=True, text=True, check=True
    )
    before, now = (flat(yaml.safe_load(text)) for text in (saved.read_text(), composed.stdout))
    other = [key for key in before.keys() & now.keys() if before[key] != now[key] and key not in PATHS]
    if other:
        key = min(other)
        sys.exit(
            f"{run_dir}: was trained with {key}={before[key]}, the preset has {now[key]}; move it away, or FRESH=1"
        )


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, `noise.sigma` style."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def call(words: Sequence[str], costs: Path) -> None:
    """Run `aectl` with these words, note its CPU time in `costs`; end with its exit code if it fails."""
    print(f"\n$ aectl {' '.join(words)}", flush=True)
    storage.append(costs, json.dumps({"began": words[0]}))
    before = os.times()
    try:
        status = subprocess.call([sys.executable, "-m", "aectl", *words])
    except KeyboardInterrupt:  # aectl has had the signal as well, and has saved
        status = 130
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    line = {"ended": words[0], "cpu_seconds": round(seconds, 1), "status": status}
    storage.append(costs, json.dumps(line))
    if status:
        sys.exit(status)


def read_costs(costs: Path) -> dict[str, Any]:
    """CPU minutes by command, over all continuations, and whether one ended without being counted."""
    lines = [json.loads(line) for line in costs.read_text().splitlines()]
    spent: dict[str, float] = {}
    for line in lines:
        if "ended" in line:
            spent[line["ended"]] = spent.get(line["ended"], 0.0) + line["cpu_seconds"] / 60
    unmeasured = sum("began" in line for line in lines) > sum("ended" in line for line in lines)
    return {"cpu_minutes": {name: round(value, 2) for name, value in spent.items()}, "at_least": unmeasured}


def kept(row: Row, config: Result, result: Result, metrics: Result, costs: Result) -> Result:
    """What docs/results.json has of a seed."""
    found = {
        "values": [figure.value(result, metrics) for figure in row.figures],
        "setting": setting(config, result),
        "epochs": result["epochs"],
        "measured": measured(result, metrics),
        **costs,
        "aectl": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    if "nll" in metrics:
        names = ("samples", "se_images", "se_draws", "effective_samples")
        found["nll"] = {name: metrics[f"nll_{name}"] for name in names}
    return found


def setting(config: Result, result: Result) -> str:
    """Images, binarization, batch, schedule and threads, in one line."""
    sizes, schedule = result["sizes"], config["schedule"]["name"]
    threads = config["threads"] or torch.get_num_threads()
    parts = [
        f"{sizes['train']:,} training, {sizes['val']:,} validation and {sizes['test']:,} test images",
        f"binarization {config['dataset']['binarize']}",
        f"batch {config['batch_size']}, Adam {config['lr']:g}, {schedule}",
        config["precision"],
        f"{threads} thread{'s' if threads > 1 else ''}",
    ]
    return "; ".join(parts)


def measured(result: Result, metrics: Result) -> str:
    """Which epoch's figures these are, and why."""
    if not metrics:
        return f"training batches of epoch {result['best_epoch']}"
    if metrics["epoch_chosen_by"].startswith("none"):
        return "last epoch"
    return f"epoch {metrics['epoch']}, by {metrics['epoch_chosen_by']}"


def main() -> None:
    """Run the chosen rows and seeds, and write the two files after each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, help="numbers of rows; all without any")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(ENOUGH)), help="0 1 2 without any")
    parser.add_argument("--fresh", action="store_true", help="train again what is finished already")
    parser.add_argument("--photographs", nargs=2, type=Path, metavar=("TRAIN", "OTHERS"), help="folders, for row 24")
    args = parser.parse_args()
    known = sorted({*(row.number for row in ROWS), *odd.ROWS, codec.NUMBER})
    unknown = sorted(set(args.rows) - set(known))
    if unknown:
        parser.error(f"no row {unknown[0]}; there are {known[0]} to {known[-1]}")
    for row in ROWS:
        if args.rows and row.number not in args.rows:
            continue
        for seed in args.seeds:
            found = run_seed(row, seed, args.fresh)
            results = read_results()  # another such process may have written in the meantime
            seeds = results.setdefault("rows", {}).setdefault(row.preset, {})
            seeds[str(seed)] = found
            results["rows"][row.preset] = dict(sorted(seeds.items(), key=lambda item: int(item[0])))
            write_results(results)
    for number, measure in odd.ROWS.items():
        if number in args.rows:
            for seed in args.seeds:
                found = measure(seed, call)
                results = read_results()
                results.setdefault(measure.__name__, {})[str(seed)] = found
                write_results(results)
    if codec.NUMBER in args.rows:
        if args.photographs is None:
            parser.error('row 24 needs photographs to train on, and others: PHOTOGRAPHS="<folder> <folder>"')
        found = codec.measured(*args.photographs, ROOT / "docs/compression", call)
        write_results({**read_results(), "codec": found})
    print(f"\n{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
