"""`aectl encode output=<file>.aec`: pictures to bits in a file, which `aectl decode` makes pictures again."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aectl import shell, storage
from aectl.coding import coders
from aectl.coding.bits_back import GarbledError
from aectl.coding.coders import Coder, Progress
from aectl.commands.inputs import Inputs, Source
from aectl.commands.schemas import EncodeConfig
from aectl.errors import CheckpointError, DataError, counted
from aectl.files import aec, numbered, places, unusable
from aectl.files.pictures.reading import Picture
from aectl.machine import facts
from aectl.runs.opening import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Packed:
    """Pictures as bits.

    Attributes:
        sources: which they are.
        sizes: (height, width) of each.
        counts: how many of them each block has.
        blocks: their bits.
    """

    sources: list[Source]
    sizes: list[tuple[int, int]]
    counts: list[int]
    blocks: list[bytes]


def pack(run: Run, given: Inputs, config: EncodeConfig, target: Path) -> None:
    """The pictures as bits into `target`, each decoded again and compared before the file is there.

    Raises:
        DataError: a picture cannot be coded as it is.
        CheckpointError: what was coded does not come back.
        StorageError: the file cannot be written.
    """
    coder = coders.coder_of(run.model, run.shape, f"run={run.path}")
    with places.prepared([target, unusable.beside(target)]):
        found = _packed(run, given, coder, config)
        header = _header(run, coder, found)
        data = aec.to_bytes(header, found.blocks)
        storage.replace(target, data)
        unusable.write(unusable.beside(target), given.bad)
    _tell(run, found, target, len(data))
    then = {"run": run.path, "input": target, "output": target.with_name(f"{target.stem}_pictures")}
    log.info(
        "%s", shell.what_next(shell.command("decode", *(shell.setting(key, path) for key, path in then.items())))
    )


def _packed(run: Run, given: Inputs, coder: Coder, config: EncodeConfig) -> Packed:
    found = Packed([], [], [], [])
    for some, pictures in _blocks(given, coder):
        sizes = [picture.shape[1:] for picture in pictures]
        with tqdm(
            total=2 * coder.steps(sizes), disable=None, unit="tile", desc="there, and back", leave=False
        ) as bar:
            block = coder.pack(pictures, bar.update)
            _verify(run, coder, some, pictures, block, bar.update)
        found.sources.extend(some)
        found.sizes.extend(sizes)
        found.counts.append(len(some))
        found.blocks.append(block)
    unusable.settle(given.bad, len(given.sources), f"input={config.input}", "on_bad", config.on_bad)
    return found


def _blocks(given: Inputs, coder: Coder) -> Iterator[tuple[list[Source], list[np.ndarray]]]:
    """The pictures that can be coded, those of a block at a time."""
    some: list[Source] = []
    pictures: list[np.ndarray] = []
    for source in given.sources:
        try:
            picture = _exactly(source.read(), given.run.shape[0])
            coder.check(picture)
        except ValueError as error:
            given.bad.append((source.name, str(error)))
            continue
        if some and sum(one.size for one in pictures) + picture.size > coder.room:
            yield some, pictures
            some, pictures = [], []
        some.append(source)
        pictures.append(picture)
    if some:
        yield some, pictures


def _exactly(picture: Picture, channels: int) -> np.ndarray:
    """The values of a picture, (C, H, W), uint8, where they are all that it has.

    Raises:
        DataError: something would be lost.
    """
    if picture.values.dtype != np.uint8:
        raise DataError("has more than 8 bits a value, and the run's images have 8")
    if picture.several:
        raise DataError("has several pages or frames, of which one would be kept")
    if picture.alpha is not None:
        raise DataError("has transparency, which the run's images have not")
    if picture.mode in ("LAB", "CMYK") or len(picture.values) != channels:
        raise DataError(f"is {picture.mode}, and the run's images are {'grey' if channels == 1 else 'RGB'}")
    return picture.values


def _verify(
    run: Run, coder: Coder, some: Sequence[Source], pictures: Sequence[np.ndarray], block: bytes, progress: Progress
) -> None:
    try:
        again = coder.unpack(block, [picture.shape[1:] for picture in pictures], progress)
        whole = coders.same(pictures, again)
    except (GarbledError, DataError):
        whole = False
    if not whole:
        names = [source.name for source in some]
        raise CheckpointError(
            f"run={run.path}: {aec.whose(names, 0, len(names) - 1)} do not come back from their bits, so nothing is "
            "written: this machine does not compute the same twice; take another checkpoint, or another machine"
        )


def _header(run: Run, coder: Coder, found: Packed) -> aec.Header:
    sizes = [list(size) for size in found.sizes]
    labels, labelled = aec.labelled([source.label for source in found.sources])
    return aec.Header(
        coding=coder.name,
        run=run.path.name,
        weights=run.checkpoint.weights,
        machine=f"{facts.software()}; {facts.processor()}",
        shape=list(run.shape),
        names=numbered.folded(source.name for source in found.sources),
        sizes=sizes[:1] if all(size == sizes[0] for size in sizes) else sizes,
        labels=labels,
        labelled=labelled,
        blocks=found.counts,
    )


def _tell(run: Run, found: Packed, target: Path, size: int) -> None:
    bits = sum(len(block) for block in found.blocks)
    values = run.shape[0] * sum(height * width for height, width in found.sizes)
    log.info("%s in %s: %s", counted(len(found.sources), "picture"), counted(size, "byte"), target)
    log.info(
        "%.4f bits per value, %.1f to 1 of 8-bit values; %s of it names, sizes, labels and the run's hash; compared "
        "with the originals, bit by bit", 8 * size / values, values / size, counted(size - bits, "byte"),
    )  # fmt: skip
