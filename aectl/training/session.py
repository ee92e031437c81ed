"""A run in training: its parts, and how they are made, saved and taken up again."""

import logging
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from aectl import __version__
from aectl.data.images import Split
from aectl.data.split import build_dataset
from aectl.errors import CheckpointError, ConfigError, DataError, StorageError
from aectl.machine import devices, threads
from aectl.models.autoencoder import Autoencoder
from aectl.models.build import build_model
from aectl.models.networks.layers import Shape, count_parameters
from aectl.rng import seed_of
from aectl.runs import checkpoint, layout, opening
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Progress
from aectl.settings import checks, typed
from aectl.training import processes
from aectl.training.adam import STATE, Adam
from aectl.training.processes import World
from aectl.training.schedules import kl_weight_at, lr_at

KEEP = 2  # checkpoints beside the best

log = logging.getLogger(__name__)


@dataclass
class Session:
    """A run in training: its parts, made once."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    data: Split
    model: Autoencoder
    parallel: nn.Module  # the model, its gradients averaged over the processes
    adam: Adam
    sums: Tensor  # `model.objective` summed over the images of the epoch so far, (3,) or (2,), float64
    held: Tensor  # steps that the optimizer did not make because something was not finite, (), float32
    progress: Progress = field(default_factory=Progress)
    world: World = field(default_factory=World)
    verified: list[int] = field(default_factory=list)  # steps of the newest checkpoints known to be whole

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last may be smaller."""
        return math.ceil(len(self.data.train) / self.config.batch_size)

    def beta(self, step: int) -> float:
        """The weight on the KL at that step."""
        return kl_weight_at(step, self.steps_per_epoch, self.config.kl_weight, self.config.kl_warmup)

    def lr(self, step: int) -> float:
        """The learning rate at that step."""
        return lr_at(step, self.steps_per_epoch, self.config)


def prepare(config: TrainConfig, run_dir: Path, saved: checkpoint.Checkpoint | None) -> Session:
    """Data, model and optimizer; fresh from the seed, or as they were saved."""
    device = devices.choose(config.device, config.threads)
    world = processes.world()
    if world.size > 1:
        _refuse_apart(config)
    config = _computed(config, device, world, fresh=saved is None)
    with world.first_alone():
        data = build_dataset(
            config.dataset,
            config.data.root,
            fresh=True,
            memory_gb=config.data.memory_gb,
            manifest=None if saved is None else layout.read_manifest(run_dir),
        )
    shape = data.train.shape
    if saved is None:
        _refuse_too_large(config, shape)
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
    adam = Adam(dict(model.named_parameters()), config.adam)
    sums = torch.zeros(
        len(model.objective), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device
    )
    held = torch.zeros((), device=device)
    parallel = world.parallel(model, device)
    if config.execution == "compile":
        threads.keep(torch.get_num_threads())  # another number would have it compiled again
        parallel = devices.compiled(parallel, device)
    session = Session(config, run_dir, device, data, model, parallel, adam, sums, held, world=world)
    if saved is not None:
        session.verified.append(checkpoint.step_of(saved.path))
        _restore_training(session, saved)
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
    if config.free_bits:
        raise ConfigError(
            f"free_bits={config.free_bits:g}: goes by the KL of a whole batch, which no process sees here; train it "
            "without torchrun"
        )
    if config.execution != "eager":
        raise ConfigError(f"execution={config.execution}: is for a single process; train it without torchrun")


def _refuse_too_large(config: TrainConfig, shape: Shape) -> None:
    """Count the parameters without making them; the operating system would end the process without a word."""
    with torch.device("meta"):
        parameters = count_parameters(build_model(config, shape))
    needed = 16 * parameters  # weight, gradient and Adam's two moments, 4 bytes each
    memory = psutil.virtual_memory().total
    if needed > memory:
        network = config.network
        sizes = {f"network.{key}": getattr(network, key, None) for key in ("hidden", "channels")}
        named = " ".join(f"{key}={value}" for key, value in {**sizes, "latent": config.latent}.items() if value)
        raise ConfigError(
            f"{named}: {parameters:,} parameters need {needed / 2**30:.0f} GiB to train, and this machine has "
            f"{memory / 2**30:.0f}; choose smaller widths or a smaller latent"
        )


def save(session: Session) -> None:
    """A checkpoint of this moment; older ones but the best are removed once it is whole.

    Of several processes the first writes it, and all must call.
    """
    sums = session.world.total(session.sums)
    session.verified = [*session.verified, session.progress.step][-KEEP:]
    if session.world.first:
        _write(session, sums)
    session.world.wait()  # one that ended now would have torchrun end the first as well


def _write(session: Session, sums: Tensor) -> None:
    tensors = {f"adam/{name}/{key}": value for name, of in session.adam.state.items() for key, value in of.items()}
    folder = layout.checkpoints_of(session.run_dir)
    path = checkpoint.save(
        folder,
        session.progress.step,
        session.model.state_dict(),
        {"train": typed.to_dict(session.config), "shape": list(session.data.train.shape)},
        {**tensors, "sums": sums},
        {**asdict(session.progress), "environment": _environment(session)},
    )
    try:
        checkpoint.verify(path)  # read back before an older one goes
    except CheckpointError as error:
        raise StorageError(f"the storage did not keep what was saved: {error}") from None
    best = session.progress.best
    checkpoint.rotate(folder, [*session.verified, *([best.step] if best else [])])


def _environment(session: Session) -> dict[str, Any]:
    """What the last bits of a result depend on."""
    return {
        "aectl": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": session.device.type,
        "processes": session.world.size,
        "threads": torch.get_num_threads(),
    }


def resumed(config: TrainConfig, overrides: Sequence[str]) -> tuple[Path, TrainConfig, checkpoint.Checkpoint]:
    """The run to go on with, its own configuration with what the command line may change, its newest checkpoint."""
    run_dir = layout.locate(config.resume)
    if run_dir is None:
        raise CheckpointError(f"resume={config.resume}: no run there; give a run folder or 'latest'")
    if Path(config.resume).name.startswith("step-"):
        raise ConfigError(f"resume={config.resume}: takes a run folder; it goes on from its newest checkpoint")
    saved, passed_over = layout.newest(run_dir)
    for reason in passed_over:
        log.warning("passed over a damaged checkpoint: %s", reason)
    settings, _ = opening.read_config(saved)
    given = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for key in ("epochs", "device", "threads", "figures_every", "checkpoint_every"):
        if key in given:
            setattr(settings, key, getattr(config, key))
    for key in ("root", "memory_gb"):
        if f"data.{key}" in given:
            setattr(settings.data, key, getattr(config.data, key))
    checks.check(settings)
    done = opening.read_progress(saved).epoch
    if settings.epochs < done:
        raise ConfigError(f"epochs={settings.epochs}: the run has {done} already; give more to train it further")
    return run_dir, settings, saved


def _restore_training(session: Session, saved: checkpoint.Checkpoint) -> None:
    """Optimizer, running sums and counters from a checkpoint."""
    where = saved.path / "trainer.safetensors"
    tensors = dict(saved.trainer)
    try:
        sums = tensors.pop("sums")
        if sums.ndim != 1 or len(sums) < len(session.sums):
            raise CheckpointError(f"{where}: sums is {tuple(sums.shape)}, and this run needs {len(session.sums)}")
        if session.world.first:  # they are added up again when they are read
            session.sums.copy_(sums[: len(session.sums)])  # an older aectl kept a KL of 0 for an AE
        for name, state in session.adam.state.items() if tensors else ():  # none before an older aectl's first step
            for key in STATE:
                value = tensors.pop(f"adam/{name}/{key}")
                if value.shape != state[key].shape:
                    raise CheckpointError(f"{where}: the optimizer state of {name} has another shape than {name}")
                state[key].copy_(value)
    except KeyError as error:
        raise CheckpointError(f"{where}: {error} is missing") from None
    if tensors:
        raise CheckpointError(f"{where}: {min(tensors)} belongs to no parameter")
    session.progress = opening.read_progress(saved)
    before, now = saved.state.get("environment") or {}, _environment(session)
    changed = [f"{key} {before.get(key)} → {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        log.warning("resuming elsewhere than before (%s): not exact to the last bit", ", ".join(changed))
