"""Scores of a model on images: for validation during training, and the whole report of `aectl eval`."""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from aectl import baselines, devices, figures, metrics, pictures, storage
from aectl.config import EvalConfig
from aectl.data import Images, Split, build_dataset, to_float
from aectl.errors import DataError
from aectl.models import Autoencoder
from aectl.noise import Corruption, build_noise
from aectl.rng import generator
from aectl.runs import Run, open_run
from aectl.tracking import Tracker, plain

ACTIVE = 0.01  # variance of the code's mean above which a latent is active (Burda et al., 2016)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scores:
    """The objective's terms over a set of images, in nats per image, and the codes they came from.

    Attributes:
        loss, recon, kl, elbo: means over images; elbo = −(recon + kl) whatever the weight on the KL.
        latent_kl: KL of each latent, (K,).
        codes: means of q(z|x), (N, K), on the CPU.
    """

    loss: float
    recon: float
    kl: float
    elbo: float
    latent_kl: Tensor
    codes: Tensor

    @property
    def active_units(self) -> int:
        """Latents whose mean varies over images: Var_x(E_q[z]) > 0.01."""
        return _active(self.codes)

    def named(self) -> dict[str, float]:
        """The four means by name."""
        return {"loss": self.loss, "recon": self.recon, "kl": self.kl, "elbo": self.elbo}


def batches(
    images: Images, corrupt: Corruption, device: torch.device, seed: int, batch_size: int = 500
) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
    """(x, x̃, generator) batch by batch; noise and draws depend on `seed` and the batch alone."""
    for start in range(0, len(images), batch_size):
        x = to_float(images.pixels[start : start + batch_size].to(device))
        rng = generator(device, "evaluation", seed, start)
        yield x, corrupt(x, rng), rng


@torch.inference_mode()
def score(
    model: Autoencoder,
    images: Images,
    corrupt: Corruption,
    beta: float,
    device: torch.device,
    seed: int = 0,
    batch_size: int = 500,
) -> Scores:
    """The objective on `images` with weight `beta`: one draw of z for each image, KL in closed form."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    latent_kl: Tensor | float = 0.0
    codes = []
    for x, x_noisy, rng in batches(images, corrupt, device, seed, batch_size):
        terms, code = model.terms(x, x_noisy, beta, rng)
        sums += torch.stack(terms.means()) * len(x)
        latent_kl = latent_kl + terms.kl.double().sum(0)
        codes.append(code.mu.cpu())
    loss, recon, kl = (sums / len(images)).tolist()
    return Scores(loss, recon, kl, -(recon + kl), (latent_kl / len(images)).cpu(), torch.cat(codes))


@torch.inference_mode()
def encode(model: Autoencoder, images: Images, device: torch.device, batch_size: int = 500) -> Tensor:
    """Means of q(z|x) for clean images, (N, K), on the CPU."""
    parts = images.pixels.split(batch_size)
    return torch.cat([model.encode(to_float(part.to(device))).mu.cpu() for part in parts])


# ------------------------------------------------------------------------------------- aectl eval


def run_eval(config: EvalConfig, folder: Path) -> float:
    """Measure a run: a table on the screen, metrics.json and figures in `folder`; return its loss."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    data = open_data(run, config.data.root)
    images: Images = getattr(data, config.split)
    if not len(images):
        raise DataError(f"split={config.split}: is empty in this run (dataset.val_size=0); choose another split")
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
        "epoch": run.progress.epoch, "step": run.progress.step, "latent": run.config.latent,
    }  # fmt: skip
    parts = [_objective, _reconstruction, _against_baselines, _codes]
    parts += [_denoising] if run.config.noise.name != "none" else []
    with tqdm(parts, disable=None, leave=False) as bar:
        for part in bar:
            bar.set_description(part.__name__.strip("_").replace("_", " "))
            found |= part(subject)
    sentences = diagnose(run, found)
    _write(subject, found, sentences, folder)
    return found["loss"]


def open_data(run: Run, root: str | None) -> Split:
    """The run's own data set with its own split; `root` says where its files lie now.

    Raises:
        DataError: it is not what the run was trained on.
    """
    data = build_dataset(run.config.dataset, root if root is not None else run.config.data.root)
    if data.train.shape != run.shape:
        raise DataError(
            f"dataset={run.config.dataset.name}: its images are {data.train.shape} now, and the run was trained on "
            f"{run.shape}"
        )
    return data


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
    def image_errors(self) -> Tensor:
        """Sum of squared errors of each reconstruction, (N,), filled by `_reconstruction`."""
        return torch.empty(len(self.images))

    def batches(self) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
        """(x, x̃, generator), the same each time."""
        return batches(self.images, self.corrupt, self.device, self.config.seed, self.config.batch_size)


def _objective(subject: Subject) -> dict[str, Any]:
    scores = subject.scores
    found: dict[str, Any] = {**scores.named(), "active_units": _active(subject.codes)}
    if subject.run.config.likelihood.name == "bernoulli":
        found["recon_floor"] = grey_floor(subject.images.pixels)
    return found


@torch.inference_mode()
def _reconstruction(subject: Subject) -> dict[str, Any]:
    """From the mean of the code; its input carries the run's own noise."""
    rows = []
    for x, x_noisy, _ in subject.batches():
        x_hat = subject.model.reconstruct(x_noisy)
        rows.append(torch.stack([metrics.mse(x_hat, x), metrics.psnr(x_hat, x), metrics.ssim(x_hat, x)]).cpu())
    mse, psnr, ssim = torch.cat(rows, dim=1)
    pixels = math.prod(subject.run.shape)
    subject.image_errors.copy_(mse * pixels)
    return {
        "mse": mse.mean().item(),
        "sse": mse.mean().item() * pixels,
        "psnr": psnr.mean().item(),
        "ssim": ssim.mean().item(),
    }


def _against_baselines(subject: Subject) -> dict[str, Any]:
    pixels = math.prod(subject.run.shape)
    principal = baselines.principal(subject.train.pixels)
    x = to_float(subject.images.pixels).flatten(1)
    return {
        "pca_mse": principal.sse(x, subject.run.config.latent) / pixels,
        "mean_image_mse": principal.sse(x, 0) / pixels,
    }


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


@torch.inference_mode()
def _denoising(subject: Subject) -> dict[str, Any]:
    return denoising_table(subject.model, subject.batches())


def denoising_table(
    model: Autoencoder, triples: Iterable[tuple[Tensor, Tensor, torch.Generator]]
) -> dict[str, float]:
    """PSNR (dB) and SSIM of the noisy images, of a 3×3 median and of the model, averaged over images."""
    columns: dict[str, list[Tensor]] = {}
    for x, x_noisy, _ in triples:
        for name, image in (
            ("noisy", x_noisy),
            ("median", baselines.median_filter(x_noisy).to(x.device)),
            ("denoised", model.reconstruct(x_noisy)),
        ):
            columns.setdefault(f"psnr_{name}", []).append(metrics.psnr(image, x).cpu())
            columns.setdefault(f"ssim_{name}", []).append(metrics.ssim(image, x).cpu())
    return {name: torch.cat(values).mean().item() for name, values in columns.items()}


def _active(codes: Tensor) -> int:
    return int((codes.var(0, correction=0) > ACTIVE).sum())


def grey_floor(pixels: Tensor) -> float:
    """The least that grey BCE can be: the pixels' own entropy, in nats per image; 0 for binary images."""
    counts = torch.bincount(pixels.flatten().int(), minlength=256).double()
    p = torch.arange(256, dtype=torch.float64) / 255
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return (counts @ entropy).item() / len(pixels)


def diagnose(run: Run, found: dict[str, Any]) -> list[str]:
    """Plain sentences about what the figures show."""
    said = []
    latent, active = run.config.latent, found["active_units"]
    if active < latent:
        cause = "lower kl_weight or set kl_warmup" if run.model.has_prior else "they are constant; lower latent"
        said.append(f"{latent - active} of {latent} latents are collapsed, they hardly depend on the image: {cause}.")
    if found["mse"] > 0.95 * found["mean_image_mse"]:
        said.append("The reconstructions are no better than the mean image: the code is not being used yet.")
    elif run.config.noise.name == "none":
        ratio = found["mse"] / found["pca_mse"]
        if ratio < 1:
            said.append(f"Its error is {1 - ratio:.0%} below that of PCA with {latent} components.")
        else:
            said.append(f"Its error is {ratio - 1:.0%} above that of PCA with {latent} components: train longer.")
    if not run.model.has_prior:
        said.append(
            "An autoencoder has no prior: codes drawn from N(0, I) decode to arbitrary images (prior_samples.png); "
            "`aectl sample` draws from a Gaussian mixture fitted to its codes instead."
        )
    floor = found.get("recon_floor")
    if floor:
        gap = found["recon"] - floor
        said.append(
            f"Grey pixels have an entropy of {floor:.2f} nats per image, a floor of this grey BCE; the "
            f"reconstruction is {gap:.2f} nats above it{', about as low as it can be' if gap < 0.02 * floor else ''}."
        )
    if "psnr_denoised" in found:
        gain = found["psnr_denoised"] - found["psnr_noisy"]
        against = found["psnr_denoised"] - found["psnr_median"]
        said.append(f"Denoising gains {gain:+.2f} dB over the noisy images and {against:+.2f} dB over a 3×3 median.")
    return said


UNITS = {
    "loss": "nats per image", "recon": "nats per image", "kl": "nats per image",
    "elbo": "nats per image, higher is better", "recon_floor": "nats per image", "mse": "per pixel",
    "sse": "per image", "psnr": "dB", "pca_mse": "per pixel", "mean_image_mse": "per pixel",
    "psnr_noisy": "dB", "psnr_median": "dB", "psnr_denoised": "dB",
}  # fmt: skip


def _write(subject: Subject, found: dict[str, Any], sentences: list[str], folder: Path) -> None:
    """The table and the sentences, on the screen and in the folder."""
    width = max(map(len, found))
    for name, value in found.items():
        shown = f"{value:.4f}" if isinstance(value, float) else str(value)
        log.info("  %s  %s %s", name.ljust(width), shown, UNITS.get(name, ""))
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


def _pictures(subject: Subject, found: dict[str, Any]) -> Iterator[tuple[str, pictures.Picture]]:
    run, images, device = subject.run, subject.images, subject.device
    noise = subject.corrupt if run.config.noise.name != "none" else None
    title = f"{subject.config.split} images"
    yield "reconstructions", pictures.reconstructions(run.model, images, noise, device, title, draws=3)
    title = f"codes of {len(images):,} {subject.config.split} images"
    yield "latent_scatter", pictures.latent_scatter(subject.codes, images.labels, title)
    if run.config.latent > 1:
        yield "latent_map", pictures.latent_map(run.model, subject.codes, device)
    yield "prior_samples", pictures.prior_samples(run.model, run.config.latent, device)
    if run.model.has_prior:
        yield "latent_kl", pictures.latent_kl(subject.scores.latent_kl, found["active_units"])
    title = f"error of each of {len(images):,} {subject.config.split} images"
    yield "errors", figures.histogram(subject.image_errors, title, "sum of squared errors per image")
