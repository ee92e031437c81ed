"""`aectl eval`: a trained run's metrics, baselines, figures and diagnosis."""

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import baselines, devices, figures, importance, metrics, pictures, robustness, storage
from aectl.config import EvalConfig
from aectl.denoiser import denoising_table
from aectl.diagnosis import diagnose
from aectl.errors import ConfigError
from aectl.images import Images
from aectl.losses import Bernoulli, Gaussian
from aectl.models import Autoencoder
from aectl.noise import Corruption, build_noise
from aectl.runs import Run, open_data, open_run
from aectl.scoring import Scores, active_units, batches, encode, score
from aectl.tracking import Tracker, plain

log = logging.getLogger(__name__)


def run_eval(config: EvalConfig, folder: Path) -> float:
    """Measure a run: a table on the screen, metrics.json and figures in `folder`; return its loss."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    data = open_data(run, config.data.root)
    images = data.part(config.split, "choose another split")
    log.info(
        "evaluating %s, %s checkpoint, on %d %s images",
        run.title,
        config.checkpoint,
        len(images),
        config.split,
    )
    subject = Subject(run, config, images, data.train, device)
    found: dict[str, Any] = {
        "run": str(run.path), "checkpoint": config.checkpoint, "split": config.split, "images": len(images),
        "epoch": run.progress.epoch, "step": run.progress.step,
        **({"latent": run.config.latent} if run.model.has_code else {}),
        "dataset": run.config.dataset.name, "binarize": run.config.dataset.binarize, "sizes": data.sizes(),
        "epoch_chosen_by": run.chosen_by,
    }  # fmt: skip
    if config.nll_samples is not None and not run.model.has_prior:
        raise ConfigError(f"nll_samples={config.nll_samples}: {run.path} is an AE: no prior, hence no p(x)")
    parts = [_objective, _reconstruction, _against_baselines]
    parts += [_codes] if run.model.has_code else []
    parts += [_importance] if config.nll_samples is not None else []
    parts += [_robustness] if config.robustness else []
    parts += [_denoising] if run.config.noise.name != "none" else []
    with tqdm(parts, disable=None, leave=False) as bar:
        for part in bar:
            bar.set_description(part.__name__.strip("_").replace("_", " "))
            found |= part(subject)
    sentences = diagnose(run, found)
    _write(subject, found, sentences, folder)
    return found["loss"]


@dataclass
class Subject:
    """What is measured; results that several parts need are kept here once made."""

    run: Run
    config: EvalConfig
    images: Images
    train: Images
    device: torch.device

    @property
    def model(self) -> Autoencoder:
        """The run's model."""
        return self.run.model

    @cached_property
    def corrupt(self) -> Corruption:
        """The run's own noise."""
        return build_noise(self.run.config.noise)

    @cached_property
    def scores(self) -> Scores:
        """The objective at the full weight on the KL."""
        beta, size = self.run.config.kl_weight, self.config.batch_size
        return score(self.model, self.images, self.corrupt, beta, self.device, self.config.seed, size)

    @cached_property
    def codes(self) -> Tensor:
        """Codes of the clean images."""
        return encode(self.model, self.images, self.device, self.config.batch_size)

    @cached_property
    @torch.inference_mode()
    def errors(self) -> Tensor:
        """(MSE, PSNR, SSIM) of each reconstruction from the mean of its code, (3, N); the input carries the noise."""
        rows = []
        for x, x_noisy, _ in self.batches():
            x_hat = self.model.reconstruct(x_noisy)
            rows.append(torch.stack([metrics.mse(x_hat, x), metrics.psnr(x_hat, x), metrics.ssim(x_hat, x)]).cpu())
        return torch.cat(rows, dim=1)

    @property
    def pixels(self) -> int:
        """Values in an image."""
        return math.prod(self.run.shape)

    @cached_property
    def grey(self) -> bool:
        """Whether a Bernoulli scores pixels between 0 and 1, for which it is no likelihood."""
        between = any(bool(((part > 0) & (part < 255)).any()) for part in self.images.chunks())
        return between and isinstance(self.model.likelihood, Bernoulli)

    def batches(self) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
        """(x, x̃, generator), the same each time."""
        return batches(self.images, self.corrupt, self.device, self.config.seed, self.config.batch_size)


def _objective(subject: Subject) -> dict[str, Any]:
    scores = subject.scores
    found: dict[str, Any] = scores.named()
    if subject.model.has_code:
        found["active_units"] = active_units(subject.codes)
    likelihood = subject.model.likelihood
    if subject.grey:
        found["recon_floor"] = grey_floor(subject.images)
    if isinstance(likelihood, Gaussian) and likelihood.learned:
        found["sigma"] = likelihood.sigma
    return found


def _importance(subject: Subject) -> dict[str, Any]:
    """−log p(x) by importance sampling; called NLL only where p(x|z) is normalised over what the pixels are."""
    config = subject.config
    settings = (config.nll_samples, config.nll_repeats, config.seed)
    bound = importance.bound(subject.model, subject.batches, len(subject.images), *settings)
    name = "grey_bce_bound" if subject.grey else "nll"
    found: dict[str, Any] = {
        name: bound.mean,
        f"{name}_se_images": bound.se_images,
        f"{name}_se_draws": bound.se_draws,
        f"{name}_samples": config.nll_samples,
        f"{name}_repeats": config.nll_repeats,
        f"{name}_effective_samples": bound.effective_samples,
    }
    if name == "nll":
        found["bits_per_dim"] = bound.mean / (subject.pixels * math.log(2))
    return found


def _reconstruction(subject: Subject) -> dict[str, Any]:
    mse, psnr, ssim = subject.errors.mean(1).tolist()
    return {"mse": mse, "sse": mse * subject.pixels, "psnr": psnr, "ssim": ssim}


def _against_baselines(subject: Subject) -> dict[str, Any]:
    principal = baselines.principal(subject.train)
    components = {"mean_image_mse": 0}
    if subject.model.has_code:
        components["pca_mse"] = subject.run.config.latent
    return {name: principal.sse(subject.images, k) / subject.pixels for name, k in components.items()}


def _codes(subject: Subject) -> dict[str, Any]:
    """What the codes of clean images know of the labels."""
    if subject.images.labels is None or len(subject.train.labels.unique()) < 2:
        return {}
    train = encode(subject.model, subject.train, subject.device)
    parts = (train, subject.train.labels, subject.codes, subject.images.labels)
    return {
        "knn_accuracy": baselines.knn_accuracy(*parts),
        "linear_probe_accuracy": baselines.linear_probe_accuracy(*parts),
    }


def _robustness(subject: Subject) -> dict[str, Any]:
    rows = robustness.table(subject.model, subject.images, subject.device, subject.config.seed)
    return {"robustness": [asdict(row) for row in rows]}


@torch.inference_mode()
def _denoising(subject: Subject) -> dict[str, Any]:
    return denoising_table(subject.model, subject.batches())


def grey_floor(images: Images) -> float:
    """The least that grey BCE can be: the pixels' own entropy, in nats per image; 0 for binary images."""
    counts = sum(torch.bincount(part.flatten(), minlength=256).double() for part in images.chunks())
    p = torch.arange(256, dtype=torch.float64) / 255
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return (counts @ entropy).item() / len(images)


UNITS = {
    "nll": "nats per image", "nll_se_images": "nats", "nll_se_draws": "nats", "grey_bce_bound": "nats per image",
    "bits_per_dim": "bits per value", "sigma": "on [0, 1] pixels",
    "loss": "nats per image", "recon": "nats per image", "kl": "nats per image",
    "elbo": "nats per image, higher is better", "recon_floor": "nats per image", "mse": "per pixel",
    "sse": "per image", "psnr": "dB", "pca_mse": "per pixel", "mean_image_mse": "per pixel",
    "psnr_noisy": "dB", "psnr_median": "dB", "psnr_denoised": "dB",
}  # fmt: skip


def _write(subject: Subject, found: dict[str, Any], sentences: list[str], folder: Path) -> None:
    """The table and the sentences, on the screen and in the folder."""
    width = max(map(len, found))
    table = found.get("robustness", [])
    for name, value in found.items():
        if name == "robustness":
            continue
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        log.info("  %s  %s %s", name.ljust(width), shown, UNITS.get(name, ""))
    for line in _robustness_lines(table):
        log.info("%s", line)
    for sentence in sentences:
        log.info("%s", sentence)
    tracker = Tracker(folder)
    try:
        step = found["step"]
        tracker.scalars({f"eval/{name}": value for name, value in found.items() if isinstance(value, float)}, step)
        tracker.text("diagnosis", "\n".join(sentences))
        for name, picture in _pictures(subject, found):
            tracker.picture(name, picture, step)
    finally:
        tracker.close()
    document = plain({**found, "diagnosis": sentences})
    storage.replace(folder / "metrics.json", storage.dump_json(document))
    log.info("metrics.json and figures: %s", folder)


def _robustness_lines(table: list[dict[str, Any]]) -> Iterator[str]:
    """PSNR in dB, a line for each kind and strength."""
    columns = ("noisy", "median", "nl_means", "model")
    if table:
        yield "  PSNR (dB)".ljust(28) + "".join(column.rjust(10) for column in columns)
    for row in table:
        figures = "".join(("-" if row[name] is None else f"{row[name]:.2f}").rjust(10) for name in columns)
        yield f"  {row['noise']} {row['strength']:g}".ljust(28) + figures


def _pictures(subject: Subject, found: dict[str, Any]) -> Iterator[tuple[str, pictures.Picture]]:
    run, images, device = subject.run, subject.images, subject.device
    noise = subject.corrupt if run.config.noise.name != "none" else None
    title = f"{subject.config.split} images"
    yield "reconstructions", pictures.reconstructions(run.model, images, noise, device, title, draws=3)
    if run.model.has_code:
        title = f"codes of {len(images):,} {subject.config.split} images"
        yield "latent_scatter", pictures.latent_scatter(subject.codes, images.labels, title)
        if run.config.latent > 1:
            yield "latent_map", pictures.latent_map(run.model, subject.codes, device)
        yield "prior_samples", pictures.prior_samples(run.model, run.config.latent, device)
    if run.model.has_prior:
        yield "latent_kl", pictures.latent_kl(subject.scores.latent_kl, found["active_units"])
    title = f"error of each of {len(images):,} {subject.config.split} images"
    yield "errors", figures.histogram(subject.errors[0] * subject.pixels, title, "sum of squared errors per image")
