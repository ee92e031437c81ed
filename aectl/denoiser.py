"""`aectl denoise`: pictures through a trained run, or a measurement on the run's own test split."""

import csv
import logging
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from tqdm import tqdm

from aectl import baselines, devices, metrics, pictures, storage
from aectl.config import DenoiseConfig
from aectl.errors import ConfigError, DataError, StorageError, brief
from aectl.images import to_float, to_uint8
from aectl.models import Autoencoder
from aectl.networks import Shape
from aectl.noise import build_noise
from aectl.runs import Run, open_data, open_run
from aectl.sampler import to_image
from aectl.scoring import batches
from aectl.tracking import Tracker

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
# Formats that Pillow decodes by itself; others, such as EPS, would start another program.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# What Pillow raises for damaged files, seen over its decoders.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
    zlib.error, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
CSV_HEADER = ("name", "psnr_before", "psnr_after", "ssim_before", "ssim_after")

log = logging.getLogger(__name__)


def run_denoise(config: DenoiseConfig, folder: Path) -> float | None:
    """Clean `config.input` into `config.output`, or measure the run on its test split, into `folder`."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    log.info("denoising with %s, %s checkpoint", run.title, config.checkpoint)
    if run.config.noise.name == "none":
        log.warning("note: this run was trained without noise, so it reconstructs rather than denoises")
    if config.input is None:
        return _measure(run, config, folder, device)
    _clean(run, config, device)
    return None


# ------------------------------------------------------------------------------- the run's own data


def _measure(run: Run, config: DenoiseConfig, folder: Path, device: torch.device) -> float:
    """The table and the picture of the run's test split with its own noise; returns −PSNR of the result."""
    if run.config.noise.name == "none":
        raise ConfigError(
            "denoise: this run has no noise of its own to measure; give input=<image or folder> output=<folder>, "
            "or train one with model=dae"
        )
    test = open_data(run, config.data.root).test
    corrupt = build_noise(run.config.noise)
    with torch.inference_mode():
        found = denoising_table(run.model, batches(test, corrupt, device, config.seed))
    log.info("%d test images, noise=%s", len(test), run.config.noise.name)
    log.info("  %-18s %10s %8s", "", "PSNR (dB)", "SSIM")
    for label, name in (("doing nothing", "noisy"), ("3×3 median", "median"), ("this run", "denoised")):
        log.info("  %-18s %10.2f %8.4f", label, found[f"psnr_{name}"], found[f"ssim_{name}"])
    title = f"test images, noise={run.config.noise.name}"
    picture = pictures.reconstructions(run.model, test, corrupt, device, title)
    tracker = Tracker(folder)
    tracker.scalars({f"denoise/{name}": value for name, value in found.items()}, run.progress.step)
    tracker.picture("denoised", picture, run.progress.step)
    tracker.close()
    storage.replace(folder / "metrics.json", storage.dump_json(found))
    log.info("metrics.json and figures/denoised.png: %s", folder)
    return -found["psnr_denoised"]


@torch.inference_mode()
def denoising_table(
    model: Autoencoder, triples: Iterable[tuple[Tensor, Tensor, torch.Generator]]
) -> dict[str, float]:
    """PSNR (dB) and SSIM of the noisy images, of a 3×3 median and of the model, averaged over images."""
    columns: dict[str, list[Tensor]] = {}
    for x, x_noisy, _ in triples:
        for name, image in (
            ("noisy", x_noisy),
            ("median", baselines.median_filter(x_noisy).to(x.device)),
            ("denoised", model.reconstruct(x_noisy)),
        ):
            columns.setdefault(f"psnr_{name}", []).append(metrics.psnr(image, x).cpu())
            columns.setdefault(f"ssim_{name}", []).append(metrics.ssim(image, x).cpu())
    return {name: torch.cat(values).mean().item() for name, values in columns.items()}


# ------------------------------------------------------------------------------------ own pictures


def _clean(run: Run, config: DenoiseConfig, device: torch.device) -> None:
    source, target = Path(config.input).expanduser(), Path(config.output).expanduser()
    files = list_pictures(source)
    references = Path(config.reference).expanduser() if config.reference is not None else None
    if target.exists() and not target.is_dir():
        raise StorageError(f"output={target}: is a file; give a folder")
    _refuse_overwriting(files, source, target, config.overwrite)
    # Everything is read before anything is written, so that a bad picture costs no half-done folder.
    inputs = [(path, read_picture(path, run.shape)) for path in files]
    cleans = [read_picture(_reference(references, path), run.shape) for path in files] if references else []
    target.mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (path, picture) in enumerate(tqdm(inputs, disable=None, unit="picture", leave=False)):
        x = to_float(picture[None])
        with torch.inference_mode():
            x_hat = run.model.reconstruct(x.to(device)).cpu()
        written = to_uint8(x_hat)
        lossy = {"quality": 95} if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}
        to_image(written[0]).save(target / path.name, **lossy)
        if cleans:  # the figures are those of the file, with whatever its format lost
            after = read_picture(target / path.name, run.shape)
            rows.append((path.name, *(_before_and_after(x, to_float(after[None]), to_float(cleans[index][None])))))
    log.info("%d pictures: %s", len(inputs), target)
    if rows:
        _report(rows, target)


def list_pictures(source: Path) -> list[Path]:
    """The picture itself, or those directly in a folder, by name.

    Raises:
        DataError: nothing is there, or no picture in the folder.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"input={source}: no such file or folder")
    found = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"input={source}: no pictures in this folder ({', '.join(SUFFIXES)})")
    return found


def read_picture(path: Path, shape: Shape) -> Tensor:
    """A picture as (C, H, W), uint8, if it has the size and the channels that the run was trained on.

    Raises:
        DataError: it cannot be read, or does not fit; the message says what would.
    """
    channels, height, width = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of damaged EXIF, which is not needed
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as file:
                image = ImageOps.exif_transpose(file)
                size, mode = image.size, image.mode
                fits = size == (width, height) and mode in ("1", "L", "P", "RGB")
                pixels = np.array(image.convert("RGB")).transpose(2, 0, 1) if fits else None
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as a picture ({brief(error)})") from None
    if fits and channels == 1:  # grey is grey, however its format keeps it
        fits = (pixels == pixels[:1]).all()
        pixels = pixels[:1]
    if not fits:
        wanted = "grey" if channels == 1 else "colour"
        raise DataError(
            f"{path}: is {size[0]}×{size[1]} in mode {mode}; this run takes {width}×{height} in {wanted}, 8 bits, "
            f"without alpha"
        )
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _reference(folder: Path, path: Path) -> Path:
    reference = folder if folder.is_file() else folder / path.name
    if not reference.is_file():
        raise DataError(f"reference={folder}: has no {path.name}; references go by the pictures' names")
    return reference


def _refuse_overwriting(files: list[Path], source: Path, target: Path, overwrite: bool) -> None:
    folder = source if source.is_dir() else source.parent
    if target.is_dir() and target.samefile(folder):
        raise StorageError(f"output={target}: is the input's own folder; choose another")
    there = [path.name for path in files if (target / path.name).exists()]
    if there and not overwrite:
        raise StorageError(f"output={target}: has {there[0]} already; choose another folder or set overwrite=true")


def _before_and_after(x: Tensor, x_hat: Tensor, clean: Tensor) -> Iterator[float]:
    for measure in (metrics.psnr, metrics.ssim):
        for image in (x, x_hat):
            yield measure(image, clean).item()


def _report(rows: list[tuple[str, float, float, float, float]], target: Path) -> None:
    """PSNR and SSIM before and after, for each picture and on average, as CSV and in the log."""
    means = [float(np.mean([row[column] for row in rows])) for column in range(1, len(CSV_HEADER))]
    with (target / "psnr_ssim.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_HEADER)
        for name, *values in [*rows, ("mean", *means)]:
            writer.writerow([name, *(f"{value:.4f}" for value in values)])
    log.info("PSNR %.2f → %.2f dB, SSIM %.4f → %.4f: psnr_ssim.csv", *means)
