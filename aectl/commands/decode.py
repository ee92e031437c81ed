"""`aectl decode`: codes in a file back to pictures."""

import logging
import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import storage
from aectl.commands.schemas import DecodeConfig
from aectl.data.images import to_uint8
from aectl.errors import CheckpointError, DataError, StorageError, brief, counted
from aectl.files import codes, places
from aectl.files.pictures import png
from aectl.machine import devices
from aectl.runs import sanity
from aectl.runs.opening import Run, open_with_code

BATCH = 500  # pictures held at a time
LARGE = 1e4  # no encoder gives such a number
FOLDS = sys.platform in ("darwin", "win32")  # where A.png and a.png are one file

log = logging.getLogger(__name__)


def run_decode(config: DecodeConfig, folder: Path) -> None:
    """Pictures from the codes in `config.input`, as PNG under the codes' names, into `config.output`.

    Raises:
        DataError: the codes cannot be used, or a name cannot be that of a picture below the output folder.
        StorageError: a picture is there already, or a file is in the way.
    """
    del folder  # what it makes lands in config.output
    source, target = storage.expanded(config.input), storage.expanded(config.output)
    device = devices.choose(config.device, config.threads)
    run = open_with_code(config.run, config.checkpoint, device)
    names, found = codes.read(source, run.config.latent)
    try:
        paths = [target / name for name in png_names(names, target)]
    except ValueError as error:
        raise DataError(f"input={source}: {error}") from None
    _refuse_overwriting(paths, target, config.overwrite)
    _refuse_senseless(run, names, found, device, source)
    with places.prepared(paths):
        images = tqdm(_decoded(run, found, device), total=len(names), disable=None, unit="picture", leave=False)
        for path, image in zip(paths, images, strict=True):
            storage.replace(path, png.of_image(to_uint8(image).numpy()))
    log.info("%s: %s", counted(len(names), "picture"), target)


def _refuse_senseless(run: Run, names: Sequence[str], z: Tensor, device: torch.device, source: Path) -> None:
    """Decode everything before the first picture is written, and look at what comes out.

    Raises:
        DataError: no picture comes from numbers of a size that no encoder gives.
        CheckpointError: nor from usual ones, so that it must be the weights.
    """
    sanity.watch(run)
    try:
        for image in _decoded(run, z, device):
            sanity.check_picture(image, run)
    except CheckpointError:
        sizes = z.abs().amax(1)
        if sizes.max() <= LARGE:
            raise
        name = brief(repr(names[int(sizes.argmax())]))
        raise DataError(
            f"input={source}: the code of {name} has a number of size {sizes.max():.3g}, from which no picture comes"
        ) from None


def _decoded(run: Run, z: Tensor, device: torch.device) -> Iterator[Tensor]:
    """The image, (C, H, W), of each code."""
    for some in z.split(BATCH):
        with torch.inference_mode():
            images = run.model.decode(some.to(device)).cpu()
        yield from images


def png_names(names: Sequence[str], folder: Path) -> list[str]:
    """The PNG file, as its path below `folder`, for each of these names, of which no two are equal.

    A name that ends in .png is kept, any other gets .png after it, so a.jpg becomes a.jpg.png. Where that is the name
    of another picture, or of a folder that one is in, it gets one .png more. So no name loses a part, none meet.

    Raises:
        ValueError: a name would lead out of the folder, or names no file that the folder could have.
    """
    for name in names:
        if reason := _unfit(name):
            raise _refusal(name, reason)
    _refuse_too_long(names, folder)
    taken = {_same("/".join(parts[:depth])) for parts in map(_parts, names) for depth in range(1, len(parts))}
    found = {}
    for name in names:
        if name.lower().endswith(".png") and _same(name) not in taken:
            found[name] = name
            taken.add(_same(name))
    for name in names:
        if name not in found:
            file = name + ".png"
            while _same(file) in taken:
                file += ".png"
            found[name] = file
            taken.add(_same(file))
    _refuse_too_long(list(found.values()), folder)
    return [found[name] for name in names]


def _same(name: str) -> str:
    """Equal for names that are one file here."""
    return unicodedata.normalize("NFC", name).casefold() if FOLDS else name


def _parts(name: str) -> list[str]:
    return name.replace(os.sep, "/").split("/")


def _unfit(name: str) -> str:
    """Why a name cannot be used; empty where it can."""
    if not name:
        return "it is empty"
    if "\0" in name:
        return "it has a NUL"
    if Path(name).anchor:
        return "it is absolute"
    if ".." in _parts(name):
        return "it would lead out of it"
    if set(_parts(name)) & {"", "."}:
        return "a part of it is empty or a dot"
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return "the file system cannot write it"
    return ""


def _refusal(name: str, reason: str) -> ValueError:
    return ValueError(f"{brief(repr(name), 60)} cannot name a picture below the output folder: {reason}; rename it")


def _refuse_too_long(names: Sequence[str], folder: Path) -> None:
    """Raise ValueError for a path that the file system does not take; it is asked, as each has its own limits."""
    place = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    asked: set[str] = set()
    for name in names:
        # Each part by itself as well, because nothing is asked about what lies in a folder that is not there yet.
        for path in (folder / name, *(place / part for part in _parts(name) if part not in asked)):
            try:
                path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise _refusal(name, error.strerror) from None
        asked.update(_parts(name))


def _refuse_overwriting(paths: Sequence[Path], target: Path, overwrite: bool) -> None:
    folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(target)}
    for folder in sorted(folders | {target}):
        if folder.exists() and not folder.is_dir():
            raise StorageError(f"output={target}: {folder} is a file, where a folder is needed; choose another")
    for path in paths:
        if path.is_dir():
            raise StorageError(f"output={target}: {path} is a folder, where a picture would go; choose another")
        if path.exists() and not overwrite:
            there = brief(path.relative_to(target), 60)
            raise StorageError(f"output={target}: has {there} already; choose another folder or set overwrite=true")
