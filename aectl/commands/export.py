"""`aectl export`: a run's encoder, decoder and denoiser as files for other programs, each compared with torch."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from aectl import shell, storage
from aectl.commands import instructions
from aectl.commands.schemas import EXPORT_FORMATS, ExportConfig
from aectl.data.datasets import synthetic
from aectl.data.images import Images
from aectl.errors import CheckpointError, ConfigError, DataError, StorageError, brief
from aectl.files import places, unfinished
from aectl.machine import devices
from aectl.measuring.scoring import batches
from aectl.models.parts import Part, tensors
from aectl.runs import exporting, sanity
from aectl.runs.opening import Run, open_data, open_run

IMAGES = 64  # that a file is compared with torch on
TOLERANCE = 1e-5  # for numbers up to 1; larger ones have more of it, as single precision rounds in proportion
PARITY, README, CONFIG = "parity.json", "README.md", "config.json"
PARTS = ("encoder", "decoder", "denoiser")

Parts = dict[str, Part]
Found = dict[str, dict[str, float]]  # by output: its largest difference, and its largest value
Outputs = tuple[Tensor, ...]

log = logging.getLogger(__name__)


def run_export(config: ExportConfig, folder: Path) -> None:
    """The parts of a run's model into the new folder `config.output`, with a README and `parity.json`.

    Raises:
        ConfigError: a package is missing, or the model has no parts.
        CheckpointError: its networks make no picture, or a file does something else than torch.
        StorageError: the output is there already, or cannot be written.
    """
    del folder  # what it makes is config.output
    exporting.prepare(config.format)
    target = _place(config.output, config.overwrite)
    run = open_run(config.run, config.checkpoint, devices.choose("cpu", config.threads))
    run.model.requires_grad_(False)
    log.info("exporting %s, %s checkpoint", run.title, config.checkpoint)
    parts = _parts(run)
    with places.prepared([] if target.exists() else [target]), unfinished.alone(target):
        _place(config.output, config.overwrite)  # once more: another command may have ended meanwhile
        temporary = storage.temporary_of(target)
        for left in (temporary, storage.aside(temporary)):  # by one that was killed
            storage.remove(left)
        images, whose = _images(run, config.data.root)
        inputs = _inputs(run, parts, images, config.seed)
        files, found = {}, {}
        for name, part in tqdm(parts.items(), disable=None, unit="part", leave=False):
            file = f"{name}.{config.format}"
            files[file], found[name] = _exported(run, name, part, inputs[part.takes], config.format)
        parity = {"images": min(IMAGES, len(images)), "images_of": whose, "parts": found}
        storage.make_folder(target, {**files, **_beside(run, parts, config.format, parity)}, temporary)
    _report(target, parts, config.format, found, whose)


def _beside(run: Run, parts: Parts, kind: str, parity: dict[str, Any]) -> dict[str, bytes]:
    """What the folder has besides the parts."""
    facts = {
        "run": run.path.name, "step": run.progress.step, "epoch": run.progress.epoch, "format": kind,
        "versions": exporting.versions(kind), "batches": [IMAGES, 1], "tolerance": TOLERANCE,
    }  # fmt: skip
    found = parity["parts"].values()
    worst = max(figures["largest_difference"] for outputs in found for figures in outputs.values())
    files = {
        README: instructions.text(run, parts, kind, worst).encode(),
        PARITY: storage.dump_json({**facts, **parity}),
    }
    return files | ({CONFIG: storage.dump_json(exporting.plan(run))} if kind == "safetensors" else {})


def _place(output: str, overwrite: bool) -> Path:
    """The folder. One that is there is replaced as a whole, so it must be an export or empty.

    Raises:
        StorageError: it is none, or may not be replaced.
    """
    target = storage.expanded(output)
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise StorageError(f"output={target}: is a file or a link, where a folder goes; choose another")
    if not target.exists():
        return target
    if not overwrite:
        raise StorageError(f"output={target}: is there already; choose another folder or set overwrite=true")
    there = sorted(path.name for path in target.iterdir())
    ours = {PARITY, README, CONFIG, *(f"{name}.{kind}" for name in PARTS for kind in EXPORT_FORMATS)}
    others = [name for name in there if name not in ours or PARITY not in there]
    if others:
        raise StorageError(f"output={target}: holds {brief(repr(others[0]), 60)}, so it is no export; choose another")
    return target


def _parts(run: Run) -> Parts:
    """Those of its model; one with a code denoises only if it has learnt to.

    Raises:
        ConfigError: there are none.
    """
    found = run.model.parts()
    if not found:
        raise ConfigError(f"run={run.path}: model={run.config.model.name} does not say what of it can be exported")
    if run.model.latent is None or run.config.corrupts:
        return found
    return {name: part for name, part in found.items() if part.takes != "x_noisy"}


# ---------------------------------------------------------------------------------- what it is tried on


def _images(run: Run, root: str | None) -> tuple[Images, str]:
    """At most 64 of the run's test images, or as many drawn shapes where it has none at hand; and which they are."""
    try:
        test = open_data(run, root).test
        if len(test):
            return test.spread(IMAGES), f"the run's test split ({run.config.dataset.words})"
        reason = "it has no test images"
    except (DataError, OSError) as error:
        reason = f"its test images cannot be opened ({brief(error, 200)})"
    log.warning("note: %s: %s; drawn shapes are compared instead", run.path, reason)
    pixels, _, _ = synthetic.draw(IMAGES, run.shape, 0)
    return Images(torch.from_numpy(pixels), None), "drawn shapes, as of dataset=synthetic"


def _inputs(run: Run, parts: Parts, images: Images, seed: int) -> dict[str, Tensor]:
    """64 of each that a part may take: x, x_noisy with the run's own noise, and as z what the encoder gives for x."""
    x, x_noisy, _ = next(batches(images, run.config.noise, torch.device("cpu"), seed, IMAGES))
    rows = torch.arange(IMAGES) % len(x)
    found = {"x": x[rows], "x_noisy": x_noisy[rows]}
    if "encoder" in parts:
        found["z"] = tensors(parts["encoder"](found["x"]))[0]
    return found


def _trials(part: Part, given: Tensor) -> Iterator[Tensor]:
    """A batch of 64, one of a single picture or code, and where sides are free one of wider pictures."""
    if part.multiple is not None:
        more = [max(-side % part.multiple, 2 * part.multiple - side) for side in given.shape[2:]]
        given = F.pad(given, (0, more[1], 0, more[0]), mode="replicate")
        yield torch.cat([given[:4], given[:4].flip(3)], 3)
    yield given
    yield given[:1]


# ------------------------------------------------------------------------------------------- the check


def _exported(run: Run, name: str, part: Part, given: Tensor, kind: str) -> tuple[bytes, Found]:
    """The file of a part, and how far what is read from it is from torch.

    Raises:
        CheckpointError: it is further than rounding explains, or what torch gives is of no use.
    """
    trials = list(_trials(part, given))
    expected = [tensors(part(one)) for one in trials]
    _refuse_senseless(run, name, part, expected)
    data = exporting.FORMATS[kind].write(part, torch.zeros_like(trials[0][:2]))
    function = exporting.FORMATS[kind].read(data, exporting.rebuilt(exporting.plan(run)).parts()[name])
    found = _differences(part, expected, [function(one) for one in trials])
    for output, figures in found.items():
        difference, allowed = figures["largest_difference"], TOLERANCE * max(1, figures["largest_value"])
        if not difference <= allowed:
            raise CheckpointError(
                f"run={run.path}: {output} of {name}.{kind} differs from torch by {difference:.2g}, and rounding "
                f"explains {allowed:.2g}; nothing is written; another format=, of {', '.join(EXPORT_FORMATS)}, may do"
            )
    return data, found


def _refuse_senseless(run: Run, name: str, part: Part, expected: Sequence[Outputs]) -> None:
    for outputs in expected:
        for output, values in zip(part.gives, outputs, strict=True):
            if output == "x_hat":
                sanity.check_picture(values, run)
            elif not values.isfinite().all():
                raise CheckpointError(
                    f"run={run.path}: {output} of its {name} is not finite; take another run or checkpoint"
                )


def _differences(part: Part, expected: Sequence[Outputs], got: Sequence[Outputs]) -> Found:
    """By output, over all trials."""
    found = {}
    for output, ours, theirs in zip(part.gives, zip(*expected, strict=True), zip(*got, strict=True), strict=True):
        pairs = list(zip(ours, theirs, strict=True))
        found[output] = {
            "largest_difference": max((one - other).abs().max().item() for one, other in pairs),
            "largest_value": max(one.abs().max().item() for one in ours),
        }
    return found


def _report(target: Path, parts: Parts, kind: str, found: dict[str, Found], whose: str) -> None:
    log.info("largest differences from torch on %s", whose)
    for name, part in parts.items():
        figures = ", ".join(f"{output} {found[name][output]['largest_difference']:.2g}" for output in part.gives)
        log.info("  %-22s %s", f"{name}.{kind}", figures)
    log.info("%s and parity.json: %s", ", ".join([*(f"{name}.{kind}" for name in parts), README]), target)
    log.info("README.md has lines of Python that use them as they stand")
    log.info("%s", shell.what_next(shell.line("cat", str(target / README))))
