"""`aectl encode`: pictures to codes in a file."""

import logging
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import shell, storage
from aectl.commands.schemas import EncodeConfig
from aectl.data.images import Images, to_float
from aectl.errors import CheckpointError, DataError, StorageError, brief
from aectl.files import codes, formats, listing, places, unusable
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.machine import devices
from aectl.measuring import metrics
from aectl.rng import generator
from aectl.runs import sanity
from aectl.runs.opening import Run, open_data, open_with_code

BATCH = 500  # pictures held at a time

Batch = tuple[list[str], Tensor]  # names, and pixels (N, C, H, W), uint8

log = logging.getLogger(__name__)


def run_encode(config: EncodeConfig, folder: Path) -> None:
    """Codes of pictures, or of the run's test images, into `config.output`: the posterior's means, or draws of it.

    Raises:
        DataError: pictures cannot be used, or two of them have one name.
        ConfigError: the run has no code, or a package is missing.
        CheckpointError: it gives codes that are not finite.
        StorageError: the output is there already, or cannot be written.
    """
    del folder  # what it makes is config.output
    target = _place(config.output, config.overwrite)
    formats.prepare(target.suffix)
    device = devices.choose(config.device, config.threads)
    run = open_with_code(config.run, config.checkpoint, device)
    sanity.watch(run)
    bad: list[tuple[str, str]] = []
    if config.input is None:
        batches = _test_images(open_data(run, config.data.root).part("test", "give input=<image or folder>"))
    else:
        listed = listing.at(storage.expanded(config.input), "input")
        if listed.rest():
            log.info("passed over in %s: %s", config.input, listed.rest())
        own = run.config.dataset.own_scale
        reading = Reading(config.scale if config.scale is not None else own, config.picture_gb)
        batches = _pictures(run, listed.entries, reading, bad)
    with places.prepared([target, unusable.beside(target)]):
        names, found, errors = [], [], []
        with torch.inference_mode():
            for some, pixels in batches:
                x = to_float(pixels.to(device))
                code = run.model.encode(x)
                rng = generator(device, "encode", config.seed, len(names))
                z = code.sample(rng)[0] if config.sample else code.mu
                if not z.isfinite().all():
                    first = some[int((~z.isfinite()).any(1).int().argmax())]
                    raise CheckpointError(
                        f"run={run.path}: its code of {brief(repr(first))} is not finite; take another run or "
                        "checkpoint"
                    )
                names += some
                found.append(z.cpu())
                errors.append(metrics.psnr(run.model.decode(z), x).cpu())
        unusable.settle(bad, len(names) + len(bad), f"input={config.input}", "on_bad", config.on_bad)
        z = torch.cat(found)
        codes.write(target, names, z.numpy())
        unusable.write(unusable.beside(target), bad)
    raw, kept = math.prod(run.shape), 4 * z.shape[1]
    log.info("%d codes of %d numbers: %s", len(names), z.shape[1], target)
    log.info(
        "%d bytes a picture become %d: compression %.1f to 1, PSNR %.2f dB", raw, kept, raw / kept,
        torch.cat(errors).mean(),
    )  # fmt: skip
    then = {"run": run.path, "input": target, "output": target.with_name(f"{target.stem}_pictures")}
    back = shell.command("decode", *(shell.setting(key, path) for key, path in then.items()))
    log.info("back to pictures: %s", back)


def _place(output: str, overwrite: bool) -> Path:
    target = storage.expanded(output)
    if target.is_dir() or (target.exists() and not overwrite):
        raise StorageError(f"output={target}: is there already; choose another or set overwrite=true")
    return target


def _test_images(test: Images) -> Iterator[Batch]:
    first = 0
    for pixels in tqdm(test.chunks(BATCH), disable=None, unit="batch", leave=False):
        yield [f"test{first + index:05d}" for index in range(len(pixels))], pixels
        first += len(pixels)


def _pictures(run: Run, entries: Sequence[Entry], reading: Reading, bad: list[tuple[str, str]]) -> Iterator[Batch]:
    """Pictures, brought to the run's channels and size as its own data set was; `bad` gets those that cannot be."""
    channels, *size = run.shape
    fit, background = run.config.dataset.own_fit
    names, pixels = [], []
    for entry in tqdm(entries, disable=None, unit="picture", leave=False):
        try:
            values = fitting.with_channels(decoding.decode(entry.read(), reading, entry.name), channels, background)
            values = fitting.fitted(values, tuple(size), fit, background)
        except DataError as error:
            bad.append((entry.name, str(error)))
            continue
        names.append(entry.name)
        pixels.append(torch.from_numpy(values.copy()))
        if len(names) == BATCH:
            yield names, torch.stack(pixels)
            names, pixels = [], []
    if names:
        yield names, torch.stack(pixels)
    for line in reading.notes():
        log.info("%s", line)
