"""`aectl decode input=<file>.aec`: bits back to pictures."""

import csv
import io
import logging
from pathlib import Path

from tqdm import tqdm

from aectl import storage
from aectl.coding.bits_back import GarbledError
from aectl.coding.coders import Coder
from aectl.errors import CheckpointError, DataError, brief, counted
from aectl.files import aec, below, places
from aectl.files.pictures import png
from aectl.machine import facts, memory
from aectl.runs import packed
from aectl.runs.opening import Run

LABELS = "labels.csv"
TAKEN = 8  # bytes for each value of a picture: the numbers that the bits are, and what they become

log = logging.getLogger(__name__)


def unpack(run: Run, source: Path, target: Path, overwrite: bool) -> None:
    """The pictures of a file that `aectl encode` wrote, as PNG under their names, into the folder `target`.

    Where they have labels these are written beside them, as labels.csv.

    Raises:
        DataError: the file is damaged, or what comes out is not what went in.
        CheckpointError: another run made it.
        StorageError: a picture is there already, or a file is in the way.
    """
    header, found, blocks = aec.read(source)
    _refuse_another(run, header, source)
    coder = packed.coder_of(run)
    if coder.name != header.coding or list(run.shape) != header.shape:
        raise DataError(f"input={source}: was coded as {header.coding} of {header.shape}, which this run does not do")
    try:
        paths = [target / name for name in below.png_names(found.names, target)]
    except ValueError as error:
        raise DataError(f"input={source}: {error}") from None
    labels = [target / LABELS] if header.labelled else []
    below.refuse_overwriting([*paths, *labels], target, overwrite)
    log.info("with %s", run.title)
    with places.prepared([*paths, *labels], target):
        first = 0
        for count, block in zip(header.blocks, blocks, strict=True):
            _write(coder, block, found, paths[first : first + count], first, (source, header))
            first += count
        if labels:
            _write_labels(labels[0], found)
    log.info("%s: %s", counted(len(paths), "picture"), target)


def _refuse_another(run: Run, header: aec.Header, source: Path) -> None:
    if header.weights != run.checkpoint.weights:
        then, now = (brief(weights[:12]) for weights in (header.weights, run.checkpoint.weights))
        raise CheckpointError(
            f"input={source}: was encoded with the run {brief(header.run, 80)} (weights {then}), and run={run.path} "
            f"at step {run.progress.step} has others ({now}); give that run, with the checkpoint= of then"
        )


def _write(
    coder: Coder, block: bytes, found: aec.Contents, paths: list[Path], first: int, of: tuple[Path, aec.Header]
) -> None:
    """The pictures of a block, which begin with the `first` of all."""
    source, header = of
    sizes = found.sizes[first : first + len(paths)]
    where = f"input={source}: {aec.whose(found.names, first, first + len(paths) - 1)}"
    pixels = header.shape[0] * sum(height * width for height, width in sizes)
    memory.require(TAKEN * pixels, lambda: where)
    try:
        with tqdm(total=coder.steps(sizes), disable=None, unit="tile", leave=False) as bar:
            pictures = coder.unpack(block, sizes, bar.update)
    except DataError as error:
        raise DataError(f"{where}: {error}; take another copy of it") from None
    except GarbledError as error:
        garbled = aec.whose(found.names, first + error.first, first + error.last)
        here = f"{facts.software()}; {facts.processor()}"
        raise DataError(
            f"input={source}: {garbled}: do not come back as they were: this machine ({here}) does not "
            f"compute to the last bit what that of then did ({brief(header.machine, 200)}); decode there"
        ) from None
    for path, picture in zip(paths, pictures, strict=True):
        storage.replace(path, png.of_image(picture))


def _write_labels(path: Path, found: aec.Contents) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(
        [("name", "label"), *((name, label or "") for name, label in zip(found.names, found.labels, strict=True))]
    )
    storage.replace(path, buffer.getvalue().encode("utf-8", "surrogateescape"))
