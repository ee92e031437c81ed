"""`aectl decode`: codes in a file back to pictures."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import storage
from aectl.commands import unpacking, works
from aectl.commands.schemas import DecodeConfig
from aectl.data.images import to_uint8
from aectl.errors import CheckpointError, DataError, brief, counted
from aectl.files import aec, below, codes, notes, places, unfinished
from aectl.files.pictures import png
from aectl.machine import devices
from aectl.runs import sanity
from aectl.runs.opening import Run, open_run, open_with_code

BATCH = 500  # pictures held at a time
SOME = 50  # that are announced and written together
LARGE = 1e4  # no encoder gives such a number

log = logging.getLogger(__name__)


def run_decode(config: DecodeConfig, folder: Path) -> None:
    """Pictures from the codes in `config.input`, as PNG under the codes' names, into `config.output`.

    Raises:
        DataError: the codes cannot be used, or a name cannot be that of a picture below the output folder.
        StorageError: a picture is there already, a file is in the way, or other work has been left unfinished there.
    """
    del folder  # what it makes lands in config.output
    source, target = storage.expanded(config.input), storage.expanded(config.output)
    device = devices.choose(config.device, config.threads)
    if source.suffix == aec.SUFFIX:
        unpacking.unpack(open_run(config.run, config.checkpoint, device), config, device)
        return
    run = open_with_code(config.run, config.checkpoint, device)
    names, found = codes.read(source, run.config.latent)
    try:
        files = below.png_names(names, target)
    except ValueError as error:
        raise DataError(f"input={source}: {error}") from None
    below.refuse_obstacles([target / file for file in files], target)
    given = notes.digest(*names, found.numpy().tobytes())
    work = works.work(run, config, device, target, folder=True, codes=given)
    work.refuse(files)
    _refuse_senseless(run, names, found, device, source)
    with places.prepared((target / file for file in files), target), work.begun(files):
        missing = [not work.kept([file], given) for file in files]
        unfinished.tell(missing.count(False), len(files), target)
        images = tqdm(_decoded(run, found, device), total=len(names), disable=None, unit="picture", leave=False)
        wanted = ((file, image) for file, image, is_missing in zip(files, images, missing, strict=True) if is_missing)
        while some := list(itertools.islice(wanted, SOME)):
            work.write({file: png.of_image(to_uint8(image).numpy()) for file, image in some}, given)
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
