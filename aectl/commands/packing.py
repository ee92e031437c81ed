"""`aectl encode output=<file>.aec`: pictures to bits in a file, which `aectl decode` makes pictures again."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from aectl import shell
from aectl.coding import coders
from aectl.coding.bits_back import GarbledError
from aectl.coding.coders import Coder
from aectl.commands.inputs import Inputs, Source
from aectl.commands.schemas import EncodeConfig
from aectl.errors import CheckpointError, DataError, MemoryShortError, counted
from aectl.files import aec, places, unusable
from aectl.files.pictures import fitting
from aectl.files.pictures.reading import Picture
from aectl.files.unfinished import Work
from aectl.runs import packed
from aectl.runs.opening import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """Pictures as bits.

    Attributes:
        sources: which they are.
        sizes: (height, width) of each.
        blocks: how many of them each block has, and its bits.
        errors: mean squared error of each as it comes back, on the scale of [0, 1] pixels; 0 without loss.
    """

    sources: list[Source] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    blocks: list[tuple[int, bytes]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)


def pack(run: Run, given: Inputs, config: EncodeConfig, target: Path, work: Work) -> None:
    """The pictures as bits into `target`, by `work`, each decoded again and compared before the file is there.

    Raises:
        DataError: a picture cannot be coded as it is.
        CheckpointError: what was coded does not come back.
        StorageError: the file cannot be written.
    """
    coder = packed.coder_of(run)
    bad = unusable.beside(target)
    with places.prepared([target, bad]), work.begun([target.name]):
        found = _coded(run, given, coder, config)
        names = [source.name for source in found.sources]
        labels = [source.label if config.labels else None for source in found.sources]
        data = packed.whole(run, coder, found.blocks, names, found.sizes, labels)
        work.write({target.name: data, **({bad.name: unusable.listed(given.bad)} if given.bad else {})})
        unusable.tell(bad, given.bad)
    _tell(run, coder, found, target, len(data))
    then = {"run": run.path, "input": target, "output": target.with_name(f"{target.stem}_pictures")}
    log.info(
        "%s", shell.what_next(shell.command("decode", *(shell.setting(key, path) for key, path in then.items())))
    )


def _coded(run: Run, given: Inputs, coder: Coder, config: EncodeConfig) -> Found:
    found = Found()
    with tqdm(total=len(given.sources), disable=None, unit="picture", leave=False) as bar:
        for some, pictures in _blocks(given, coder):
            block, again = _there_and_back(run, coder, some, pictures)
            found.sources.extend(some)
            found.sizes.extend(picture.shape[1:] for picture in pictures)
            found.blocks.append((len(some), block))
            found.errors.extend(_error(*pair) for pair in zip(pictures, again, strict=True))
            bar.update(len(some))
    unusable.settle(given.bad, len(given.sources), f"input={config.input}", "on_bad", config.on_bad)
    return found


def _there_and_back(
    run: Run, coder: Coder, some: Sequence[Source], pictures: Sequence[np.ndarray]
) -> tuple[bytes, list[np.ndarray]]:
    """The bits of some pictures, and what comes out of them.

    Raises:
        CheckpointError: something else than it should.
    """
    sizes = [picture.shape[1:] for picture in pictures]
    # A block of many small pictures takes a minute: it has a bar of its own.
    with tqdm(total=2 * coder.steps(sizes), disable=None if len(some) > 1 else True, unit="tile", leave=False) as bar:
        block = coder.pack(pictures, bar.update)
        try:
            again = coder.unpack(block, sizes, bar.update)
            whole = not coder.exact or coders.same(pictures, again)
        except (GarbledError, DataError):
            whole = False
    if not whole:
        names = [source.name for source in some]
        raise CheckpointError(
            f"run={run.path}: {aec.whose(names, 0, len(names) - 1)} do not come back from their bits, so nothing is "
            "written: this machine does not compute the same twice; take another checkpoint, or another machine"
        )
    return block, again


def _error(picture: np.ndarray, again: np.ndarray) -> float:
    return float(np.square((picture.astype(np.float64) - again) / 255).mean())


def _blocks(given: Inputs, coder: Coder) -> Iterator[tuple[list[Source], list[np.ndarray]]]:
    """The pictures that can be coded, those of a block at a time."""
    some: list[Source] = []
    pictures: list[np.ndarray] = []
    for source in given.sources:
        try:
            picture = _values(source.read(), given.run, coder)
            coder.check(picture)
        except MemoryShortError:
            raise  # which is no fault of the picture's
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


def _values(picture: Picture, run: Run, coder: Coder) -> np.ndarray:
    """What is coded of a picture, (C, H, W), uint8: all that it has, or with loss what the run's data set would see.

    Raises:
        DataError: all of it cannot be.
    """
    channels = run.shape[0]
    if not coder.exact:
        return fitting.with_channels(picture, channels, run.config.dataset.own_fit[1])
    if picture.values.dtype != np.uint8:
        raise DataError("has more than 8 bits a value, and the run's images have 8")
    if picture.several:
        raise DataError("has several pages or frames, of which one would be kept")
    if picture.alpha is not None:
        raise DataError("has transparency, which the run's images have not")
    if picture.mode in ("LAB", "CMYK") or len(picture.values) != channels:
        raise DataError(f"is {picture.mode}, and the run's images are {'grey' if channels == 1 else 'RGB'}")
    return picture.values


def _tell(run: Run, coder: Coder, found: Found, target: Path, size: int) -> None:
    pixels = sum(height * width for height, width in found.sizes)
    values = run.shape[0] * pixels
    rest = counted(size - sum(len(block) for _, block in found.blocks), "byte")
    log.info("%s in %s: %s", counted(len(found.sources), "picture"), counted(size, "byte"), target)
    if coder.exact:
        log.info(
            "%.4f bits per value, %.1f to 1 of 8-bit values; %s of it names, sizes, labels and the run's hash; "
            "compared with the originals, bit by bit", 8 * size / values, values / size, rest,
        )  # fmt: skip
    else:
        psnr = -10 * np.log10(np.maximum(found.errors, 1e-10)).mean()
        log.info(
            "%.4f bits per pixel, %.1f to 1 of 8-bit values; %s of it names, sizes, labels and the run's hash; "
            "PSNR %.2f dB", 8 * size / pixels, values / size, rest, psnr,
        )  # fmt: skip
