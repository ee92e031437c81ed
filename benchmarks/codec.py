"""Row 24: a sweep of codecs over λ, on photographs that none was trained on, beside JPEG, WebP and AVIF.

    make reproduce ROWS=24 PHOTOGRAPHS="<training photographs> <others>"

Called by reproduce.py. docs/results.md was made with the photographs of benchmarks/photographs.py: those to train on
in folders train and val (Kite, Path and FallenLeaf), each shrunk by Lanczos' filter to widths of 1024, 640 and 420
pixels; the others as they are.
"""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aectl.measuring.bd_rate import bd_rate

Result = dict[str, Any]
Call = Callable[[Sequence[str], Path], None]

NUMBER = 24
WEIGHTS = (0.0012, 0.003, 0.008)
LOW = 0.6  # bits per pixel
RUNS = Path("outputs/published")
PICTURES = ("psnr_by_rate", "ssim_by_rate", "parts")


def measured(train: Path, others: Path, gallery: Path, call: Call) -> Result:
    """The points of every curve, and BD-rates up to `LOW`; pictures go to `gallery`."""
    sweep, report, costs = (RUNS / f"row24_codec{end}" for end in ("", "-report", ".costs"))
    RUNS.mkdir(parents=True, exist_ok=True)
    if not (sweep / "summary.csv").is_file():
        weights = ",".join(map(str, WEIGHTS))
        words = ["experiment=codec", f"dataset.root={train}", "dataset.val_size=null", "dataset.test_size=0"]
        words += ["dataset.patches=12", "threads=1", f"objective.weight={weights}"]
        call(["train", "-m", *words, f"hydra.sweep.dir={sweep}"], costs)
    if not (report / "codecs.csv").is_file():
        call(["report", f"sweep={sweep}", "split=val", f"input={others}", f"hydra.run.dir={report}"], costs)
    for name in PICTURES:
        shutil.copyfile(report / f"pictures/{name}.png", gallery / f"{name}.png")
    seconds = [json.loads(path.read_text())["seconds"] for path in sorted(sweep.glob("*/result.json"))]
    return {
        **of_table(report / "codecs.csv"),
        "names": sorted(path.name for path in others.iterdir()),
        "minutes": [round(one / 60, 1) for one in seconds],
    }


def of_table(path: Path) -> Result:
    """Points by codec, ours against each other one as the difference in rate, percent; None without a common PSNR."""
    points: dict[str, list[Result]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            point = {name: float(row[name]) for name in ("bpp", "psnr", "ssim")}
            points.setdefault(row["codec"], []).append({"setting": row["setting"], **point})
    curves = {name: [(point["bpp"], point["psnr"]) for point in found] for name, found in points.items()}
    differences = {name: bd_rate(curves["aectl"], curve, LOW) for name, curve in curves.items() if name != "aectl"}
    return {"points": points, "bd_rate": {name: one and one.percent for name, one in differences.items()}}


def section(result: Result, paragraph: Callable[[str], list[str]]) -> list[str]:
    """That of docs/results.md."""
    rows = [
        f"| {name} | {point['setting'].replace('objective.weight=', 'λ ')} | {point['bpp']:.3f} | "
        f"{point['psnr']:.2f} | {point['ssim']:.4f} |"
        for name, points in result["points"].items()
        for point in points
        if point["bpp"] <= 1
    ]
    said = [
        f"{name} no common PSNR" if value is None else f"{name} {value:+.1f} %"
        for name, value in result["bd_rate"].items()
    ]
    return [
        f"## {NUMBER}. A lossy codec",
        "",
        *paragraph(
            f"`experiment=codec` at λ of {', '.join(map(str, WEIGHTS))}, trained for {min(result['minutes']):.0f} to "
            f"{max(result['minutes']):.0f} minutes each by the clock, on one thread and 24 photographs in three "
            f"sizes; measured on {', '.join(result['names'])} of scikit-image, none of which was trained on. Figures "
            "of two earlier, unfinished runs on them had been seen when three sizes and a lower learning rate were "
            "chosen, for what validation photographs had shown. Whole files, headers counted; means over pictures. "
            "The others are Pillow's, JPEG with optimized tables. "
            "Published: CompressAI's factorised model on other photographs (Kodak) 0.44 bits per pixel at 31.3 dB, "
            "there WebP 0.567 at 31.9 and JPEG 0.786 at 31.3."
        ),
        *paragraph(f"BD-rate up to {LOW} bits per pixel, negative is better: {', '.join(said)}."),
        "```sh",
        f'make reproduce ROWS={NUMBER} PHOTOGRAPHS="<training photographs> <others>"',
        "```",
        "",
        "| codec | setting | bits per pixel | PSNR, dB | SSIM |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "![PSNR against bits per pixel](compression/psnr_by_rate.png)",
        "",
        "![parts of photographs](compression/parts.png)",
        "",
    ]  # fmt: skip
