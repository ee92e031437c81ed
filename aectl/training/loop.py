"""train(config, run_dir): the loop, and what happens when an epoch ends."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aectl import shell
from aectl.data.images import Split
from aectl.errors import ConfigError, DivergedError, brief
from aectl.machine import threads
from aectl.measuring import advice
from aectl.measuring.scoring import score
from aectl.models import objectives
from aectl.runs import checkpoint, layout, locks, seals, sweeps
from aectl.runs.config import TrainConfig
from aectl.runs.records import Best, Progress
from aectl.runs.schedules import kl_weight_at, lr_at
from aectl.runs.tracking import Tracker
from aectl.settings import typed
from aectl.signals import StopRequest
from aectl.training import lines, processes
from aectl.training.bar import Bar, lines_above
from aectl.training.feeding import rest_of_epoch
from aectl.training.journal import Journal
from aectl.training.pace import Pace, per_second
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
    if not processes.world().first:
        run_dir, config, saved, fetches = _where(config, run_dir, overrides)
        return _untold(prepare(config, run_dir, saved, fetches=fetches), fresh=saved is None)
    with begun(config, run_dir, overrides, command) as (session, told):
        _loop(session, told)
        return finished(session, told, overrides)


@contextlib.contextmanager
def begun(
    config: TrainConfig,
    run_dir: Path,
    overrides: Sequence[str],
    command: str,
    *,
    batched: bool = False,
    data: Split | None = None,
) -> Iterator[tuple[Session, Journal]]:
    """A run that can be trained in the block, and its journal: locked, its beginning told and saved.

    What it is given is as of `train`; `batched` and `data` are as of `prepare`.

    Raises:
        DivergedError: in the block something was not finite; its folder has word of it.
    """
    run_dir, config, saved, fetches = _where(config, run_dir, overrides)
    with locks.locked(run_dir):
        session = prepare(config, run_dir, saved, batched=batched, data=data, fetches=fetches)
        _seal(session)
        tracker = Tracker(run_dir, session.progress.step)
        told = Journal(session.config, run_dir, session.data, session.model, session.loss, session.device, tracker)
        try:
            told.begin(session.progress, command)
            if saved is None:
                _keep_now(session)  # from its first second on, a run can be resumed
            yield session, told
        except NotFiniteError as error:
            refusal = _diverged(session, run_dir, error)
            sweeps.record_failure(run_dir, overrides, str(refusal), refusal.exit_code)
            raise refusal from None
        finally:
            session.keeper.close()
            tracker.close()


def _where(
    config: TrainConfig, run_dir: Path, overrides: Sequence[str]
) -> tuple[Path, TrainConfig, checkpoint.Checkpoint | None, bool]:
    """What `resumed` has of a run to go on with; of a new one there is no checkpoint."""
    if config.resume is not None:
        return resumed(config, overrides)
    if checkpoint.listing(layout.checkpoints_of(run_dir)):
        raise ConfigError(
            f"hydra.run.dir={run_dir}: holds a run already; go on with "
            f"{shell.shown('resume', run_dir)} or choose another folder"
        )
    return run_dir, config, None, True


def _seal(session: Session) -> None:
    """Mark a run as made here, before it has a checkpoint that could be opened; without a key it goes on unmarked."""
    run_dir = session.keeper.run_dir
    if reason := seals.add(run_dir, typed.to_dict(session.config)):
        log.warning(
            "note: not marked as a run that was made here (%s): other commands will want data.root=<folder> for its "
            "pictures; AECTL_KEY=<file> names another place for the key", brief(reason, 200),
        )  # fmt: skip


def finished(session: Session, told: Journal, overrides: Sequence[str]) -> float:
    """The end of a run whose last epoch is over, told; returns what `train` returns."""
    _best_of(session.progress)
    return told.finish(session.progress, overrides)


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
    finally:
        session.keeper.close()


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
    images = session.data.train.to(device)
    pace = Pace()
    bar = Bar(per_epoch * config.epochs, progress.step, shown=world.first)
    with lines_above(), StopRequest() as request, bar:
        while not is_over(session):
            began, done, stopping = time.perf_counter(), progress.batch * config.batch_size, False
            pace.go()
            for (x, seen), rng in rest_of_epoch(images, config, progress, device):
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
            elapsed = max(0.0, time.perf_counter() - began)
            progress.seconds += elapsed
            if progress.batch == per_epoch:
                bar.latest = end_epoch(session, told, per_second(len(images) - done, elapsed))
            _refresh(bar, session)
            if stopping or _asked_to_stop(request, world, progress.step):
                stopped(session)
                request.stop()
        session.keeper.settle()


def is_over(session: Session) -> bool:
    """Whether no epoch is left to train."""
    return session.progress.epoch >= session.config.epochs or _stops_early(session.config, session.progress)


def stopped(session: Session) -> None:
    """Keep where a run stands that was asked to stop, and say how to go on."""
    progress = session.progress
    if progress.step not in session.keeper.kept:
        session.keeper.keep(progress)
    session.keeper.settle()
    again = shell.command("train", shell.setting("resume", session.keeper.run_dir))
    log.info("stopped at step %d; go on: %s", progress.step, again)


def _asked_to_stop(request: StopRequest, world: World, step: int) -> bool:
    """Whether to stop here; several processes stop at the same step, hence only where they look at their sums."""
    asked = request.signal is not None
    if world.size == 1:
        return asked
    return step % REFRESH == 0 and world.any(asked)


def end_epoch(session: Session, told: Journal | None, images_per_s: float) -> dict[str, Any]:
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
    if improved or is_over(session) or progress.epoch % config.checkpoint_every == 0:
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
