"""`aectl decode input=<file>.aec`: bits back to pictures."""

import csv
import io
import logging
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from aectl import storage
from aectl.coding.bits_back import GarbledError
from aectl.coding.coders import Coder
from aectl.commands import works
from aectl.commands.schemas import DecodeConfig
from aectl.errors import CheckpointError, DataError, brief, counted
from aectl.files import aec, below, notes, places, unfinished
from aectl.files.pictures import png
from aectl.machine import facts, memory
from aectl.runs import packed
from aectl.runs.opening import Run
from aectl.settings import typed

LABELS = "labels.csv"
TAKEN = 8  # bytes for each value of a picture: the numbers that the bits are, and what they become

log = logging.getLogger(__name__)


def unpack(run: Run, config: DecodeConfig, device: torch.device) -> None:
    """The pictures of a file that `aectl encode` wrote, as PNG under their names, into the folder `config.output`.

    Where they have labels these are written beside them, as labels.csv.

    Raises:
        DataError: the file is damaged, or what comes out is not what went in.
        CheckpointError: another run made it.
        StorageError: a picture is there already, a file is in the way, or other work has been left unfinished there.
    """
    source, target = storage.expanded(config.input), storage.expanded(config.output)
    header, found, blocks = aec.read(source)
    _refuse_another(run, header, source)
    coder = packed.coder_of(run)
    if coder.name != header.coding or list(run.shape) != header.shape:
        raise DataError(f"input={source}: was coded as {header.coding} of {header.shape}, which this run does not do")
    try:
        files = below.png_names(found.names, target)
    except ValueError as error:
        raise DataError(f"input={source}: {error}") from None
    names = [*files, LABELS] if header.labelled else files
    below.refuse_obstacles([target / name for name in names], target)
    given = notes.digest(*blocks)
    work = works.work(run, config, device, target, folder=True, header=typed.to_dict(header), blocks=given)
    work.refuse(names)
    log.info("with %s", run.title)
    with places.prepared((target / name for name in names), target), work.begun(names):
        there = {file for file in files if work.kept([file], given)}
        unfinished.tell(len(there), len(files), target)
        first = 0
        for count, block in zip(header.blocks, blocks, strict=True):
            own = files[first : first + count]
            if not there.issuperset(own):
                pictures = _unpacked(coder, block, found, first, count, (source, header))
                for file, picture in zip(own, pictures, strict=True):
                    if file not in there:
                        work.write({file: png.of_image(picture)}, given)
            first += count
        if header.labelled:
            work.write({LABELS: _labels(found)})
    log.info("%s: %s", counted(len(files), "picture"), target)


def _refuse_another(run: Run, header: aec.Header, source: Path) -> None:
    if header.weights != run.checkpoint.weights:
        then, now = (brief(weights[:12]) for weights in (header.weights, run.checkpoint.weights))
        raise CheckpointError(
            f"input={source}: was encoded with the run {brief(header.run, 80)} (weights {then}), and run={run.path} "
            f"at step {run.progress.step} has others ({now}); give that run, with the checkpoint= of then"
        )


def _unpacked(
    coder: Coder, block: bytes, found: aec.Contents, first: int, count: int, of: tuple[Path, aec.Header]
) -> list[np.ndarray]:
    """The `count` pictures of a block, which begin with the `first` of all."""
    source, header = of
    sizes = found.sizes[first : first + count]
    where = f"input={source}: {aec.whose(found.names, first, first + count - 1)}"
    pixels = header.shape[0] * sum(height * width for height, width in sizes)
    memory.require(TAKEN * pixels, lambda: where)
    try:
        with tqdm(total=coder.steps(sizes), disable=None, unit="tile", leave=False) as bar:
            return coder.unpack(block, sizes, bar.update)
    except DataError as error:
        raise DataError(f"{where}: {error}; take another copy of it") from None
    except GarbledError as error:
        garbled = aec.whose(found.names, first + error.first, first + error.last)
        here = f"{facts.software()}; {facts.processor()}"
        raise DataError(
            f"input={source}: {garbled}: do not come back as they were: this machine ({here}) does not "
            f"compute to the last bit what that of then did ({brief(header.machine, 200)}); decode there"
        ) from None


def _labels(found: aec.Contents) -> bytes:
    """Names and labels as CSV."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(
        [("name", "label"), *((name, label or "") for name, label in zip(found.names, found.labels, strict=True))]
    )
    return buffer.getvalue().encode("utf-8", "surrogateescape")
