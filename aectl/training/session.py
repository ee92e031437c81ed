"""A run in training: its parts, and how they are made, anew or from a checkpoint."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from aectl.data.datasets import official
from aectl.data.images import Split
from aectl.data.split import build_dataset
from aectl.errors import ConfigError, DataError
from aectl.machine import devices, memory, threads
from aectl.models import footprint
from aectl.models.base import Model
from aectl.models.networks.layers import Shape, count_parameters
from aectl.models.objectives import Loss
from aectl.models.table import build_model
from aectl.rng import seed_of
from aectl.runs import checkpoint, finding, opening, papers
from aectl.runs.config import TrainConfig
from aectl.runs.records import Progress
from aectl.settings import common, typed
from aectl.training import processes
from aectl.training.adam import Adam
from aectl.training.keeping import Keeper
from aectl.training.processes import World
from aectl.training.running import Running

log = logging.getLogger(__name__)


@dataclass
class Session:
    """A run in training: its parts, made once. `parallel` is the model, its gradients averaged over the processes."""

    config: TrainConfig
    device: torch.device
    data: Split
    model: Model
    loss: Loss
    parallel: nn.Module
    adam: Adam
    running: Running
    world: World
    keeper: Keeper
    progress: Progress

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last may be smaller."""
        return math.ceil(len(self.data.train) / self.config.batch_size)


def prepare(
    config: TrainConfig,
    run_dir: Path,
    saved: checkpoint.Checkpoint | None,
    *,
    batched: bool = False,
    data: Split | None = None,
    fetches: bool = True,
) -> Session:
    """Data, model and optimizer; fresh from the seed, or as they were saved.

    `batched` says whether it takes its steps with others; `data` are their images, where they are read already.
    `fetches` says whether an official set may be downloaded.
    """
    device = devices.choose(config.device, config.threads)
    world = processes.world()
    if world.size > 1:
        _refuse_apart(config)
    config = _computed(config, device, world, fresh=saved is None)
    manifest = None if saved is None else papers.read_manifest(run_dir)
    if data is None or manifest is not None:
        with world.first_alone(), official.fetching(fetches):
            data = build_dataset(
                config.dataset, config.data.root, fresh=True, memory_gb=config.data.memory_gb, manifest=manifest
            )
    shape = data.train.shape
    if saved is None:
        _refuse_too_large(config, shape, len(data.train), device)
        torch.manual_seed(seed_of(config.seed, "weights"))
        model = build_model(config, shape).to(device)
        if config.network.starts_at_mean:
            model.start_at(data.train.mean().to(device))
    else:
        trained_on = opening.read_config(saved)[1]
        model = opening.restore(saved, config, trained_on).to(device)
        if shape != trained_on:
            raise DataError(f"dataset={config.dataset.name}: its images are {shape}, the run's were {trained_on}")
    if config.network.dense:
        threads.limit(count_parameters(model) * config.batch_size)
    loss = config.objective.on(len(data.train), config.batch_size)
    adam = Adam(dict(model.named_parameters()), config.adam)
    running = Running(model.figures, device)
    parallel = world.parallel(model, device)
    if config.execution == "compile":
        threads.keep(torch.get_num_threads())  # another number would have it compiled again
        parallel = devices.compiled(parallel, device)
    keeper = Keeper(run_dir, config, shape, model, adam, running, world, batched)
    progress = Progress() if saved is None else keeper.restore(saved)
    session = Session(config, device, data, model, loss, parallel, adam, running, world, keeper, progress)
    if saved is not None:
        opening.check_within(saved, progress, session.steps_per_epoch)
    return session


def _computed(config: TrainConfig, device: torch.device, world: World, *, fresh: bool) -> TrainConfig:
    """`config` with the precision that is computed in: a new run takes float32 where bfloat16 would be emulated.

    A resumed run keeps its own, or it would not be exact.
    """
    if config.precision != "bf16":
        return config
    emulated = world.any(devices.emulates_bf16(device))
    if emulated and fresh:
        log.warning("note: precision=float32, not bf16, which this machine would emulate, many times slower")
        return replace(config, precision="float32")
    if emulated:
        log.warning(
            "note: precision=bf16 is emulated on this machine, many times slower; a resumed run keeps its own"
        )
    elif device.type == "cpu" and devices.bf16_instructions() == {"avx512_bf16"}:
        log.warning("note: precision=bf16 without AMX may be slower than float32; compare the images/s of the two")
    return config


def _refuse_apart(config: TrainConfig) -> None:
    """What several processes cannot do together."""
    if config.objective.of_batch is not None:
        raise ConfigError(
            f"{config.objective.of_batch}: goes by a whole batch, which no process sees here; train it without "
            "torchrun"
        )
    if config.execution != "eager":
        raise ConfigError(f"execution={config.execution}: is for a single process; train it without torchrun")


def _refuse_too_large(config: TrainConfig, shape: Shape, count: int, device: torch.device) -> None:
    """Find out what a step on so many images takes; the operating system would end the process without a word."""
    model = footprint.laid_out(config, shape)
    sizes = {f"network.{key}": getattr(config.network, key, None) for key in ("hidden", "channels")}
    named = " ".join(f"{key}={value}" for key, value in {**sizes, "latent": config.latent}.items() if value)
    parameters = count_parameters(model)
    what, instead = f"{named}, {parameters:,} parameters", "choose smaller widths or a smaller latent"
    if device.type != "cpu":  # what a device has, it says itself
        return
    memory.settle(what, footprint.of_parameters(model), instead)
    memory.settle(f"{count:,} images in an epoch", 16 * count, "choose fewer patches of each picture")  # its order
    images, draws = min(config.batch_size, count), config.objective.draws
    if 4 * footprint.might_take(model.train(), images, shape) < memory.free():
        return
    step = footprint.of_step(model, config.objective.on(count, config.batch_size), images, shape)
    if step is None:
        return
    settings = f"batch_size={config.batch_size}" + (f" objective.samples={draws}" if draws > 1 else "")
    fewer = "choose a smaller batch_size" + (", or fewer samples" if draws > 1 else "")
    memory.settle(f"{settings} with {named}", footprint.of_parameters(model) + step, fewer)


def resumed(config: TrainConfig, overrides: Sequence[str]) -> tuple[Path, TrainConfig, checkpoint.Checkpoint, bool]:
    """The run to go on with, its configuration, its newest checkpoint, and whether its data set may be downloaded.

    The configuration is its own with what the command line may change.
    Of a run that was not made here the paths are those of the command line. As a job of a sweep that is gone on with
    it names nothing else than this command line, or it is refused as any other.

    Raises:
        DataError: it was not made here, and the command line does not say where its pictures are.
    """
    run_dir = finding.run(config.resume, "resume")
    if Path(config.resume).name.startswith("step-"):
        raise ConfigError(f"resume={config.resume}: takes a run folder; it goes on from its newest checkpoint")
    saved, passed_over = opening.newest(run_dir)
    for reason in passed_over:
        log.warning("passed over a damaged checkpoint: %s", reason)
    settings, _ = opening.read_config(saved)
    given = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for key in ("epochs", "device", "threads", "figures_every", "checkpoint_every", "explore"):
        if key in given:
            setattr(settings, key, getattr(config, key))
    for key in ("root", "memory_gb"):
        if f"data.{key}" in given:
            setattr(settings.data, key, getattr(config.data, key))
    own = opening.made_here(saved)
    if not own and typed.to_dict(settings.dataset) == typed.to_dict(config.dataset):
        own, settings.data.root = True, config.data.root
    elif not own:
        if settings.dataset.places and isinstance(config.data.root, typed.Unsaved):
            raise ConfigError(
                f"data.root: resume={run_dir} was not made here and will keep what stands here; type the folder"
            )
        settings.dataset, settings.data.root = opening.reached(
            settings.dataset, config.data.root, f"resume={run_dir}"
        )
    common.check(settings)
    done = opening.read_progress(saved).epoch
    if settings.epochs < done:
        raise ConfigError(f"epochs={settings.epochs}: the run has {done} already; give more to train it further")
    return run_dir, settings, saved, own
