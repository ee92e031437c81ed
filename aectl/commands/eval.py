"""`aectl eval`: a trained run's metrics, baselines, figures and diagnosis."""

import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import storage
from aectl.commands.denoise import denoising
from aectl.data.images import Images, Split
from aectl.data.noise import Noise
from aectl.drawing import plots, views
from aectl.errors import CheckpointError, ConfigError
from aectl.machine import devices
from aectl.measuring import baselines, eval_table, importance, metrics, robustness
from aectl.measuring.diagnosis import diagnose
from aectl.measuring.scoring import Scores, batches, encode, score
from aectl.models.base import Model
from aectl.runs.layout import plain
from aectl.runs.opening import Run, open_data, open_run
from aectl.runs.tracking import Tracker
from aectl.settings.config import EvalConfig

log = logging.getLogger(__name__)


def run_eval(config: EvalConfig, folder: Path) -> float:
    """Measure a run: a table on the screen, metrics.json and figures in `folder`; return its loss."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    data = open_data(run, config.data.root)
    images = data.part(config.split, "choose another split")
    subject = Subject(run, config, images, data, device)
    log.info("evaluating %s, %s checkpoint, on %s", run.title, config.checkpoint, subject.counted)
    found: dict[str, Any] = {
        "run": str(run.path), "checkpoint": config.checkpoint, "split": config.split, "images": len(images),
        "epoch": run.progress.epoch, "step": run.progress.step,
        **({"latent": run.model.latent} if run.model.latent is not None else {}),
        "dataset": run.config.dataset.name, "binarize": run.config.dataset.binarize, "sizes": data.sizes(),
        "epoch_chosen_by": run.chosen_by,
    }  # fmt: skip
    if config.nll_samples is not None and run.model.prior is None:
        raise ConfigError(f"nll_samples={config.nll_samples}: {run.path} is an AE: no prior, hence no p(x)")
    parts = [_objective, _reconstruction, _against_baselines]
    parts += [_codes] if run.model.latent is not None else []
    parts += [_importance] if config.nll_samples is not None else []
    parts += [_robustness] if config.robustness else []
    parts += [_denoising] if run.config.noise.corrupts else []
    with tqdm(parts, disable=None, leave=False) as bar:
        for part in bar:
            bar.set_description(part.__name__.strip("_").replace("_", " "))
            found |= part(subject)
    if subject.standard_errors:
        found["standard_errors"] = subject.standard_errors
    sentences = diagnose(run, found)
    _write(subject, found, sentences, folder)
    return found["loss"]


Batches = Iterator[tuple[Tensor, Tensor, Tensor | None]]


@dataclass
class Subject:
    """What is measured; results that several parts need are kept here once made.

    Attributes:
        standard_errors: over images, of the figures that are means over them, and of differences as `mse - pca_mse`.
    """

    run: Run
    config: EvalConfig
    images: Images
    data: Split
    device: torch.device
    standard_errors: dict[str, float] = field(default_factory=dict)

    def mean(self, name: str, values: Tensor) -> float:
        """The figure `name`: the mean of its `values` for each image, (N,)."""
        self.compare(name, values)
        return values.double().mean().item()

    def compare(self, name: str, values: Tensor) -> None:
        """Keep the standard error of the mean of `values`, (N,); a single image has none."""
        error = metrics.standard_error(values)
        if error is not None:
            self.standard_errors[name] = error

    @property
    def model(self) -> Model:
        """The run's model."""
        return self.run.model

    @functools.cached_property
    def corrupt(self) -> Noise:
        """The run's own noise."""
        return self.run.config.noise

    @functools.cached_property
    def scores(self) -> Scores:
        """The objective at the full weight on the KL, and the codes.

        Raises:
            CheckpointError: the weights are finite and what they make of these images is not.
        """
        beta, size = self.run.config.kl_weight, self.config.batch_size
        scores = score(
            self.model, self.run.loss(self.data), self.images, self.corrupt, beta, self.device, self.config.seed, size
        )
        if not math.isfinite(scores.loss) or (scores.codes is not None and not scores.codes.isfinite().all()):
            raise CheckpointError(
                f"{self.run.checkpoint.path}: its loss or its codes of {self.config.split} images are not finite; "
                "give an earlier checkpoint, or train again with a smaller lr"
            )
        return scores

    @functools.cached_property
    @torch.inference_mode()
    def errors(self) -> Tensor:
        """(MSE, PSNR, SSIM) of each reconstruction from the mean of its code, (3, N); the input carries the noise."""
        rows = []
        for x, x_noisy, _ in self.batches():
            x_hat = self.model.reconstruct(x_noisy)
            rows.append(torch.stack([metrics.mse(x_hat, x), metrics.psnr(x_hat, x), metrics.ssim(x_hat, x)]).cpu())
        return torch.cat(rows, dim=1)

    @property
    def counted(self) -> str:
        """How many images of which part, in words."""
        return f"{len(self.images):,} {self.config.split} image{'s' if len(self.images) > 1 else ''}"

    @property
    def pixels(self) -> int:
        """Values in an image."""
        return math.prod(self.run.shape)

    @functools.cached_property
    def grey(self) -> bool:
        """Whether a Bernoulli scores pixels between 0 and 1, for which it is no likelihood."""
        between = any(bool(((part > 0) & (part < 255)).any()) for part in self.images.chunks())
        return between and self.model.likelihood.binary

    def batches(self) -> Batches:
        """(x, x̃, None), the same each time."""
        return self.batches_of(self.config.batch_size)

    def batches_of(self, size: int) -> Batches:
        """The same images with the same noise, `size` at a time."""
        return batches(self.images, self.corrupt, self.device, self.config.seed, size)


def _objective(subject: Subject) -> dict[str, Any]:
    scores = subject.scores
    found: dict[str, Any] = scores.named()
    for name, values in scores.each.items():
        subject.compare(name, values)
    if subject.grey:
        found["recon_floor"] = grey_floor(subject.images)
    return found | subject.model.likelihood.figures()


def _importance(subject: Subject) -> dict[str, Any]:
    """−log p(x) by importance sampling; called NLL only where p(x|z) is normalised over what the pixels are."""
    config = subject.config
    settings = (config.nll_samples, config.nll_repeats, config.seed)
    count, at_once = len(subject.images), functools.partial(subject.batches_of, importance.STRIDE)
    bound = importance.bound(subject.model, at_once, count, *settings)
    name = "grey_bce_bound" if subject.grey else "nll"
    found: dict[str, Any] = {
        name: bound.mean,
        **({} if bound.se_images is None else {f"{name}_se_images": bound.se_images}),
        **({} if bound.se_draws is None else {f"{name}_se_draws": bound.se_draws}),
        f"{name}_samples": config.nll_samples,
        f"{name}_repeats": config.nll_repeats,
        f"{name}_effective_samples": bound.effective_samples,
        f"{name}_scarce": bound.scarce,
    }
    if name == "nll":
        found["bits_per_dim"] = bound.mean / (subject.pixels * math.log(2))
    return found


def _reconstruction(subject: Subject) -> dict[str, Any]:
    mse, psnr, ssim = subject.errors
    errors = {"mse": mse, "sse": mse * subject.pixels, "psnr": psnr, "ssim": ssim}
    return {name: subject.mean(name, values) for name, values in errors.items()}


def _against_baselines(subject: Subject) -> dict[str, Any]:
    principal = baselines.principal(subject.data.train)
    components = {"mean_image_mse": 0}
    if subject.model.latent is not None:
        components["pca_mse"] = subject.model.latent
    found: dict[str, Any] = {}
    for name, k in components.items():
        errors = principal.errors(subject.images, k) / subject.pixels
        found[name] = subject.mean(name, errors)
        subject.compare(f"mse - {name}", subject.errors[0] - errors)
    if subject.model.latent is not None:
        found["pca_components"] = principal.components(subject.model.latent)
    return found


def _codes(subject: Subject) -> dict[str, Any]:
    """What the codes of clean images know of the labels, of those that have one."""
    train, images = subject.data.train, subject.images
    if train.labels is None or images.labels is None:
        return {}
    known, asked = train.labels >= 0, images.labels >= 0
    if len(train.labels[known].unique()) < 2 or not asked.any():
        return {}
    codes = encode(subject.model, train, subject.device)
    parts = (codes[known], train.labels[known], subject.scores.codes[asked], images.labels[asked])
    return {
        "knn_accuracy": baselines.knn_accuracy(*parts),
        "linear_probe_accuracy": baselines.linear_probe_accuracy(*parts),
    }


def _robustness(subject: Subject) -> dict[str, Any]:
    rows = robustness.table(subject.model, subject.images, subject.device, subject.config.seed)
    return {"robustness": [asdict(row) for row in rows]}


@torch.inference_mode()
def _denoising(subject: Subject) -> dict[str, Any]:
    found = denoising(subject.model, subject.batches())
    for other in ("psnr_noisy", "psnr_median"):
        subject.compare(f"psnr_denoised - {other}", found["psnr_denoised"] - found[other])
    return {name: subject.mean(name, values) for name, values in found.items()}


def grey_floor(images: Images) -> float:
    """The least that grey BCE can be: the pixels' own entropy, in nats per image; 0 for binary images."""
    counts = sum(torch.bincount(part.flatten(), minlength=256).double() for part in images.chunks())
    p = torch.arange(256, dtype=torch.float64) / 255
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return (counts @ entropy).item() / len(images)


def _write(subject: Subject, found: dict[str, Any], sentences: list[str], folder: Path) -> None:
    """The table and the sentences, on the screen and in the folder."""
    for line in (*eval_table.lines(found), *sentences):
        log.info("%s", line)
    tracker = Tracker(folder)
    try:
        step = found["step"]
        tracker.scalars({f"eval/{name}": value for name, value in found.items() if isinstance(value, float)}, step)
        tracker.text("diagnosis", "\n".join(sentences))
        for name, picture in _pictures(subject):
            tracker.picture(name, picture, step)
    finally:
        tracker.close()
    document = plain({**found, "diagnosis": sentences})
    storage.replace(folder / "metrics.json", storage.dump_json(document))
    log.info("metrics.json and figures: %s", folder)


def _pictures(subject: Subject) -> Iterator[tuple[str, views.Picture]]:
    run, images, device = subject.run, subject.images, subject.device
    title = f"{subject.config.split} images"
    yield "reconstructions", views.reconstructions(run.model, images, subject.corrupt, device, title, draws=3)
    codes = subject.scores.codes
    if codes is not None:
        title = f"codes of {subject.counted}"
        yield "latent_scatter", views.latent_scatter(codes, images.labels, title)
        if run.model.latent > 1:
            yield "latent_map", views.latent_map(run.model, codes, device)
        yield "prior_samples", views.prior_samples(run.model, device)
        yield from views.of_prior(run.model).items()
    if subject.scores.latent_kl is not None:
        yield "latent_kl", views.latent_kl(subject.scores.latent_kl, subject.scores.active_units)
    title = f"squared error by image, {subject.counted}"
    yield "errors", plots.histogram(subject.errors[0] * subject.pixels, title, "sum of squared errors per image")
