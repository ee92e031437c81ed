"""train(config, run_dir): the loop, and what happens when an epoch ends."""

import functools
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from aectl import shell
from aectl.errors import ConfigError, DivergedError
from aectl.machine import devices, threads
from aectl.measuring import advice
from aectl.measuring.scoring import score
from aectl.models import objectives
from aectl.rng import generator
from aectl.runs import checkpoint, layout
from aectl.runs.checkpoint import Checkpoint
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Best
from aectl.runs.tracking import Tracker
from aectl.signals import StopRequest
from aectl.training import journal, processes
from aectl.training.feeding import feed
from aectl.training.pace import Pace
from aectl.training.replaying import Replayed
from aectl.training.session import Session, prepare, resumed, save

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
        return _follow(config, run_dir, saved)
    with layout.locked(run_dir):
        session = prepare(config, run_dir, saved)
        tracker = Tracker(run_dir, session.progress.step)
        try:
            journal.begin(session, tracker, command)
            if saved is None:
                save(session)  # from its first second on, a run can be resumed
            _loop(session, tracker)
            _best_of(session)
            return journal.finish(session, tracker, overrides)
        finally:
            tracker.close()


def _follow(config: TrainConfig, run_dir: Path, saved: Checkpoint | None) -> float:
    """`train` in a process that leaves all writing to the first."""
    session = prepare(config, run_dir, saved)
    if saved is None:
        save(session)
    _loop(session, None)
    return _best_of(session).value


def _best_of(session: Session) -> Best:
    """The best epoch of a run that has ended; raises DivergedError where none had a validation loss."""
    if session.progress.best is None:
        raise _diverged(session, "the validation loss", "in any epoch")
    return session.progress.best


def _loop(session: Session, tracker: Tracker | None) -> None:
    config, progress, world = session.config, session.progress, session.world
    step = functools.partial(_step, session)
    if config.execution == "graph":
        step = Replayed(step, session.device)
    images, n, size = session.data.train.to(session.device), len(session.data.train), config.batch_size
    total = session.steps_per_epoch * config.epochs
    pace = Pace()
    silent = None if world.first else True  # None: where nobody watches
    bar = tqdm(total=total, initial=progress.step, unit="step", disable=silent, dynamic_ncols=True, leave=False)
    with logging_redirect_tqdm(), StopRequest() as request, bar:
        while progress.epoch < config.epochs and not _stops_early(session):
            order = torch.randperm(n, generator=generator("cpu", config.seed, "order", progress.epoch))
            began, first, stopping = time.perf_counter(), progress.batch * size, False
            pace.go()
            rng_of = functools.partial(_rng_of, session, progress.step)
            for x, rng in feed(images, order[first:], size, session.device, rng_of):
                x_noisy = config.noise(x, rng)
                eps = session.model.draw(len(x), rng)
                share = world.share(len(x), session.device)
                beta, lr = session.beta(progress.step), session.lr(progress.step)
                values = step(*share.of(x, x_noisy, eps), share.weight, beta, lr)
                session.sums.add_(values, alpha=share.count)
                progress.step += 1
                progress.batch += 1
                pace.count(len(x))
                if progress.step % REFRESH == 0:
                    _refresh(bar, session)
                    pace.look()
                    threads.look()
                if stopping := _interrupted(session, request):
                    break
            pace.look()
            elapsed = time.perf_counter() - began
            progress.seconds += elapsed
            if progress.batch == session.steps_per_epoch:
                _end_epoch(session, tracker, (n - first) / elapsed)
            _refresh(bar, session)
            if stopping or _interrupted(session, request):
                if progress.step not in session.verified:
                    save(session)
                log.info(
                    "stopped at step %d; go on: %s",
                    progress.step,
                    shell.command("train", shell.setting("resume", session.run_dir)),
                )
                request.stop()


def _rng_of(session: Session, first: int, n: int) -> torch.Generator:
    """What is random in the n-th step after the `first`."""
    return generator(session.device, session.config.seed, "step", first + n)


def _step(
    session: Session, x: Tensor, x_noisy: Tensor, eps: Tensor | None, weight: Tensor | None, beta: float, lr: float
) -> Tensor:
    """One optimizer step; `model.objective` averaged over the batch, (3,) or (2,), nats per image."""
    config, model = session.config, session.model
    with devices.precision(session.device, config.precision):
        terms, _ = session.parallel(x, x_noisy, eps)
    means = terms.means(beta)
    for parameter in session.adam.parameters.values():
        parameter.grad = None
    means[0].backward(weight)
    if config.grad_clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    values = torch.stack(means).detach()
    session.adam.step(lr, _not_finite(session, values))
    return values


def _interrupted(session: Session, request: StopRequest) -> bool:
    """Whether to stop here; several processes stop at the same step, hence only where they look at their sums."""
    asked = request.signal is not None
    if session.world.size == 1:
        return asked
    return session.progress.step % REFRESH == 0 and session.world.any(asked)


def _end_epoch(session: Session, tracker: Tracker | None, images_per_s: float) -> None:
    """Validate, record, draw, and save if it is time to."""
    config, progress = session.config, session.progress
    trained = objectives.named(*_means(session, len(session.data.train)))
    session.model.eval()
    scores = None
    if len(session.data.val):
        scores = score(session.model, session.data.val, config.noise, config.kl_weight, session.device)
    progress.epoch += 1
    progress.batch = 0
    session.sums.zero_()
    record = {
        "epoch": progress.epoch,
        "step": progress.step,
        **{f"train/{name}": value for name, value in trained.items()},
        **{f"val/{name}": value for name, value in (scores.named() if scores else {}).items()},
        "lr": session.lr(progress.step - 1),
        "kl_weight": session.beta(progress.step - 1),
        "images_per_s": images_per_s,
    }
    improved = _note_best(session, record)
    if tracker is not None:
        journal.epoch(session, tracker, record, scores)
    last = progress.epoch == config.epochs or _stops_early(session)
    if improved or last or progress.epoch % config.checkpoint_every == 0:
        save(session)
    session.model.train()


def _note_best(session: Session, record: dict[str, Any]) -> bool:
    """Whether this epoch is the best so far, by the validation objective; NaN never is.

    Patience begins when the warm-up ends: until then the objective is not what is being minimised.
    """
    progress = session.progress
    if "val/loss" not in record:
        value = record["train/loss"]
        improved = True  # without validation the last epoch is taken
    else:
        value = session.world.as_first(record["val/loss"])  # so that none stops earlier than another
        improved = math.isfinite(value) and (progress.best is None or value < progress.best.value)
    warming = progress.epoch <= session.config.kl_warmup
    progress.since_best = 0 if improved or warming else progress.since_best + 1
    if improved:
        progress.best = Best(value, progress.step, progress.epoch)
    return improved


def _stops_early(session: Session) -> bool:
    patience = session.config.early_stop
    return patience is not None and session.progress.since_best >= patience


def _not_finite(session: Session, values: Tensor) -> Tensor | None:
    """What keeps the optimizer from moving if `values`, `model.objective`, or a gradient is not finite.

    The sum of everything is not finite as soon as one number is not. With CUDA reading it here would make the host
    wait: there it returns 1 instead of 0 on the device, which is noticed at the next look. Elsewhere None, or the
    run ends at once.

    Raises:
        DivergedError: names the step and the first of recon, KL and the gradients that is not finite.
    """
    gradients = [parameter.grad for parameter in session.adam.parameters.values()]
    total = torch.stack([values.sum(), *[gradient.sum() for gradient in gradients]]).sum()
    if session.device.type == "cuda":
        found = (~total.isfinite()).float()
        session.held += found
        return found
    if not math.isfinite(total.item()):
        terms = dict(zip(session.model.objective, values, strict=True))
        terms["loss"] = terms.pop("loss")  # blamed last: it has what the others have
        named = {f"the gradient of {name}": one.grad for name, one in session.adam.parameters.items()}
        culprit = next(name for name, value in {**terms, **named}.items() if not value.isfinite().all())
        raise _diverged(session, culprit, f"in step {session.progress.step + 1}")
    return None


def _diverged(session: Session, culprit: str, when: str) -> DivergedError:
    kept = "the last good checkpoint" if session.progress.epoch else "no epoch had ended, and the untrained start"
    return DivergedError(
        f"{culprit} is not finite {when}; {advice.words(advice.against_divergence(session.config))}; {kept} "
        f"is in {session.run_dir}"
    )


def _means(session: Session, count: int) -> list[float]:
    """`model.objective` averaged over the epoch's first `count` images; where a GPU's held steps are noticed."""
    if session.held.item():
        raise _diverged(
            session, "the loss or a gradient", f"in the last {REFRESH} steps before {session.progress.step}"
        )
    return (session.world.total(session.sums) / count).tolist()


def _refresh(bar: tqdm, session: Session) -> None:
    progress, config = session.progress, session.config
    if progress.batch:
        count = min(progress.batch * config.batch_size, len(session.data.train))
        values = zip(session.model.objective, _means(session, count), strict=True)
        bar.set_postfix_str(", ".join(f"{name} {value:.2f}" for name, value in values), refresh=False)
    bar.set_description_str(f"epoch {min(progress.epoch + 1, config.epochs)}/{config.epochs}", refresh=False)
    bar.update(progress.step - bar.n)
