"""train(config, run_dir): the loop, and what happens when an epoch ends."""

import functools
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from aectl import shell
from aectl.errors import ConfigError, DivergedError
from aectl.machine import threads
from aectl.measuring import advice
from aectl.measuring.scoring import score
from aectl.models import objectives
from aectl.rng import generator
from aectl.runs import checkpoint, layout, sweeps
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Best, Progress
from aectl.runs.schedules import kl_weight_at, lr_at
from aectl.runs.tracking import Tracker
from aectl.signals import StopRequest
from aectl.training import lines, processes
from aectl.training.bar import Bar
from aectl.training.feeding import feed
from aectl.training.journal import Journal
from aectl.training.pace import Pace
from aectl.training.processes import World
from aectl.training.replaying import Replayed
from aectl.training.session import Session, prepare, resumed
from aectl.training.step import NotFiniteError, stepping

REFRESH = 50  # steps between looks at the running sums; each look waits for the device

log = logging.getLogger(__name__)


def train(config: TrainConfig, run_dir: Path, overrides: Sequence[str] = (), command: str = "aectl train") -> float:
    """Train a run in `run_dir`, or go on with the one that `config.resume` names.

    Returns:
        The best validation objective, in nats per image, at the full weight on the KL also during a warm-up; the
        last epoch's training loss where there is no validation part.
    """
    saved = None
    if config.resume is not None:
        run_dir, config, saved = resumed(config, overrides)
    elif checkpoint.listing(layout.checkpoints_of(run_dir)):
        raise ConfigError(
            f"hydra.run.dir={run_dir}: holds a run already; go on with "
            f"{shell.shown('resume', run_dir)} or choose another folder"
        )
    if not processes.world().first:
        return _untold(prepare(config, run_dir, saved), fresh=saved is None)
    with layout.locked(run_dir):
        session = prepare(config, run_dir, saved)
        tracker = Tracker(run_dir, session.progress.step)
        told = Journal(session.config, run_dir, session.data, session.model, session.loss, session.device, tracker)
        try:
            told.begin(session.progress, command)
            if saved is None:
                _keep_now(session)  # from its first second on, a run can be resumed
            _loop(session, told)
            _best_of(session.progress)
            return told.finish(session.progress, overrides)
        except NotFiniteError as error:
            refusal = _diverged(session, run_dir, error)
            sweeps.record_failure(run_dir, overrides, str(refusal), refusal.exit_code)
            raise refusal from None
        finally:
            tracker.close()


def train_untold(config: TrainConfig, run_dir: Path) -> float:
    """`train`, of which nothing is told: of all that a run leaves there are the checkpoints in `run_dir` alone."""
    return _untold(prepare(config, run_dir, None), fresh=True)


def _untold(session: Session, *, fresh: bool) -> float:
    if fresh:
        _keep_now(session)
    try:
        _loop(session, None)
        return _best_of(session.progress).value
    except NotFiniteError as error:
        raise _diverged(session, session.keeper.run_dir, error) from None


def _keep_now(session: Session) -> None:
    """A checkpoint that is there before anything else happens."""
    session.keeper.keep(session.progress)
    session.keeper.settle()


def _best_of(progress: Progress) -> Best:
    """The best epoch of a run that has ended; one where none had a validation loss has diverged."""
    if progress.best is None:
        raise NotFiniteError("the validation loss", "in any epoch")
    return progress.best


def _diverged(session: Session, run_dir: Path, error: NotFiniteError) -> DivergedError:
    progress = session.progress
    session.keeper.look(wait=True)
    when = error.when or f"in step {progress.step + 1}"
    kept = "the last good checkpoint" if progress.epoch else "no epoch had ended, and the untrained start"
    tips = advice.words(advice.against_divergence(session.config))
    return DivergedError(f"{error.culprit} is not finite {when}; {tips}; {kept} is in {run_dir}")


def _loop(session: Session, told: Journal | None) -> None:
    """Train to the last epoch, or until a signal asks to stop; `told` is None where another process tells."""
    config, progress, world, device = session.config, session.progress, session.world, session.device
    model, running, per_epoch = session.model, session.running, session.steps_per_epoch
    step = stepping(session.parallel, session.loss, session.adam, config)
    if config.execution == "graph":
        step = Replayed(step, device)
    images, n, size = session.data.train.to(device), len(session.data.train), config.batch_size
    pace = Pace()
    bar = Bar(per_epoch * config.epochs, progress.step, shown=world.first)
    with logging_redirect_tqdm(), StopRequest() as request, bar:
        while progress.epoch < config.epochs and not _stops_early(config, progress):
            order = torch.randperm(n, generator=generator("cpu", config.seed, "order", progress.epoch))
            first, began, stopping = progress.batch * size, time.perf_counter(), False
            rng_of = functools.partial(_rng_of, device, config.seed, progress.step)
            pace.go()
            for (x, seen), rng in feed(images, order[first:], size, device, rng_of):
                x_noisy = config.noise(seen, rng)
                eps = model.draw(len(x), rng)
                share = world.share(len(x), device)
                beta = kl_weight_at(progress.step, per_epoch, config)
                lr = lr_at(progress.step, per_epoch, config)
                values = step(*share.of(x, x_noisy, eps), share.weight, beta, lr)
                running.add(values, share.count)
                progress.step += 1
                progress.batch += 1
                pace.count(len(x))
                if progress.step % REFRESH == 0:
                    _refresh(bar, session)
                    pace.look()
                    threads.look()
                    session.keeper.look()
                if stopping := _asked_to_stop(request, world, progress.step):
                    break
            pace.look()
            elapsed = time.perf_counter() - began
            progress.seconds += elapsed
            if progress.batch == per_epoch:
                bar.latest = _end_epoch(session, told, (n - first) / elapsed)
            _refresh(bar, session)
            if stopping or _asked_to_stop(request, world, progress.step):
                if progress.step not in session.keeper.kept:
                    session.keeper.keep(progress)
                session.keeper.settle()
                again = shell.command("train", shell.setting("resume", session.keeper.run_dir))
                log.info("stopped at step %d; go on: %s", progress.step, again)
                request.stop()
        session.keeper.settle()


def _rng_of(device: torch.device, seed: int, first: int, n: int) -> torch.Generator:
    """What is random in the n-th step after the `first`."""
    return generator(device, seed, "step", first + n)


def _asked_to_stop(request: StopRequest, world: World, step: int) -> bool:
    """Whether to stop here; several processes stop at the same step, hence only where they look at their sums."""
    asked = request.signal is not None
    if world.size == 1:
        return asked
    return step % REFRESH == 0 and world.any(asked)


def _end_epoch(session: Session, told: Journal | None, images_per_s: float) -> dict[str, Any]:
    """Validate, record, draw, and save if it is time to; return the record."""
    config, progress, model = session.config, session.progress, session.model
    trained = _trained(session)
    model.eval()
    scores = None
    if len(session.data.val):
        scores = score(model, session.loss, session.data.val, config.noise, config.kl_weight, session.device)
    progress.epoch += 1
    progress.batch = 0
    session.running.reset()
    record = {
        "epoch": progress.epoch,
        "step": progress.step,
        **{f"train/{name}": value for name, value in trained.items()},
        **{f"val/{name}": value for name, value in (scores.named() | scores.errors if scores else {}).items()},
        "lr": lr_at(progress.step - 1, session.steps_per_epoch, config),
        **({"kl_weight": kl_weight_at(progress.step - 1, session.steps_per_epoch, config)} if model.costs else {}),
        "images_per_s": images_per_s,
    }
    improved = _note_best(config, progress, session.world, record)
    if told is not None:
        told.epoch(progress, record, scores)
    last = progress.epoch == config.epochs or _stops_early(config, progress)
    if improved or last or progress.epoch % config.checkpoint_every == 0:
        session.keeper.keep(progress)
    model.train()
    return record


def _trained(session: Session) -> dict[str, float]:
    """The epoch's training figures; `mse` too where nothing is drawn and it follows from the nats."""
    model, images = session.model, session.data.train
    found = objectives.with_elbo(_means(session, len(images)))
    error = None if model.costs else model.likelihood.squared_error(found["recon"] / math.prod(images.shape))
    return found if error is None else {**found, "mse": error}


def _note_best(config: TrainConfig, progress: Progress, world: World, record: dict[str, Any]) -> bool:
    """Whether this epoch is the best so far, by the validation objective; NaN never is.

    Patience begins when the warm-up ends: until then the objective is not what is being minimised.
    """
    if "val/loss" not in record:
        value = record["train/loss"]
        improved = True  # without validation the last epoch is taken
    else:
        value = world.as_first(record["val/loss"])  # so that none stops earlier than another
        improved = math.isfinite(value) and (progress.best is None or value < progress.best.value)
    warming = progress.epoch <= config.kl_warmup
    progress.since_best = 0 if improved or warming else progress.since_best + 1
    if improved:
        progress.best = Best(value, progress.step, progress.epoch)
    return improved


def _stops_early(config: TrainConfig, progress: Progress) -> bool:
    return config.early_stop is not None and progress.since_best >= config.early_stop


def _means(session: Session, images: int) -> dict[str, float]:
    """The figures of the epoch's first `images`; where a GPU's held steps are noticed."""
    if session.adam.held.item():
        raise NotFiniteError("the loss or a gradient", f"in the last {REFRESH} steps before {session.progress.step}")
    return session.running.means(session.world, images)


def _refresh(bar: Bar, session: Session) -> None:
    progress, config, figures = session.progress, session.config, ""
    if progress.batch:
        values = _means(session, min(progress.batch * config.batch_size, len(session.data.train)))
        figures = lines.beside_bar(values, session.model, math.prod(session.data.train.shape), bar.latest)
    bar.show(progress.step, f"epoch {min(progress.epoch + 1, config.epochs)}/{config.epochs}", figures)
