"""`aectl denoise input=...`: pictures of any size and mode through a trained run, into files like the originals."""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl import decoding, encoding, fitting, metrics, sanity, storage, tiling, unusable
from aectl.config import DenoiseConfig
from aectl.decoding import Entry
from aectl.errors import DataError, StorageError
from aectl.noise import Corruption, build_noise
from aectl.reading import Picture, Reading
from aectl.rng import generator
from aectl.runs import Run

WHOLE = 512  # side up to which a fully convolutional network sees a picture at once; larger ones go in tiles
CSV_HEADER = ("name", "psnr_before", "psnr_after", "ssim_before", "ssim_after")

log = logging.getLogger(__name__)


def clean(run: Run, config: DenoiseConfig, device: torch.device) -> None:
    """Every picture of `config.input` into `config.output`, under its name, in its size, mode and format.

    With `noise` other than none, the pictures are taken as clean: noise is added first, the noisy ones are kept in
    `noisy/`, and the originals are the references.

    Raises:
        DataError: a picture cannot be used; all that cannot are listed, and nothing is written unless
            `config.on_bad` is `skip`.
        StorageError: an output is there already.
    """
    source, target = Path(config.input).expanduser(), Path(config.output).expanduser()
    jobs = _jobs(source, config)
    if target.exists() and not target.is_dir():
        raise StorageError(f"output={target}: is a file; give a folder")
    _refuse_overwriting(jobs, source, target, config.overwrite)
    reading = Reading(config.scale if config.scale is not None else run.config.dataset.scale, config.picture_gb)
    bad = _bad(jobs, reading)
    for line in reading.notes():
        log.info("%s", line)
    unusable.settle(list(bad.items()), len(jobs), f"input={source}", "on_bad", config.on_bad)
    jobs = [job for job in jobs if job.entry.name not in bad]
    corrupt = build_noise(config.noise) if config.noise.name != "none" else None
    rows = []
    for job in tqdm(jobs, disable=None, unit="picture", leave=False):
        name, original = job.entry.name, job.entry.read()
        pictures = decoding.decode_pages(original, reading, name)
        seen = pictures
        if corrupt is not None:
            seen = [_with_noise(page, corrupt, config.seed, name, number) for number, page in enumerate(pictures)]
        result = [_through(run, page, device) for page in seen]
        files = {target / name: encoding.encode(result, original)}
        if corrupt is not None:
            files[target / "noisy" / name] = encoding.encode(seen, original)
        for path, data in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            storage.replace(path, data)
        clean = pictures if corrupt is not None else None
        if job.reference is not None:
            clean = decoding.decode_pages(job.reference.read(), reading, name)
        if clean is not None:  # the figures are those of the file, with whatever its format lost
            after = decoding.decode_pages(files[target / name], reading, name)
            after = after if len(after) == len(result) else result
            rows.append((name, *_means_before_and_after(seen, after, clean, name)))
    log.info("%d pictures: %s", len(jobs), target)
    unusable.write(target / unusable.FILE, list(bad.items()))
    if rows:
        _report(rows, target)


@dataclass(frozen=True)
class Job:
    """A picture to clean, and the clean one to compare with, if there is one."""

    entry: Entry
    reference: Entry | None


def _jobs(source: Path, config: DenoiseConfig) -> list[Job]:
    entries = decoding.entries(source, "input")
    references = {}
    if config.reference is not None:
        root = Path(config.reference).expanduser()
        references = {entry.name: entry for entry in decoding.entries(root, "reference")}
        if source.is_file() and root.is_file():
            references = {entries[0].name: next(iter(references.values()))}
        lost = next((entry.name for entry in entries if entry.name not in references), None)
        if lost is not None:
            raise DataError(f"reference={root}: has no {lost}; references go by the pictures' names")
    return [Job(entry, references.get(entry.name)) for entry in entries]


def _refuse_overwriting(jobs: Sequence[Job], source: Path, target: Path, overwrite: bool) -> None:
    folder = source if source.is_dir() else source.parent
    if target.is_dir() and target.samefile(folder):
        raise StorageError(f"output={target}: is the input's own folder; choose another")
    there = [job.entry.name for job in jobs if (target / job.entry.name).exists()]
    if there and not overwrite:
        raise StorageError(f"output={target}: has {there[0]} already; choose another folder or set overwrite=true")


def _bad(jobs: Sequence[Job], reading: Reading) -> dict[str, str]:
    """Name and reason of each that cannot be used; all are decoded once before anything is written."""
    bad = {}
    for job in tqdm(jobs, desc="looking", disable=None, unit="picture", leave=False):
        whose = ""
        try:
            original = job.entry.read()
            pages = decoding.decode_pages(original, reading, job.entry.name)
            encoding.encode(pages, original)  # what cannot be written is found out before anything is
            if job.reference is not None:
                whose = "its reference "
                found = decoding.decode_pages(job.reference.read(), reading, job.entry.name)
                if len(found) != len(pages):
                    raise DataError(f"has {len(found)} pages, and the picture has {len(pages)}")
        except DataError as error:
            bad[job.entry.name] = f"{whose}{error}"
    return bad


# -------------------------------------------------------------------------------------- one picture


def _with_noise(picture: Picture, corrupt: Corruption, seed: int, name: str, page: int) -> Picture:
    """The picture with noise that depends on the seed, its name and its page; alpha is left alone."""
    x = torch.from_numpy(picture.floats())[None]
    key = (name, page) if page else (name,)
    noisy = corrupt(x, generator("cpu", "denoise", seed, *key))[0].clamp(0, 1).numpy()
    return replace(picture, values=_as_deep_as(picture, noisy))


def _through(run: Run, picture: Picture, device: torch.device) -> Picture:
    """The picture cleaned: a fully convolutional network sees it whole or in large tiles, others in their own size.

    A colour run sees red, green and blue together. Anything else goes plane by plane, the inks of CMYK too: a colour
    run then sees a plane as grey, and the mean of its channels is kept.

    Raises:
        CheckpointError: what comes out is no picture.
    """
    channels, height, width = run.shape
    values = picture.values
    if run.model.has_code:
        tile, overlap = (height, width), (height // 2, width // 2)
    else:
        reach = run.model.network.reach
        multiple = run.model.network.multiple
        tile = tuple(min(max(WHOLE, 4 * reach), -(-side // multiple) * multiple) for side in picture.size)
        overlap = tuple(min(2 * reach, side // 2) for side in tile)

    def network(tiles: Tensor) -> Tensor:
        if tiles.shape[1] == channels and picture.mode != "LAB":
            return run.model.reconstruct(tiles)
        planes = tiles.flatten(0, 1)[:, None]
        return run.model.reconstruct(planes.expand(-1, channels, -1, -1)).mean(1).view(tiles.shape)

    result = np.empty_like(values)
    for top, band in tiling.apply(network, values, tile, overlap, device):
        sanity.check_picture(band, run)
        result[:, top : top + band.shape[1]] = _as_deep_as(picture, band.clip(0, 1))
    return replace(picture, values=result)


def _as_deep_as(picture: Picture, values: np.ndarray) -> np.ndarray:
    return fitting.to_8_bits(values) if picture.values.dtype == np.uint8 else values.astype(np.float32)


# --------------------------------------------------------------------------------------- the report


def _means_before_and_after(
    before: Sequence[Picture], after: Sequence[Picture], clean: Sequence[Picture], name: str
) -> list[float]:
    """`_before_and_after`, averaged over pages."""
    found = [_before_and_after(*pages, name) for pages in zip(before, after, clean, strict=True)]
    return np.mean(found, axis=0).tolist()


def _before_and_after(before: Picture, after: Picture, clean: Picture, name: str) -> list[float]:
    """PSNR and SSIM of the picture as it was and as it is; a colour reference of a grey picture counts as grey."""
    if clean.size != before.size:
        raise DataError(f"reference of {name}: is {clean.size[1]}×{clean.size[0]}, the picture is another size")
    channels = len(fitting.colours(before))
    found = []
    reference = torch.from_numpy(_channels(clean, channels))[None]
    for measure in (metrics.psnr, metrics.ssim):
        for picture in (before, after):
            found.append(measure(torch.from_numpy(_channels(picture, channels))[None], reference).item())
    return found


def _channels(picture: Picture, channels: int) -> np.ndarray:
    values = fitting.colours(picture)
    values = values.astype(np.float32) / 255 if values.dtype == np.uint8 else values
    if len(values) == channels:
        return values
    return np.tensordot(fitting.LUMA, values, 1)[None] if channels == 1 else np.repeat(values, 3, axis=0)


def _report(rows: Sequence[tuple[str | float, ...]], target: Path) -> None:
    """PSNR and SSIM before and after, for each picture and on average, as CSV and in the log."""
    means = [float(np.mean([row[column] for row in rows])) for column in range(1, len(CSV_HEADER))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for name, *values in [*rows, ("mean", *means)]:
        writer.writerow([name, *(f"{value:.4f}" for value in values)])
    storage.replace(target / "psnr_ssim.csv", buffer.getvalue().encode("utf-8", "surrogateescape"))
    log.info("PSNR %.2f → %.2f dB, SSIM %.4f → %.4f: psnr_ssim.csv", *means)
