"""`aectl encode`: pictures to codes in a file, or to bits; the latter is `aectl.commands.packing`."""

import logging
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aectl import shell, storage
from aectl.commands import inputs, packing, works
from aectl.commands.inputs import Inputs, Source
from aectl.commands.schemas import EncodeConfig
from aectl.data.images import to_float
from aectl.errors import CheckpointError, brief, counted
from aectl.files import aec, codes, formats, places, unusable
from aectl.files.columns import Beside
from aectl.machine import devices
from aectl.measuring import metrics
from aectl.models.posteriors import Code
from aectl.rng import generator
from aectl.runs import sanity
from aectl.runs.opening import Run, open_data, open_run, open_with_code

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Pictures as codes.

    Attributes:
        names, labels: N of them; the label is None for a picture of no class.
        z: (N, K), the posterior's means, or draws of it.
        sigma: (N, K), σ of q(z|x); None for a code that is a point.
        psnr: (N,), dB, of the pictures that `z` gives back.
        flat: (N,), dB, of pictures that have their mean, or their mean colour, everywhere.
    """

    names: list[str]
    labels: list[str | None]
    z: Tensor
    sigma: Tensor | None
    psnr: Tensor
    flat: Tensor


def run_encode(config: EncodeConfig, folder: Path) -> None:
    """Codes of pictures, or of the run's test images, into `config.output`: the posterior's means, or draws of it.

    A file `.aec` gets the pictures themselves, as bits.

    Raises:
        DataError: pictures cannot be used, or two of them have one name.
        ConfigError: the run has no code, or a package is missing.
        CheckpointError: it gives codes that are not finite.
        StorageError: the output is there already, or cannot be written.
    """
    del folder  # what it makes is config.output
    target = storage.expanded(config.output)
    device = devices.choose(config.device, config.threads)
    if target.suffix == aec.SUFFIX:
        run = open_run(config.run, config.checkpoint, device)
        log.info("with %s, %s checkpoint", run.title, config.checkpoint)
        work = works.work(run, config, device, target, folder=False)
        work.refuse([target.name])
        packing.pack(run, _inputs(run, config), config, target, work)
        return
    formats.prepare(target.suffix)
    run = open_with_code(config.run, config.checkpoint, device)
    work = works.work(run, config, device, target, folder=False)
    work.refuse([target.name])
    sanity.watch(run)
    given, bad = _inputs(run, config), unusable.beside(target)
    with places.prepared([target, bad]), work.begun([target.name]):
        found = _encoded(given, config, device)
        data = codes.written(target, found.names, found.z.numpy(), _beside(found, config.labels))
        work.write({target.name: data, **({bad.name: unusable.listed(given.bad)} if given.bad else {})})
        unusable.tell(bad, given.bad)
    _tell(run, found, target)
    given.say_stretched()
    if config.input is not None:
        _say_unlike(found)
    then = {"run": run.path, "input": target, "output": target.with_name(f"{target.stem}_pictures")}
    log.info(
        "%s", shell.what_next(shell.command("decode", *(shell.setting(key, path) for key, path in then.items())))
    )


def _inputs(run: Run, config: EncodeConfig) -> Inputs:
    if config.input is None:
        return inputs.of_test_part(run, open_data(run, config.data.root), "give input=<folder, zip or array>")
    return inputs.of_place(storage.expanded(config.input), run, config.scale, config.picture_gb)


@torch.inference_mode()
def _encoded(given: Inputs, config: EncodeConfig, device: torch.device) -> Encoded:
    """All of the inputs, batch by batch.

    Raises:
        DataError: pictures cannot be used, and may not be left out.
        CheckpointError: a code is not finite.
    """
    run, sources = given.run, []
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for some, pixels in given.batches():
        x = to_float(pixels.to(device))
        code = run.model.encode(x)
        z = code.sample(generator(device, "encode", config.seed, len(sources)))[0] if config.sample else code.mu
        _refuse_not_finite(run, some, z)
        sources += some
        flat = x.mean((2, 3), keepdim=True).expand_as(x)
        found = {"z": z, "psnr": metrics.psnr(run.model.decode(z), x), "flat": metrics.psnr(flat, x), **_sigma(code)}
        for name, values in found.items():
            parts[name].append(values.cpu())
    unusable.settle(given.bad, len(given.sources), f"input={config.input}", "on_bad", config.on_bad)
    whole = {name: torch.cat(values) for name, values in parts.items()}
    return Encoded([one.name for one in sources], [one.label for one in sources], **{"sigma": None, **whole})


def _sigma(code: Code) -> dict[str, Tensor]:
    return {} if code.logvar is None else {"sigma": (0.5 * code.logvar).exp()}


def _refuse_not_finite(run: Run, some: Sequence[Source], z: Tensor) -> None:
    bad = (~z.isfinite()).any(1)
    if bad.any():
        first = brief(repr(some[int(bad.int().argmax())].name))
        raise CheckpointError(f"run={run.path}: its code of {first} is not finite; take another run or checkpoint")


def _tell(run: Run, found: Encoded, target: Path) -> None:
    raw, kept = math.prod(run.shape), 4 * found.z.shape[1]
    log.info("%s of %s: %s", counted(len(found.names), "code"), counted(found.z.shape[1], "number"), target)
    log.info(
        "%d bytes a picture become %d: compression %.1f to 1, PSNR %.2f dB", raw, kept, raw / kept, found.psnr.mean()
    )


def _beside(found: Encoded, with_labels: bool) -> Beside:
    labels = [label or "" for label in found.labels] if with_labels and any(found.labels) else None
    return Beside(labels, found.psnr.numpy(), None if found.sigma is None else found.sigma.numpy())


def _say_unlike(found: Encoded) -> None:
    """One line where the run does not know how to give most of the pictures back."""
    lost = int((found.psnr <= found.flat).sum())
    if 2 * lost >= len(found.names):
        log.warning(
            "note: for %d of %s one flat colour is as good as what the run gives back (PSNR %.2f against %.2f dB): "
            "they are unlike what it was trained on, or it has learnt little",
            lost, counted(len(found.names), "picture"), found.flat.mean(), found.psnr.mean(),
        )  # fmt: skip
