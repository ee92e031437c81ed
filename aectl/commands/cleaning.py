"""`aectl denoise input=...`: pictures of any size and mode through a trained run, into files like the originals."""

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
from aectl.commands import cleaned
from aectl.commands.cleaned import Cleaned
from aectl.commands.schemas import DenoiseSchema
from aectl.data.noise import NOISES, Clean, Noise
from aectl.errors import DataError, StorageError, counted
from aectl.files import listing, places, unusable
from aectl.files.listing import Entry
from aectl.files.partners import partners
from aectl.files.pictures import decoding, encoding, fitting
from aectl.files.pictures.reading import Picture, Reading
from aectl.files.places import Places
from aectl.measuring import likeness
from aectl.models import tiling
from aectl.rng import generator
from aectl.runs import sanity
from aectl.runs.opening import Run

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
    reports = cleaned.files(compared=noisy or config.reference is not None)
    if target.exists() and not target.is_dir():
        raise StorageError(f"output={target}: is a file; give a folder")
    _refuse_overwriting([*_outputs(pairs, noisy), *reports], source, target, config.overwrite)
    own = run.config.dataset.own_scale
    reading = Reading(config.scale if config.scale is not None else own, config.picture_gb)
    bad = _bad(pairs, noisy, Places(target, [unusable.FILE, *cleaned.files(compared=True)]), reading)
    for line in reading.notes():
        log.info("%s", line)
    unusable.settle(list(bad.values()), len(pairs), f"input={source}", "on_bad", config.on_bad)
    pairs = [pair for pair in pairs if pair not in bad]
    files = [target / name for name in (*_outputs(pairs, noisy), unusable.FILE, *reports)]
    with places.prepared(files, target):
        found = [
            _clean_one(run, pair, config, reading, target, device)
            for pair in tqdm(pairs, disable=None, unit="picture", leave=False)
        ]
    log.info("%s: %s", counted(len(pairs), "picture"), target)
    unusable.write(target / unusable.FILE, list(bad.values()))
    cleaned.tell(found, target, f"Cleaned by {run.title}", reading)


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


def _outputs(pairs: Sequence[Pair], noisy: bool) -> list[str]:
    """The files that pictures become, below the output folder."""
    folders = ("", "noisy/") if noisy else ("",)
    return [f"{folder}{pair.entry.name}" for pair in pairs for folder in folders]


def _refuse_overwriting(names: Sequence[str], source: Path, target: Path, overwrite: bool) -> None:
    folder = source if source.is_dir() else source.parent
    if target.is_dir() and target.samefile(folder):
        raise StorageError(f"output={target}: is the input's own folder; choose another")
    there = [name for name in names if os.path.lexists(target / name)]
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
            taken.take(_outputs([pair], noisy), pair.entry.name)
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


def _clean_one(
    run: Run, pair: Pair, config: DenoiseConfig, reading: Reading, target: Path, device: torch.device
) -> Cleaned:
    """Write the picture cleaned, and with the noise that was added; measure it where there is a reference."""
    name, original = pair.entry.name, pair.entry.read()
    seen = pages = decoding.decode_pages(original, reading, name)
    views, reference = {"before": pair.entry, "after": _written(target / name)}, pair.reference
    if config.noise.corrupts:
        seen = [_with_noise(page, config.noise, config.seed, name, number) for number, page in enumerate(pages)]
        views["before"], reference = _written(target / "noisy" / name), pair.entry
        storage.replace(target / "noisy" / name, encoding.encode(seen, original))
    result = [through(run, page, device) for page in seen]
    data = encoding.encode(result, original)
    storage.replace(target / name, data)
    if reference is None:
        return Cleaned(name, views, None)
    views["reference"] = reference
    expected = pages if reference is pair.entry else decoding.decode_pages(reference.read(), reading, name)
    after = decoding.decode_pages(data, reading, name)  # the figures are those of the file, with what its format lost
    return Cleaned(name, views, likeness.measure(seen, after if len(after) == len(result) else result, expected))


def _written(path: Path) -> Entry:
    """A file of ours, to be read again."""
    return Entry(path.name, str(path))


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
