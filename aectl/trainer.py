"""train(config, run_dir): the loop, and what happens when an epoch ends."""

import logging
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aectl import __version__, checkpoint, devices, journal, runs
from aectl.config import TrainConfig, to_dict
from aectl.data import Split, build_dataset, to_float
from aectl.errors import CheckpointError, ConfigError, DivergedError
from aectl.evaluator import score
from aectl.losses import kl_weight_at
from aectl.models import Autoencoder, build_model
from aectl.noise import Corruption, build_noise
from aectl.rng import generator, seed_of
from aectl.signals import StopRequest
from aectl.tracking import Tracker

REFRESH = 50  # steps between looks at the running sums; each look waits for the device

log = logging.getLogger(__name__)


@dataclass
class Progress:
    """Where a run stands; with weights, optimizer and running sums it is all that an exact resume needs."""

    step: int = 0
    epoch: int = 0  # finished epochs
    batch: int = 0  # finished batches of the epoch under way
    best: dict[str, Any] | None = None  # value, step and epoch of the best checkpoint
    since_best: int = 0  # epochs without a better one
    seconds: float = 0.0  # of training proper


@dataclass
class Session:
    """A run in training: its parts, made once."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    data: Split
    corrupt: Corruption
    model: Autoencoder
    optimizer: torch.optim.Adam
    sums: Tensor  # (loss, recon, kl) summed over the images of the epoch so far, (3,), float64
    progress: Progress = field(default_factory=Progress)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; the last may be smaller."""
        return math.ceil(len(self.data.train) / self.config.batch_size)

    def beta(self, step: int) -> float:
        """The weight on the KL at that step."""
        return kl_weight_at(step, self.steps_per_epoch, self.config.kl_weight, self.config.kl_warmup)

    def lr(self, step: int) -> float:
        """The learning rate at that step: constant, or half a cosine from `lr` to 0 at the run's end."""
        if self.config.schedule == "constant":
            return self.config.lr
        share = step / (self.steps_per_epoch * self.config.epochs)
        return self.config.lr * 0.5 * (1 + math.cos(math.pi * share))


def train(config: TrainConfig, run_dir: Path, overrides: Sequence[str] = (), command: str = "aectl train") -> float:
    """Train a run in `run_dir`, or go on with the one that `config.resume` names.

    Returns:
        The best validation objective, recon + kl_weight·kl in nats per image, at the full weight also during a
        warm-up; the last epoch's training loss where there is no validation part.
    """
    saved = None
    if config.resume is not None:
        run_dir, config, saved = _resumed(config, overrides)
    elif runs.checkpoints_of(run_dir).exists():
        raise ConfigError(
            f"hydra.run.dir={run_dir}: holds a run already; go on with resume={run_dir} or choose another folder"
        )
    with runs.locked(run_dir):
        session = _prepare(config, run_dir, saved)
        tracker = Tracker(run_dir, session.progress.step if saved else None)
        try:
            journal.begin(session, tracker, command)
            _loop(session, tracker)
            return journal.finish(session, tracker, overrides)
        finally:
            tracker.close()


def _loop(session: Session, tracker: Tracker) -> None:
    config, progress, model, optimizer = session.config, session.progress, session.model, session.optimizer
    images, n, size = session.data.train.to(session.device), len(session.data.train), config.batch_size
    total = session.steps_per_epoch * config.epochs
    bar = tqdm(total=total, initial=progress.step, unit="step", disable=None, dynamic_ncols=True, leave=False)
    with logging_redirect_tqdm(), StopRequest() as request, bar:
        while progress.epoch < config.epochs and not _stops_early(session):
            order = torch.randperm(n, generator=generator("cpu", config.seed, "order", progress.epoch))
            order = order.to(session.device)
            began, first = time.perf_counter(), progress.batch * size
            for start in range(first, n, size):
                x = to_float(images.pixels.index_select(0, order[start : start + size]))
                rng = generator(session.device, config.seed, "step", progress.step)
                for group in optimizer.param_groups:
                    group["lr"] = session.lr(progress.step)

                terms, _ = model.terms(x, session.corrupt(x, rng), session.beta(progress.step), rng)
                loss, recon, kl = terms.means()
                optimizer.zero_grad()
                loss.backward()
                if config.grad_clip is not None:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
                optimizer.step()

                session.sums += torch.stack([loss, recon, kl]).detach() * len(x)
                progress.step += 1
                progress.batch += 1
                if progress.step % REFRESH == 0:
                    _refresh(bar, session)
                if request.signal is not None:
                    _save(session)
                    log.info("stopped at step %d; go on: aectl train resume=%s", progress.step, session.run_dir)
                    request.stop()
            progress.seconds += time.perf_counter() - began
            _end_epoch(session, tracker, (n - first) / (time.perf_counter() - began))
            _refresh(bar, session)


def _end_epoch(session: Session, tracker: Tracker, images_per_s: float) -> None:
    """Validate, record, draw, save."""
    config, progress = session.config, session.progress
    loss, recon, kl = _finite_means(session, len(session.data.train))
    beta = session.beta(progress.step - 1)
    session.model.eval()
    scores = None
    if len(session.data.val):
        scores = score(session.model, session.data.val, session.corrupt, beta, session.device)
    progress.epoch += 1
    progress.batch = 0
    session.sums.zero_()
    record = {
        "epoch": progress.epoch,
        "step": progress.step,
        "train/loss": loss,
        "train/recon": recon,
        "train/kl": kl,
        "train/elbo": -(recon + kl),
        **{f"val/{name}": scores.named()[name] if scores else None for name in ("loss", "recon", "kl", "elbo")},
        "val/active_units": scores.active_units if scores else None,
        "lr": session.lr(progress.step - 1),
        "kl_weight": beta,
        "images_per_s": images_per_s,
    }
    improved = _note_best(session, record)
    journal.epoch(session, tracker, record, scores)
    if improved or progress.epoch % config.checkpoint_every == 0 or progress.epoch == config.epochs:
        _save(session)
    session.model.train()


def _note_best(session: Session, record: dict[str, Any]) -> bool:
    """Whether this epoch is the best so far, by the objective at the full weight on the KL; NaN never is."""
    progress = session.progress
    if record["val/recon"] is None:
        value = record["train/recon"] + session.config.kl_weight * record["train/kl"]
        improved = True  # without validation the last epoch is taken
    else:
        value = record["val/recon"] + session.config.kl_weight * record["val/kl"]
        improved = math.isfinite(value) and (progress.best is None or value < progress.best["value"])
    progress.since_best = 0 if improved else progress.since_best + 1
    if improved:
        progress.best = {"value": value, "step": progress.step, "epoch": progress.epoch}
    return improved


def _stops_early(session: Session) -> bool:
    patience = session.config.early_stop
    if patience is None or session.progress.since_best < patience:
        return False
    log.info("stopping early: no better validation objective for %d epochs", patience)
    return True


def _finite_means(session: Session, count: int) -> list[float]:
    """(loss, recon, kl) averaged over the epoch's first `count` images.

    Raises:
        DivergedError: one is not finite; names it.
    """
    means = (session.sums / count).tolist()
    for name, value in zip(("recon", "kl", "loss"), (means[1], means[2], means[0]), strict=True):
        if not math.isfinite(value):
            raise DivergedError(
                f"{name} became {value} by step {session.progress.step}; try a smaller lr than {session.config.lr:g} "
                f"or grad_clip=1; the last good checkpoint is kept in {session.run_dir}"
            )
    return means


def _refresh(bar: tqdm, session: Session) -> None:
    progress, config = session.progress, session.config
    if progress.batch:
        count = min(progress.batch * config.batch_size, len(session.data.train))
        loss, recon, kl = _finite_means(session, count)
        bar.set_postfix_str(f"loss {loss:.2f}, recon {recon:.2f}, KL {kl:.2f}", refresh=False)
    bar.set_description_str(f"epoch {min(progress.epoch + 1, config.epochs)}/{config.epochs}", refresh=False)
    bar.update(progress.step - bar.n)


# ---------------------------------------------------------------------------- beginning, saving, resuming


def _prepare(config: TrainConfig, run_dir: Path, saved: checkpoint.Checkpoint | None) -> Session:
    """Data, model and optimizer; fresh from the seed, or as they were saved."""
    device = devices.choose(config.device, config.threads)
    data = build_dataset(config.dataset, config.data.root)
    shape = data.train.shape
    if saved is None:
        torch.manual_seed(seed_of(config.seed, "weights"))
        model = build_model(config, shape).to(device)
    else:
        model = runs.restore(saved, config, shape).to(device)
    # Fused: one kernel for all parameters, on CPU and CUDA alike.
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=device.type != "mps")
    sums = torch.zeros(3, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    session = Session(config, run_dir, device, data, build_noise(config.noise), model, optimizer, sums)
    if saved is not None:
        _restore_training(session, saved)
    return session


def _save(session: Session) -> None:
    """A checkpoint of this moment; older ones but the best are removed once it is whole."""
    state = session.optimizer.state
    tensors = {
        f"adam/{name}/{key}": value
        for name, parameter in session.model.named_parameters()
        for key, value in state[parameter].items()
    }
    folder = runs.checkpoints_of(session.run_dir)
    checkpoint.save(
        folder,
        session.progress.step,
        session.model.state_dict(),
        {"train": to_dict(session.config), "shape": list(session.data.train.shape)},
        {**tensors, "sums": session.sums},
        {**asdict(session.progress), "environment": _environment(session.device)},
    )
    best = session.progress.best
    checkpoint.rotate(folder, best["step"] if best else None)


def _environment(device: torch.device) -> dict[str, Any]:
    """What the last bits of a result depend on."""
    return {
        "aectl": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device.type,
        "threads": torch.get_num_threads(),
    }


def _resumed(config: TrainConfig, overrides: Sequence[str]) -> tuple[Path, TrainConfig, checkpoint.Checkpoint]:
    """The run to go on with, its own configuration with what the command line may change, its newest checkpoint."""
    run_dir = runs.locate(config.resume)
    if run_dir is None:
        raise CheckpointError(f"resume={config.resume}: no run there; give a run folder or 'latest'")
    saved, passed_over = checkpoint.newest(runs.checkpoints_of(run_dir))
    for reason in passed_over:
        log.warning("passed over a damaged checkpoint: %s", reason)
    settings, _ = runs.read_config(saved)
    given = {override.lstrip("+~").partition("=")[0] for override in overrides}
    for key in ("epochs", "device", "threads", "figures_every", "checkpoint_every"):
        if key in given:
            setattr(settings, key, getattr(config, key))
    if "data.root" in given:
        settings.data.root = config.data.root
    return run_dir, settings, saved


def _restore_training(session: Session, saved: checkpoint.Checkpoint) -> None:
    """Optimizer, running sums and counters from a checkpoint."""
    where = saved.path / "trainer.safetensors"
    tensors = dict(saved.trainer)
    try:
        session.sums.copy_(tensors.pop("sums"))
        for name, parameter in session.model.named_parameters():
            entries = {key: tensors.pop(f"adam/{name}/{key}").clone() for key in ("step", "exp_avg", "exp_avg_sq")}
            if entries["exp_avg"].shape != parameter.shape or entries["exp_avg_sq"].shape != parameter.shape:
                raise CheckpointError(f"{where}: the optimizer state of {name} has another shape than {name}")
            session.optimizer.state[parameter] = {key: value.to(session.device) for key, value in entries.items()}
    except KeyError as error:
        raise CheckpointError(f"{where}: {error} is missing") from None
    if tensors:
        raise CheckpointError(f"{where}: {min(tensors)} belongs to no parameter")
    state = {key: value for key, value in saved.state.items() if key != "environment"}
    try:
        session.progress = Progress(**state)
    except TypeError as error:
        raise CheckpointError(f"{saved.path / 'trainer.json'}: {error}") from None
    before, now = saved.state["environment"], _environment(session.device)
    changed = [f"{key} {before.get(key)} → {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        log.warning("resuming elsewhere than before (%s): not exact to the last bit", ", ".join(changed))
