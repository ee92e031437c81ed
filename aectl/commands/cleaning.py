"""`aectl denoise input=...`: pictures of any size and mode through a trained run, into files like the originals."""

import csv
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl import storage
from aectl.commands.schemas import DenoiseSchema
from aectl.data.noise import NOISES, Clean, Noise
from aectl.errors import DataError, StorageError, counted
from aectl.files import listing, places, unusable
from aectl.files.listing import Entry
from aectl.files.partners import partners
from aectl.files.pictures import decoding, encoding, fitting
from aectl.files.pictures.reading import Picture, Reading
from aectl.files.places import Places
from aectl.measuring import metrics
from aectl.models import tiling
from aectl.rng import generator
from aectl.runs import sanity
from aectl.runs.opening import Run

FIGURES = "psnr_ssim.csv"
CSV_HEADER = ("name", "psnr_before", "psnr_after", "ssim_before", "ssim_after")

log = logging.getLogger(__name__)


@dataclass
class DenoiseConfig(DenoiseSchema):
    """`aectl denoise`: the pictures to clean, or none for the run's own test split and noise."""

    noise: Annotated[Noise, NOISES] = field(default_factory=Clean)


def clean(run: Run, config: DenoiseConfig, device: torch.device) -> None:
    """Every picture of `config.input` into `config.output`, under its name, in its size, mode and format.

    With `noise` other than none, the pictures are taken as clean: noise is added first, the noisy ones are kept in
    `noisy/`, and the originals are the references.

    Raises:
        DataError: a picture cannot be used; all that cannot are listed, and nothing is written unless
            `config.on_bad` is `skip`.
        StorageError: an output is there already.
    """
    source, target = storage.expanded(config.input), storage.expanded(config.output)
    noisy = config.noise.corrupts
    pairs = _pairs(source, config)
    if target.exists() and not target.is_dir():
        raise StorageError(f"output={target}: is a file; give a folder")
    _refuse_overwriting(pairs, source, target, config.overwrite, noisy)
    own = run.config.dataset.own_scale
    reading = Reading(config.scale if config.scale is not None else own, config.picture_gb)
    reports = [unusable.FILE, FIGURES]
    bad = _bad(pairs, noisy, Places(target, reports), reading)
    for line in reading.notes():
        log.info("%s", line)
    unusable.settle(list(bad.values()), len(pairs), f"input={source}", "on_bad", config.on_bad)
    pairs = [pair for pair in pairs if pair not in bad]
    outputs = [*(name for pair in pairs for name in _outputs(pair, noisy)), *reports]
    corrupt = config.noise if noisy else None
    rows = []
    with places.prepared(target / name for name in outputs):
        for pair in tqdm(pairs, disable=None, unit="picture", leave=False):
            name, original = pair.entry.name, pair.entry.read()
            pictures = decoding.decode_pages(original, reading, name)
            seen = pictures
            if corrupt is not None:
                seen = [_with_noise(page, corrupt, config.seed, name, number) for number, page in enumerate(pictures)]
            result = [through(run, page, device) for page in seen]
            files = {target / name: encoding.encode(result, original)}
            if corrupt is not None:
                files[target / "noisy" / name] = encoding.encode(seen, original)
            for path, data in files.items():
                storage.replace(path, data)
            reference = pictures if corrupt is not None else None
            if pair.reference is not None:
                reference = decoding.decode_pages(pair.reference.read(), reading, name)
            if reference is not None:  # the figures are those of the file, with whatever its format lost
                after = decoding.decode_pages(files[target / name], reading, name)
                after = after if len(after) == len(result) else result
                rows.append((name, *_means_before_and_after(seen, after, reference)))
    log.info("%s: %s", counted(len(pairs), "picture"), target)
    unusable.write(target / unusable.FILE, list(bad.values()))
    if rows:
        _report(rows, target)


@dataclass(frozen=True)
class Pair:
    """A picture to clean, and the clean one to compare with, if there is one."""

    entry: Entry
    reference: Entry | None


def _pairs(source: Path, config: DenoiseConfig) -> list[Pair]:
    found = listing.at(source, "input")
    if found.rest():
        log.info("passed over in %s: %s", source, found.rest())
    if config.reference is None:
        return [Pair(entry, None) for entry in found.entries]
    root = storage.expanded(config.reference)
    references = listing.at(root, "reference").entries
    if source.is_file() and root.is_file():
        return [Pair(found.entries[0], references[0])]
    partnered = zip(found.entries, partners(found.entries, references), strict=True)
    pairs = []
    for entry, reference in partnered:
        if isinstance(reference, str):
            lost = f"has no {entry.name} ({reference}); references go by the pictures' names"
            raise DataError(f"reference={root}: {lost}")
        pairs.append(Pair(entry, reference))
    return pairs


def _outputs(pair: Pair, noisy: bool) -> list[str]:
    """The files that a picture becomes, below the output folder."""
    return [pair.entry.name, *([f"noisy/{pair.entry.name}"] if noisy else [])]


def _refuse_overwriting(pairs: Sequence[Pair], source: Path, target: Path, overwrite: bool, noisy: bool) -> None:
    folder = source if source.is_dir() else source.parent
    if target.is_dir() and target.samefile(folder):
        raise StorageError(f"output={target}: is the input's own folder; choose another")
    there = [name for pair in pairs for name in _outputs(pair, noisy) if os.path.lexists(target / name)]
    if there and not overwrite:
        raise StorageError(f"output={target}: has {there[0]} already; choose another folder or set overwrite=true")


def _bad(pairs: Sequence[Pair], noisy: bool, taken: Places, reading: Reading) -> dict[Pair, tuple[str, str]]:
    """Name and reason of each that cannot be used; all are decoded once before anything is written."""
    bad = {}
    for pair in tqdm(pairs, desc="looking", disable=None, unit="picture", leave=False):
        whose = ""
        try:
            original = pair.entry.read()
            pages = decoding.decode_pages(original, reading, pair.entry.name)
            encoding.encode(pages, original)  # what cannot be written is found out before anything is
            if pair.reference is not None:
                whose = "its reference "
                _refuse_unlike(decoding.decode_pages(pair.reference.read(), reading, pair.entry.name), pages)
            whose = ""
            taken.take(_outputs(pair, noisy), pair.entry.name)
        except DataError as error:
            bad[pair] = (pair.entry.name, f"{whose}{error}")
    return bad


def _refuse_unlike(reference: Sequence[Picture], pages: Sequence[Picture]) -> None:
    """A reference of another number of pages, or of another size.

    Raises:
        DataError: says which.
    """
    if len(reference) != len(pages):
        raise DataError(f"has {len(reference)} pages, and the picture has {len(pages)}")
    for theirs, ours in zip(reference, pages, strict=True):
        if theirs.size != ours.size:
            sizes = [f"{width}×{height}" for height, width in (theirs.size, ours.size)]
            raise DataError(f"is {sizes[0]}, and the picture {sizes[1]}")


# -------------------------------------------------------------------------------------- one picture


def _with_noise(picture: Picture, corrupt: Noise, seed: int, name: str, page: int) -> Picture:
    """The picture with noise that depends on the seed, its name and its page; alpha is left alone."""
    x = torch.from_numpy(picture.floats())[None]
    key = (name, page) if page else (name,)
    noisy = corrupt(x, generator("cpu", "denoise", seed, *key))[0].clamp(0, 1).numpy()
    return replace(picture, values=_as_deep_as(picture, noisy))


def through(run: Run, picture: Picture, device: torch.device) -> Picture:
    """The picture cleaned: a fully convolutional network sees it whole or in large tiles, others in their own size.

    A colour run sees red, green and blue together. Anything else goes plane by plane, the inks of CMYK too: a colour
    run then sees a plane as grey, and the mean of its channels is kept.

    Raises:
        CheckpointError: what comes out is no picture.
    """
    channels, values = run.shape[0], picture.values
    tile, overlap = run.model.tiles(run.shape, picture.size)

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
    before: Sequence[Picture], after: Sequence[Picture], reference: Sequence[Picture]
) -> list[float]:
    """`_before_and_after`, averaged over pages."""
    found = [_before_and_after(*pages) for pages in zip(before, after, reference, strict=True)]
    return np.mean(found, axis=0).tolist()


def _before_and_after(before: Picture, after: Picture, reference: Picture) -> list[float]:
    """PSNR and SSIM of the picture as it was and as it is; a colour reference of a grey picture counts as grey."""
    channels = len(fitting.colours(before))
    found = []
    expected = torch.from_numpy(_channels(reference, channels))[None]
    for measure in (metrics.psnr, metrics.ssim):
        for picture in (before, after):
            found.append(measure(torch.from_numpy(_channels(picture, channels))[None], expected).item())
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
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(CSV_HEADER)
    for name, *values in [*rows, ("mean", *means)]:
        writer.writerow([name, *(f"{value:.4f}" for value in values)])
    storage.replace(target / FIGURES, buffer.getvalue().encode("utf-8", "surrogateescape"))
    log.info("PSNR %.2f → %.2f dB, SSIM %.4f → %.4f: %s", *means, FIGURES)
