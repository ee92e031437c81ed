"""Measure a denoiser on photographs beside doing nothing, a median, non-local means and BM3D, on the same files.

    aectl train experiment=photographs dataset.root=<training photographs>
    python benchmarks/photographs.py <run> <folder of clean photographs> [--sigma 25]

docs/results.md was made so. Trained on 27 photographs, shrunk to a width of 1024 pixels: of Debian's
plasma-workspace-wallpapers BytheWater, ColdRipple, ColorfulCups, DarkestHour, EveningGlow, FallenLeaf, Grey, Kite,
OneStandsOut, Path, Volna and summer_1am; of mate-backgrounds the twelve in nature/; scikit-learn's two;
matplotlib's grace_hopper. Cleaned: astronaut, chelsea, coffee, motorcycle_left and rocket (as PNG) of scikit-image's
package.

`aectl denoise` adds the noise (Gaussian, clipped to [0, 1], kept as 8 bits) and cleans; the others get what it wrote
to `noisy/`. Needs the packages scikit-image and bm3d (pip install '.[bench]'). Writes the table into
docs/results.json and docs/results.md, and the picture docs/gallery/photographs.png.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bm3d
import matplotlib
import numpy as np
import torch
import yaml
from PIL import Image
from results_page import ROOT, read_results, write_results
from scipy.ndimage import median_filter
from skimage.restoration import denoise_nl_means

from aectl.measuring import metrics

PICTURE = ROOT / "docs/gallery/photographs.png"
CROP = 160  # pixels of each photograph in the picture

Method = Callable[[np.ndarray, float], np.ndarray]  # (H, W, 3) in [0, 1], σ → the same shape


def nl_means(strength: float) -> Method:
    """scikit-image's non-local means with h = strength·σ, as its documentation recommends for a known σ."""

    def run(image: np.ndarray, sigma: float) -> np.ndarray:
        return denoise_nl_means(
            image, patch_size=5, patch_distance=6, h=strength * sigma, sigma=sigma, fast_mode=True, channel_axis=-1
        )

    return run


METHODS: dict[str, Method] = {
    "doing nothing": lambda image, sigma: image,
    "3×3 median": lambda image, sigma: median_filter(image, size=(3, 3, 1), mode="nearest"),
    "non-local means, h = 0.6 σ": nl_means(0.6),
    "non-local means, h = 0.8 σ": nl_means(0.8),
    "BM3D": lambda image, sigma: bm3d.bm3d_rgb(image, sigma),
}


def read(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) in [0, 1]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def scores(image: np.ndarray, clean: np.ndarray) -> tuple[float, float]:
    """PSNR (dB) and SSIM, of the result rounded to 8 bits as a file would have it."""
    rounded = np.rint(image.clip(0, 1) * 255).astype(np.float32) / 255
    x, reference = (torch.from_numpy(array.transpose(2, 0, 1).copy())[None] for array in (rounded, clean))
    return metrics.psnr(x, reference).item(), metrics.ssim(x, reference).item()


def main() -> None:
    """Clean with every method, print and keep the means, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--sigma", type=float, default=25.0, help="of the noise, for values of 0 to 255")
    args = parser.parse_args()
    sigma = args.sigma / 255
    names = sorted(path.name for path in args.photographs.iterdir())
    found: dict[str, list[tuple[float, float]]] = {}
    seconds: dict[str, float] = {}
    shown: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        began = time.perf_counter()
        words = ["denoise", f"run={args.run}", f"input={args.photographs}", f"output={out}", "noise=gaussian"]
        command = [sys.executable, "-m", "aectl", *words, f"noise.sigma={sigma:.6f}", f"hydra.run.dir={folder}/log"]
        if subprocess.call(command):
            sys.exit("aectl denoise failed")
        seconds["aectl"] = time.perf_counter() - began
        for name in names:
            clean, noisy = read(args.photographs / name), read(out / "noisy" / name)
            results = {}
            for method, clean_with in METHODS.items():
                began = time.perf_counter()
                results[method] = clean_with(noisy, sigma)
                seconds[method] = seconds.get(method, 0) + time.perf_counter() - began
            results["aectl"] = read(out / name)
            for method, image in results.items():
                found.setdefault(method, []).append(scores(image, clean))
            shown[name] = {"clean": clean, **results}
            print(name, {method: f"{values[-1][0]:.2f}" for method, values in found.items()}, flush=True)
    rows = [
        {"method": method, "psnr": float(np.mean(values, 0)[0]), "ssim": float(np.mean(values, 0)[1]),
         "each": [round(psnr, 2) for psnr, _ in values], "seconds": round(seconds[method], 1)}
        for method, values in found.items()
    ]  # fmt: skip
    for row in rows:
        print(f"{row['method']:28} {row['psnr']:6.2f} dB  {row['ssim']:.4f}  {row['seconds']:6.1f} s")
    results = read_results()
    trained = json.loads((Path(args.run) / "result.json").read_text())
    results["photographs"] = {
        "sigma": args.sigma, "names": names, "rows": rows, "training_minutes": round(trained["seconds"] / 60, 1),
        "threads": yaml.safe_load((Path(args.run) / "config.yaml").read_text())["threads"] or os.cpu_count(),
    }  # fmt: skip
    write_results(results)
    draw(shown, found, names)


def draw(
    shown: dict[str, dict[str, np.ndarray]], found: dict[str, list[tuple[float, float]]], names: list[str]
) -> None:
    """A row for each of three photographs: the middle of the clean one, of the noisy one, and what was made of it."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = ["clean", "doing nothing", "non-local means, h = 0.6 σ", "BM3D", "aectl"]
    titles = ["original", "noisy", "non-local means", "BM3D", "aectl, network=unet"]
    few = names[:3]
    size = (2.1 * len(columns), 2.25 * len(few) + 0.2)
    figure, axes = pyplot.subplots(len(few), len(columns), figsize=size, dpi=110, layout="constrained")
    for index, (row, name) in enumerate(zip(axes, few, strict=True)):
        for axis, column, title in zip(row, columns, titles, strict=True):
            image = shown[name][column]
            top, left = (image.shape[0] - CROP) // 2, (image.shape[1] - CROP) // 2
            axis.imshow(image[top : top + CROP, left : left + CROP].clip(0, 1), interpolation="nearest")
            psnr = Path(name).stem if column == "clean" else f"{found[column][names.index(name)][0]:.2f} dB"
            axis.set_xlabel(psnr, fontsize=8)
            axis.set_title(title if index == 0 else "", fontsize=9)
            axis.set_xticks([])
            axis.set_yticks([])
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
