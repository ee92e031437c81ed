"""What a run tells while and after it trains: its opening lines, its epochs, its pictures, its closing lines."""

import json
import logging
import math
import shlex
from collections.abc import Sequence
from typing import Any

import torch
import yaml

from aectl import shell, storage
from aectl.data.images import Images, to_float
from aectl.drawing import plots, views
from aectl.errors import DataError
from aectl.files import unusable
from aectl.measuring import advice, baselines
from aectl.measuring.scoring import Scores, batches, encode, score
from aectl.models.networks.layers import count_parameters
from aectl.models.objectives import per_pixel_weight
from aectl.runs.config import TrainConfig
from aectl.runs.layout import CONFIG, MANIFEST, METRICS, RESULT, plain, read_metrics
from aectl.runs.opening import chosen_by
from aectl.runs.tracking import Tracker
from aectl.settings import checks, config, typed
from aectl.training.session import Session

MAX_SHOWN = 5000  # points in a scatter
MAX_EMBEDDED = 1000  # images in the projector

log = logging.getLogger(__name__)


def begin(session: Session, tracker: Tracker, command: str) -> None:
    """Say what is about to be trained, and save the resolved configuration."""
    settings, data, progress = session.config, session.data, session.progress
    text = yaml.safe_dump(typed.to_dict(settings), sort_keys=False, allow_unicode=True)
    tracker.text("config", text)
    if progress.step == 0:
        saved = f"# {command}\n{text}"
        storage.replace(session.run_dir / CONFIG, saved.encode())
        _save_split(session)
    sizes = data.sizes()
    kind, detail = _name(settings)
    log.info("run %s", session.run_dir)
    for line in data.notes:
        log.info("%s", line)
    log.info(
        "%s %s%s, %s on %s %s: %d train, %d val, %d test; %d parameters; %s",
        settings.network.name, kind, f", {detail}" if session.model.has_code else "",
        settings.likelihood.name, settings.dataset.name,
        "×".join(map(str, data.train.shape)), sizes["train"], sizes["val"], sizes["test"],
        count_parameters(session.model), session.device,
    )  # fmt: skip
    if session.model.has_prior:
        pixels = math.prod(data.train.shape)
        log.info(
            "kl_weight %g = %.4g on the scale of a per-pixel mean over %d pixels",
            settings.kl_weight, per_pixel_weight(settings.kl_weight, data.train.shape), pixels,
        )  # fmt: skip
    for line in checks.notices(settings):
        log.warning("note: %s", line)
    if progress.step:
        log.info("resuming after step %d (epoch %d of %d)", progress.step, progress.epoch, settings.epochs)
        if progress.epoch == settings.epochs:
            log.info("nothing is left to train; epochs=<more> would go on")


def _save_split(session: Session) -> None:
    """Which of people's own pictures are in which part, and which could not be used."""
    data = session.data
    if data.manifest is not None:
        document = {"seed": session.config.dataset.split_seed, "parts": data.manifest}
        storage.replace(session.run_dir / MANIFEST, json.dumps(document).encode())
    unusable.write(session.run_dir / unusable.FILE, data.bad)


def _title(settings: TrainConfig) -> str:
    return ", ".join((*_name(settings), settings.dataset.name))


def _name(settings: TrainConfig) -> tuple[str, str]:
    return config.name_of(settings.network.name, settings.model.name, settings.noise.name, settings.latent)


def epoch(session: Session, tracker: Tracker, record: dict[str, Any], scores: Scores | None) -> None:
    """Record an epoch; draw its pictures when it is their turn."""
    tracker.epoch(record)
    if scores is not None and scores.latent_kl is not None:
        tracker.latent_kl(scores.latent_kl, record["step"])
    log.info("%s", _line(session, record))
    every = session.config.figures_every
    if every and record["epoch"] % every == 0 and record["epoch"] < session.config.epochs:
        draw(session, tracker)


def _line(session: Session, record: dict[str, Any]) -> str:
    names = ("loss", "recon", "kl") if session.model.has_prior else ("loss",)
    parts = [f"epoch {record['epoch']}/{session.config.epochs}"]
    for part in ("train", "val"):
        if f"{part}/loss" in record:
            values = " ".join(f"{name} {record[f'{part}/{name}']:.2f}" for name in names)
            parts.append(f"{part} {values}")
    return "  ".join(parts) + f"  {record['images_per_s']:,.0f} images/s"


def shown(session: Session) -> tuple[Images, str]:
    """The images that pictures show: validation, or the training part where there is none; and its name."""
    if len(session.data.val):
        return session.data.val, "validation"
    return session.data.train.drawn_once("pictures"), "training"


def draw(session: Session, tracker: Tracker) -> Scores:
    """The pictures of this moment, into TensorBoard and `figures/`; return the scores of the images shown."""
    model, device, progress = session.model, session.device, session.progress
    images, part = shown(session)
    images = images.spread(MAX_SHOWN)
    noise = session.config.noise
    scores = score(model, images, noise, session.config.kl_weight, device)
    when = f"epoch {progress.epoch}, {part} images"
    step = progress.step
    tracker.picture("reconstructions", views.reconstructions(model, images, noise, device, when), step)
    if not model.has_code:
        return scores
    tracker.picture("prior_samples", views.prior_samples(model, session.config.latent, device), step)
    codes = encode(model, images, device)
    title = f"codes of {len(images):,} {part} images, epoch {progress.epoch}"
    tracker.picture("latent_scatter", views.latent_scatter(codes, images.labels, title), step)
    if session.config.latent == 2:
        tracker.picture("latent_map", views.latent_map(model, codes, device), step)
    return scores


def finish(session: Session, tracker: Tracker, overrides: Sequence[str]) -> float:
    """Draw everything once more, fill the projector and the hparams tab, say what to do next.

    Returns:
        What `aectl.training.loop.train` returns.
    """
    settings, progress = session.config, session.progress
    session.model.eval()
    scores = draw(session, tracker)
    images, _ = shown(session)
    if scores.latent_kl is not None:
        tracker.picture("latent_kl", views.latent_kl(scores.latent_kl, scores.active_units), progress.step)
    records = read_metrics(session.run_dir)
    if records:
        tracker.picture("curves", plots.curves(records, _title(settings)), progress.step)
    few = images.spread(MAX_EMBEDDED)
    codes = encode(session.model, few, session.device)
    tracker.embedding(codes, few.labels, to_float(few.pixels), progress.step)

    assert progress.best is not None, "an epoch has ended"
    chosen = next((record for record in records if record["step"] == progress.best.step), None)
    if chosen is None:
        raise DataError(
            f"{session.run_dir / METRICS}: has no record of the best epoch, {progress.best.epoch}; was it edited?"
        )
    likelihood, mean = session.model.likelihood, session.data.train.mean()
    reference = baselines.constant_recon(likelihood, likelihood.inverse_mean(mean), images)
    untrained = _untrained(session, images)
    names = [name for name in chosen if name.startswith(("train/", "val/")) and chosen[name] is not None]
    final = {name: chosen[name] for name in names}
    part = "val/" if chosen.get("val/loss") is not None else "train/"
    compared = {f"hparam/{name}": value for name, value in final.items() if name.startswith(part)}
    tracker.hparams(_hyperparameters(session), compared)
    result = {
        "status": "completed",
        "overrides": list(overrides),
        "epochs": progress.epoch,
        "best_epoch": progress.best.epoch,
        "epoch_chosen_by": chosen_by(settings),
        "dataset": settings.dataset.name,
        "binarize": settings.dataset.binarize,
        "sizes": session.data.sizes(),
        "step": progress.step,
        "seconds": round(progress.seconds, 3),
        "objective": progress.best.value,
        "mean_image_recon": reference,
        "learnt": _recon(chosen) < reference,
        **final,
    }
    storage.replace(session.run_dir / RESULT, storage.dump_json(plain(result)))
    if progress.epoch < settings.epochs:
        log.info("stopped early: no better validation objective for %d epochs", progress.since_best)
    log.info("best epoch %d: %s", progress.best.epoch, _figures_line(session, chosen))
    if verdict := _verdict(session, chosen, records, reference, untrained):
        log.warning("%s", verdict)
    log.info("curves, pictures and checkpoints: %s", session.run_dir)
    log.info("next:")
    for line in _next(session):
        log.info("  %s", line)
    return progress.best.value


def _recon(record: dict[str, Any]) -> float:
    """An epoch's reconstruction, of validation images where there are any, in nats per image."""
    recon = record["val/recon" if "val/loss" in record else "train/recon"]
    return math.inf if recon is None else recon


def _untrained(session: Session, images: Images) -> float:
    """Recon before the first step: of a decoder that gives zeros, or of the noisy pictures where it adds to them."""
    likelihood = session.model.likelihood
    if session.model.has_code:
        return baselines.constant_recon(likelihood, torch.zeros(images.shape), images)
    triples = batches(images, session.config.noise, session.device, session.config.seed)
    with torch.inference_mode():
        return sum(likelihood.neg_log_prob(x, noisy).sum().item() for x, noisy, _ in triples) / len(images)


def _verdict(
    session: Session, chosen: dict[str, Any], records: Sequence[dict[str, Any]], reference: float, untrained: float
) -> str | None:
    """What to know of a run that is no better than `reference`, the mean image's recon, or not any more.

    It diverged if it is further from that than twice the way to `untrained`, that of a network before its first step.
    """
    settings, pixels = session.config, math.prod(session.data.train.shape)
    unit = session.model.likelihood.per_pixel(reference / pixels).partition(", σ")[0]
    best, last = _recon(chosen), _recon(records[-1])
    than = f"{reference:.2f} ({unit}), which the mean training image has in place of every reconstruction"
    if best > reference + 2 * max(untrained - reference, 0) or last >= reference > best:
        when = f" after its best epoch, {chosen['epoch']}" if best < reference else ""
        tips = advice.against_divergence(settings)
        return f"it diverged{when}: recon came to {last:.2f}, worse than {than}; {advice.words(tips)}"
    if best >= reference:
        recons = [record["train/recon"] for record in records]
        tips = advice.against_not_learning(settings, recons, chosen.get("val/active_units"))
        return f"it has not learnt: recon {best:.2f} is no better than {than}; {advice.words(tips)}"
    return None


def _next(session: Session) -> list[str]:
    """Commands that fit the run, each as a line to paste."""
    run = shell.setting("run", session.run_dir)
    then = "denoise" if session.config.noise.corrupts else "sample" if session.model.has_code else None
    commands = [shell.command(name, run) for name in ("eval", then) if name]
    root = next((str(path) for path in session.run_dir.parents if path.name == "outputs"), str(session.run_dir))
    return [*commands, shlex.join(["tensorboard", "--logdir", root])]


def _figures_line(session: Session, record: dict[str, Any]) -> str:
    """Training and validation in nats per image, and in the unit that courses print: an error per pixel."""
    pixels = math.prod(session.data.train.shape)
    texts = []
    for part in ("train", "val"):
        recon = record.get(f"{part}/recon")
        if recon is None:
            continue
        text = f"{part} recon {recon:.2f} ({session.model.likelihood.per_pixel(recon / pixels)})"
        if session.model.has_prior:
            text += f", KL {record[f'{part}/kl']:.2f}, ELBO {record[f'{part}/elbo']:.2f}"
        texts.append(text)
    return "; ".join(texts)


def _hyperparameters(session: Session) -> dict[str, Any]:
    """What defines the run, and `train.` all other settings that bear on its numbers: TensorBoard goes by name."""
    settings = session.config
    first = {"dataset": settings.dataset.name, "model": _name(settings)[0], "network": settings.network.name}
    first |= {"latent": settings.latent} if session.model.has_code else {}
    said = ("dataset.name", "model.name", "network.name", "latent", "seed")
    rest = {
        f"train.{key}": value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for key, value in typed.flat(typed.to_dict(settings)).items()
        if value is not None and key not in said and config.bears_on_numbers(key)
    }
    return {**first, "seed": settings.seed, **rest}
