"""`aectl eval`: a trained run's metrics, baselines, figures and diagnosis."""

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from aectl import storage
from aectl.commands.schemas import EvalConfig
from aectl.drawing import plots, views
from aectl.errors import ConfigError
from aectl.machine import devices
from aectl.measuring import evaluation, figures, robustness
from aectl.measuring.diagnosis import diagnose
from aectl.measuring.evaluation import Subject
from aectl.measuring.figures import Figure
from aectl.runs import schema
from aectl.runs.opening import open_data, open_run
from aectl.runs.papers import without_nan
from aectl.runs.tracking import Tracker

log = logging.getLogger(__name__)


def run_eval(config: EvalConfig, folder: Path) -> float:
    """Measure a run: a table on the screen, metrics.json and figures in `folder`; return its loss."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    data = open_data(run, config.data.root)
    images = data.part(config.split, "choose another split")
    subject = Subject(run, data, images, config.split, device, config.seed, config.batch_size)
    log.info("evaluating %s, %s checkpoint, on %s", run.title, config.checkpoint, subject.counted)
    if config.nll_samples is not None and run.model.prior is None:
        raise ConfigError(f"nll_samples={config.nll_samples}: {run.path} is an AE: no prior, hence no p(x)")
    subject.refuse_not_finite()
    facts: dict[str, Any] = {
        "run": str(run.path), "checkpoint": config.checkpoint, "split": config.split, "images": len(images),
        "epoch": run.progress.epoch, "step": run.progress.step,
        **({} if run.model.latent is None else {"latent": run.model.latent}),
        "dataset": run.config.dataset.name, "binarize": run.config.dataset.binarize, "sizes": data.sizes(),
        "epoch_chosen_by": run.chosen_by,
    }  # fmt: skip
    found: list[Figure] = []
    with tqdm(_parts(subject, config), disable=None, leave=False) as bar:
        for name, measure in bar:
            bar.set_description(name)
            found += measure(subject)
    rows = robustness.measure(run.model, images, device, config.seed) if config.robustness else []
    errors = {one.name: one.error for one in found if one.error is not None} | subject.differences
    document = {
        **facts,
        **figures.values(found),
        **({"robustness": [asdict(row) for row in rows]} if rows else {}),
        **({"standard_errors": errors} if errors else {}),
    }
    sentences = diagnose(run, document)
    for line in (*figures.lines(facts, found), *robustness.lines(rows), *sentences):
        log.info("%s", line)
    _draw(subject, found, sentences, folder)
    storage.replace(folder / "metrics.json", storage.dump_json(without_nan({**document, "diagnosis": sentences})))
    log.info("metrics.json and figures: %s", folder)
    return subject.scores.loss


def _parts(subject: Subject, config: EvalConfig) -> list[tuple[str, Callable[[Subject], list[Figure]]]]:
    """What is measured, as far as this run has it and the command asks for it."""
    bound = functools.partial(evaluation.bound, samples=config.nll_samples, repeats=config.nll_repeats)
    parts = [
        ("objective", evaluation.objective, True),
        ("reconstruction", evaluation.reconstruction, True),
        ("baselines", evaluation.against_baselines, True),
        ("codes", evaluation.codes, subject.model.latent is not None),
        ("importance", bound, config.nll_samples is not None),
        ("denoising", evaluation.denoised, subject.run.config.corrupts),
    ]
    return [(name, measure) for name, measure, fits in parts if fits]


def _draw(subject: Subject, found: list[Figure], sentences: list[str], folder: Path) -> None:
    """Figures, sentences and pictures into TensorBoard and `folder`."""
    tracker, step = Tracker(folder), subject.run.progress.step
    try:
        tracker.scalars("measured by eval", {one.name: one.value for one in found if isinstance(one.value, float)})
        tracker.text("diagnosis", "\n".join(sentences))
        for name, picture in _pictures(subject):
            tracker.picture(name, picture, step)
    finally:
        tracker.close()


def _pictures(subject: Subject) -> Iterator[tuple[str, views.View]]:
    model, images, device = subject.model, subject.images, subject.device
    run, scores = schema.caption(subject.run.config), subject.scores
    title = f"{run}: {subject.split} images"
    yield "reconstructions", views.reconstructions(model, images, subject.noise, device, title, draws=3)
    if scores.codes is not None:
        what = f"codes of {subject.counted}"
        of_codes = model, scores.codes, images.labels, device, what, run
        yield views.codes_picture(*of_codes)
        if model.latent > 2:
            yield "latent_plane", views.latent_plane(*of_codes)
        yield "prior_samples", views.prior_samples(model, device, run)
        yield from views.of_prior(model, run).items()
    if scores.latent_kl is not None:
        yield "latent_kl", views.latent_kl(scores.latent_kl, scores.active_units, run)
    title = f"{run}\nsquared error of {subject.counted}"
    yield "errors", plots.histogram(subject.errors[0] * subject.pixels, title, "squared error, summed over an image")
