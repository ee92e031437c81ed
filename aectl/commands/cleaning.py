"""`aectl denoise input=...`: pictures of any size and mode through a trained run, into files like the originals."""

import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl import storage
from aectl.commands import cleaned, works
from aectl.commands.cleaned import Cleaned
from aectl.commands.schemas import DenoiseSchema
from aectl.data.noise import NOISES, Clean, Noise
from aectl.errors import DataError, StorageError, counted
from aectl.files import listing, notes, places, unfinished, unusable
from aectl.files.listing import Entry
from aectl.files.partners import partners
from aectl.files.pictures import decoding, encoding, fitting
from aectl.files.pictures.reading import Picture, Reading
from aectl.files.places import Places
from aectl.files.unfinished import Work
from aectl.measuring import likeness
from aectl.measuring.likeness import Likeness
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
    `noisy/`, and the originals are the references. What the same command has left there unfinished is gone on with.

    Raises:
        DataError: a picture cannot be used; all that cannot are listed, and nothing is written unless
            `config.on_bad` is `skip`.
        StorageError: an output is there already, or other work has been left unfinished there.
    """
    source, target = storage.expanded(config.input), storage.expanded(config.output)
    noisy = config.noise.corrupts
    pairs = _pairs(source, config)
    reports = cleaned.files(compared=noisy or config.reference is not None)
    if target.exists() and not target.is_dir():
        raise StorageError(f"output={target}: is a file; give a folder")
    if target.is_dir() and target.samefile(source if source.is_dir() else source.parent):
        raise StorageError(f"output={target}: is the input's own folder; choose another")
    work = works.work(run, config, device, target, folder=True)
    work.refuse([*_outputs(pairs, noisy), *reports])
    own = run.config.dataset.own_scale
    reading = Reading(config.scale if config.scale is not None else own, config.picture_gb)
    made_of: dict[Pair, str] = {}
    bad = _bad(pairs, noisy, Places(target, [unusable.FILE, *cleaned.files(compared=True)]), reading, made_of)
    for line in reading.notes():
        log.info("%s", line)
    unusable.settle(list(bad.values()), len(pairs), f"input={source}", "on_bad", config.on_bad)
    pairs = [pair for pair in pairs if pair not in bad]
    names = [*_outputs(pairs, noisy), *reports, *([unusable.FILE] if bad else [])]
    files = [target / name for name in (*names, unusable.FILE)]
    with places.prepared(files, target), work.begun(names):
        done = {pair: kept for pair in pairs if (kept := work.kept(_outputs([pair], noisy), made_of[pair]))}
        unfinished.tell(len(done), len(pairs), target)
        found = [
            _done(pair, done[pair].figures, noisy, target)
            if pair in done
            else _clean_one(run, pair, config, reading, work, device)
            for pair in tqdm(pairs, disable=None, unit="picture", leave=False)
        ]
        log.info("%s: %s", counted(len(pairs), "picture"), target)
        if bad:
            work.write({unusable.FILE: unusable.listed(list(bad.values()))})
            unusable.tell(target / unusable.FILE, list(bad.values()))
        cleaned.tell(found, work, f"Cleaned by {run.title}", reading)


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


def _bad(
    pairs: Sequence[Pair], noisy: bool, taken: Places, reading: Reading, made_of: dict[Pair, str]
) -> dict[Pair, tuple[str, str]]:
    """Name and reason of each that cannot be used; all are decoded once before anything is written.

    `made_of` gets a digest of what each of the others is made of.
    """
    bad = {}
    for pair in tqdm(pairs, desc="looking", disable=None, unit="picture", leave=False):
        whose = ""
        try:
            original = pair.entry.read()
            pages = decoding.decode_pages(original, reading, pair.entry.name)
            encoding.encode(pages, original)  # what cannot be written is found out before anything is
            reference = None
            if pair.reference is not None:
                whose = "its reference "
                reference = pair.reference.read()
                _refuse_unlike(decoding.decode_pages(reference, reading, pair.entry.name), pages)
            whose = ""
            taken.take(_outputs([pair], noisy), pair.entry.name)
            made_of[pair] = _made_of(original, reference)
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
    run: Run, pair: Pair, config: DenoiseConfig, reading: Reading, work: Work, device: torch.device
) -> Cleaned:
    """Write the picture cleaned, and with the noise that was added; measure it where there is a reference."""
    name, original = pair.entry.name, pair.entry.read()
    reference = None if pair.reference is None else pair.reference.read()
    seen = pages = decoding.decode_pages(original, reading, name)
    files, noisy = {}, config.noise.corrupts
    if noisy:
        seen = [_with_noise(page, config.noise, config.seed, name, number) for number, page in enumerate(pages)]
        files[f"noisy/{name}"] = encoding.encode(seen, original)
    result = [through(run, page, device) for page in seen]
    files[name] = data = encoding.encode(result, original)
    figures = None
    if noisy or reference is not None:
        expected = pages if reference is None else decoding.decode_pages(reference, reading, name)
        after = decoding.decode_pages(data, reading, name)  # the figures are the file's, with what its format lost
        figures = astuple(likeness.measure(seen, after if len(after) == len(result) else result, expected))
    work.write(files, _made_of(original, reference), figures)
    return _done(pair, figures, noisy, work.root)


def _made_of(original: bytes, reference: bytes | None) -> str:
    """A digest of what a picture's outputs depend on beside the settings and its name."""
    return notes.digest(original) if reference is None else notes.digest(original, reference)


def _done(pair: Pair, figures: Sequence[float] | None, noisy: bool, target: Path) -> Cleaned:
    """A picture whose outputs are there."""
    name = pair.entry.name
    views = {"before": pair.entry, "after": _written(target / name)}
    reference = pair.reference
    if noisy:
        views["before"], reference = _written(target / "noisy" / name), pair.entry
    if reference is not None:
        views["reference"] = reference
    return Cleaned(name, views, None if figures is None else Likeness(*figures))


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
