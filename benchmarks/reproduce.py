"""Reproduce published results: train and measure the presets of configs/experiment/published/, row by row.

    make reproduce                  every row, one after another (half a day on two cores)
    make reproduce ROWS="2 7 8"     some of them
    make reproduce ROWS=2 FRESH=1   train again what is finished already

A row that was interrupted is gone on with, a finished one is only read. Each run is in outputs/published/, and what
they reached is written to docs/results.json and, as a table, to docs/results.md. Rows need all of MNIST or
Fashion-MNIST (AECTL_DATA, else the user's cache folder; downloaded there if absent).
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).resolve().parent.parent
RUNS = Path("outputs/published")
RESULTS = ROOT / "docs/results.json"
PAGE = ROOT / "docs/results.md"

Result = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One published number: how ours is read from a run's result.json and metrics.json, and what is accepted."""

    name: str
    published: str
    middle: float | None
    accept: tuple[float, float]
    value: Callable[[Result, Result], float]
    beat: float | None = None  # better than this is beyond; below it, or above it where `higher`
    higher: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the table: a preset, how it is measured, its figures, and what is to be said of it."""

    number: int
    title: str
    preset: str
    source: str
    figures: tuple[Figure, ...]
    measure: tuple[str, ...] | None = None  # arguments of `aectl eval`; None where the run itself says all
    remark: str = ""


def _metric(name: str) -> Callable[[Result, Result], float]:
    return lambda result, metrics: metrics[name]


LAST = ("checkpoint=last",)
NLL = ("nll_samples=5000",)
# The course normalises pixels by MNIST's standard deviation 0.3081: squared errors grow by 1/0.3081² = 10.53.
NORMALISED = 10.53
BCE = Figure("BCE per pixel", "0.18–0.23", None, (0.18, 0.23), lambda result, metrics: result["train/recon"] / 784)
KL = Figure("KL", "3.6–4.4", None, (3.6, 4.4), lambda result, metrics: result["train/kl"])


def _squared_error(result: Result, metrics: Result) -> float:
    """The normalised pixels' mean squared error from −log N at σ = 1, which is ½·SSE + 784·½·log 2π."""
    return NORMALISED * 2 * (result["train/recon"] / 784 - 0.9189385)


def _nll(published: str, middle: float, accept: tuple[float, float], beat: float) -> tuple[Figure]:
    return (Figure("NLL₅₀₀₀", published, middle, accept, _metric("nll"), beat),)


ROWS = [
    Row(1, "deep AE, MNIST", "row1_deep_ae", "Hinton & Salakhutdinov, Science 2006",
        (Figure("SSE", "3.00", 3.00, (0, 3.00), _metric("sse"), 2.6),), LAST,
        "Linear outputs and ReLU stood at 4.11 after 40 epochs from PyTorch's start and at 3.61 after 80 from "
        "Glorot's. The sigmoid, ELU and 100 epochs of twice the learning rate learn the training images to 1.3 but "
        "reach 3.01 on the test images; the weight decay closes the gap."),
    Row(2, "pytorch/examples VAE, MNIST", "row2_pytorch_example_vae", "README of pytorch/examples",
        (Figure("grey BCE + KL", "105.6", 105.6, (104.9, 106.3), _metric("loss")),), LAST),
    Row(3, "2-D convolutional VAE, MNIST", "row3_keras_conv_vae", "keras-io example",
        (Figure("grey BCE + KL, training average", "146.95", 146.95, (145.45, 148.45),
                lambda result, metrics: result["train/loss"], 145),),
        remark="Keras' network and start, with a ReLU that leaks 0.01. With a plain one units of the 16-wide layer "
        "die for good: the same from 2e-3 stood at 150.3 after 28 of 35 epochs, and PyTorch's own start at 1e-3 at "
        "156.4 after 20. The figure is the average over the last epoch's training batches."),
    Row(4, "VAE, dynamic MNIST", "row4_vae_dynamic_mnist", "Tomczak & Welling, AISTATS 2018",
        _nll("84.45 ± 0.12", 84.45, (83.95, 84.95), 83.4), NLL,
        "The paper keeps its learning rate for up to 2,000 epochs; three steps down replace that. The run was "
        "stopped once, before the first of them, was given them, and was resumed."),
    Row(5, "VAE, dynamic Fashion-MNIST", "row5_vae_dynamic_fashion", "Norouzi et al., NeurIPS 2020",
        _nll("228.70 ± 0.15", 228.70, (228.20, 229.20), 227.35), NLL,
        "The same schedule as in row 4, given in the same way."),
    Row(6, "one-layer VAE, dynamic MNIST", "row6_iwae_paper_vae", "Burda et al., ICLR 2016, Table 1",
        _nll("86.76", 86.76, (0, 88.3), 86.8), (*LAST, *NLL),
        "The paper trains for 3,280 epochs in batches of 20 with eight steps down of the learning rate."),
    Row(7, "the lecture's AE", "row7_lecture_ae", "the course's exercise 1",
        (Figure("MSE on normalised pixels", "0.38–0.48", None, (0.38, 0.48), _squared_error),)),
    Row(8, "the lecture's VAE, std", "row8_lecture_vae_std", "the course's exercise 2", (BCE, KL)),
    Row(8, "the lecture's VAE, logvar", "row8_lecture_vae_logvar", "the course's exercise 2", (BCE, KL)),
    Row(9, "DAE, Gaussian σ = 0.5, MNIST", "row9_dae_gaussian", "linear 17.72; a public README 20.18",
        (Figure("PSNR, dB", "20.18", 20.18, (20.2, 99), _metric("psnr_denoised"), 21.5, higher=True),), (),
        "The set-up allows 15 minutes: two quiet cores (`threads=2`) make 643 images/s, 10 epochs in 13 minutes. 14 "
        "epochs, over 18 minutes, reached 21.51."),
]  # fmt: skip


def run_row(row: Row, fresh: bool) -> Result:
    """Train what is not trained, measure what is not measured, and return what docs/results.json keeps of it."""
    run_dir, eval_dir = RUNS / row.preset, RUNS / f"{row.preset}-eval"
    train, measure = commands(row)
    if fresh:
        for folder in (run_dir, eval_dir):
            shutil.rmtree(folder, ignore_errors=True)
    if not (run_dir / "result.json").is_file():
        begun = any(run_dir.glob("checkpoints/step-*"))
        call(["train", f"resume={run_dir}"] if begun else [*train, f"hydra.run.dir={run_dir}"])
        shutil.rmtree(eval_dir, ignore_errors=True)
    result = json.loads((run_dir / "result.json").read_text())
    metrics: Result = {}
    if measure is not None:
        if not (eval_dir / "metrics.json").is_file():
            began = time.perf_counter()
            call([*measure, f"run={run_dir}", f"hydra.run.dir={eval_dir}"])
            (eval_dir / "seconds").write_text(f"{time.perf_counter() - began:.0f}")
        metrics = json.loads((eval_dir / "metrics.json").read_text())
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    return {
        "values": [figure.value(result, metrics) for figure in row.figures],
        "errors": [metrics["nll_se_images"], metrics["nll_se_draws"]] if "nll" in metrics else [],
        "setting": setting(config, result, metrics),
        "minutes": round(result["seconds"] / 60, 1),
        "measuring_minutes": round(int((eval_dir / "seconds").read_text()) / 60, 1) if measure else 0.0,
        "threads": config["threads"] or torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def commands(row: Row) -> tuple[list[str], list[str] | None]:
    """The row's two commands, as lists of words without the program's name."""
    measure = None if row.measure is None else ["eval", *row.measure]
    return ["train", f"experiment=published/{row.preset}"], measure


def call(words: list[str]) -> None:
    """Run `aectl` with these words; end with its exit code if it fails."""
    print(f"\n$ aectl {' '.join(words)}", flush=True)
    try:
        status = subprocess.call([sys.executable, "-m", "aectl", *words])
    except KeyboardInterrupt:  # aectl has had the signal as well, and has saved
        status = 130
    if status:
        sys.exit(status)


def setting(config: Result, result: Result, metrics: Result) -> str:
    """Split, binarization, schedule and what chose the epoch, in one line."""
    schedule = "" if config["schedule"] == "constant" else f" {config['schedule']}"
    parts = [
        f"{config['dataset']['val_size']:,} val. images" if config["dataset"]["val_size"] else "no val. images",
        f"binarization {config['dataset']['binarize']}",
        f"batch {config['batch_size']}, lr {config['lr']:g}{schedule}",
        f"{result['epochs']} epochs",
        *(["precision bf16"] if config.get("precision") == "bf16" else []),
    ]
    if metrics:
        chosen = metrics["epoch_chosen_by"]
        parts.append("last epoch" if chosen.startswith("none") else f"epoch {metrics['epoch']}, chosen by {chosen}")
    return "; ".join(parts)


INTRODUCTION = """# Published results, reproduced

Written by `make reproduce` (`benchmarks/reproduce.py`) from real runs; the seed of each is 0. Nats per image, mean
over the 10,000 test images, lower is better, unless said otherwise. NLL₅₀₀₀ is the importance-weighted bound with
5,000 draws of z for each image, ± its standard error over images, then over draws. Dynamic binarization: fresh draws
for every training batch, one fixed draw for validation and test (from `split_seed` 0). PSNR is averaged over images.
*Beyond* is better than the stated best of others, *missed* outside the tolerance. Times are by the clock, with up to
four such jobs at once on two cores.
"""


def verdict(figure: Figure, value: float) -> str:
    """`beyond`, `within` or `missed`."""
    low, high = figure.accept
    if figure.beat is not None and (value >= figure.beat if figure.higher else value <= figure.beat):
        return "**beyond**"
    return "within" if low <= value <= high else "missed"


def page(results: dict[str, Result]) -> str:
    """docs/results.md from what was kept of every row."""
    lines = [
        INTRODUCTION,
        "| # | experiment | figure | published | ours | difference | accepted | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kept = [(row, results[row.preset]) for row in ROWS if row.preset in results]
    for row, result in kept:
        for figure, value in zip(row.figures, result["values"], strict=True):
            errors = " ± {:.2f} ± {:.3f}".format(*result["errors"]) if result["errors"] else ""
            difference = "" if figure.middle is None else f"{value - figure.middle:+.2f}"
            low, high = figure.accept
            accepted = f"≤ {high:g}" if low == 0 else f"≥ {low:g}" if high == 99 else f"{low:g} to {high:g}"
            digits = 4 if value < 1 else 2
            lines.append(
                f"| {row.number} | {row.title} | {figure.name} | {figure.published} | {value:.{digits}f}{errors} | "
                f"{difference} | {accepted} | {verdict(figure, value)} |"
            )
    lines += ["", "## How each was made", ""]
    for row, result in kept:
        train, measure = commands(row)
        shown = [f"aectl {' '.join(words)}" for words in (train, measure) if words]
        lines += [
            f"**{row.number}. {row.title}** ({row.source}). {result['setting']}. {result['minutes']:g} min of "
            f"training on {result['threads']} thread(s)"
            + (f", {result['measuring_minutes']:g} min of measuring" if result["measuring_minutes"] else "")
            + f"; torch {result['torch']}, {result['machine']}.",
            "",
        ]
        lines += [*([row.remark, ""] if row.remark else []), "```sh", *shown, "```", ""]
    if "photographs" in results:
        lines += photographs(results["photographs"])
    return "\n".join(lines)


def photographs(result: Result) -> list[str]:
    """The section on denoising photographs, from what benchmarks/photographs.py kept."""
    names = [Path(name).stem for name in result["names"]]
    rows = [
        f"| {row['method']} | {row['psnr']:.2f} | {row['ssim']:.4f} | "
        f"{' | '.join(f'{one:.2f}' for one in row['each'])} | {row['seconds']:g} |"
        for row in result["rows"]
    ]
    return [
        "## Photographs",
        "",
        f"Gaussian noise of σ = {result['sigma']:g}/255, clipped to [0, 1] and kept as 8 bits, on colour photographs",
        "of scikit-image that were not trained on; PSNR in dB, means over pictures, then each; seconds for all.",
        f"aectl: `network=unet`, {result['training_minutes']:g} min of training on {result['threads']} thread(s).",
        "Made by `benchmarks/photographs.py`, which names the photographs and the commands.",
        "",
        f"| method | PSNR | SSIM | {' | '.join(names)} | s |",
        "|" + "---|" * (4 + len(names)),
        *rows,
        "",
        "![crops of three photographs](gallery/photographs.png)",
        "",
    ]


def main() -> None:
    """Run the chosen rows and write the two files after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, help="numbers of rows; all without any")
    parser.add_argument("--fresh", action="store_true", help="train again what is finished already")
    args = parser.parse_args()
    known = sorted({row.number for row in ROWS})
    unknown = sorted(set(args.rows) - set(known))
    if unknown:
        parser.error(f"no row {unknown[0]}; there are {known[0]} to {known[-1]}")
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for row in ROWS:
        if not args.rows or row.number in args.rows:
            results[row.preset] = run_row(row, args.fresh)
            RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
            PAGE.write_text(page(results))
    print(f"\n{PAGE.relative_to(ROOT)} is written")


if __name__ == "__main__":
    main()
