"""What a trained run does to a set of images, as figures: one copy, for `aectl eval` and for `aectl report`."""

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aectl.data.images import Images, Split
from aectl.data.noise import Noise
from aectl.errors import CheckpointError
from aectl.measuring import baselines, importance, metrics
from aectl.measuring.baselines import Principal
from aectl.measuring.figures import NATS, Figure, mean
from aectl.measuring.importance import ENOUGH, MANY
from aectl.measuring.scoring import Scores, batches, codes_of, score
from aectl.models.base import Model
from aectl.runs.opening import Run

Batches = Iterator[tuple[Tensor, Tensor, Tensor | None]]


@dataclass
class Subject:
    """A run and the images that it is measured on; what several figures need is kept here once made.

    Attributes:
        split: the part of the data that the images are.
        seed: of noise and draws.
        differences: standard errors of differences between figures, such as `mse - pca_mse`.
    """

    run: Run
    data: Split
    images: Images
    split: str
    device: torch.device
    seed: int = 0
    batch_size: int = 500
    differences: dict[str, float] = field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The run's model."""
        return self.run.model

    @property
    def noise(self) -> Noise:
        """The run's own noise."""
        return self.run.config.noise

    @property
    def pixels(self) -> int:
        """Values in an image."""
        return math.prod(self.run.shape)

    @property
    def counted(self) -> str:
        """How many images of which part, in words."""
        return f"{len(self.images):,} {self.split} image{'s' if len(self.images) > 1 else ''}"

    def batches(self, size: int | None = None) -> Batches:
        """(x, x̃, None) of at most `size` images at a time, the same each time."""
        return batches(self.images, self.noise, self.device, self.seed, size or self.batch_size)

    def compare(self, name: str, values: Tensor) -> None:
        """Keep the standard error of the mean of differences, (N,); a single image has none."""
        error = metrics.standard_error(values)
        if error is not None:
            self.differences[name] = error

    @functools.cached_property
    def scores(self) -> Scores:
        """The objective at the full weight on the KL, and the codes."""
        beta, loss = self.run.config.kl_weight, self.run.loss(self.data)
        return score(self.model, loss, self.images, self.noise, beta, self.device, self.seed, self.batch_size)

    def refuse_not_finite(self) -> None:
        """Raise `CheckpointError` where the weights are finite and what they make of these images is not."""
        loss, found = self.scores.loss, self.scores.codes
        if not math.isfinite(loss) or (found is not None and not found.isfinite().all()):
            raise CheckpointError(
                f"{self.run.checkpoint.path}: its loss or its codes of {self.split} images are not finite; "
                "give an earlier checkpoint, or train again with a smaller lr"
            )

    @functools.cached_property
    @torch.inference_mode()
    def errors(self) -> Tensor:
        """(MSE, PSNR, SSIM) of each reconstruction from the mean of its code, (3, N); the input carries the noise."""
        rows = []
        for x, x_noisy, _ in self.batches():
            x_hat = self.model.reconstruct(x_noisy)
            rows.append(torch.stack([metrics.mse(x_hat, x), metrics.psnr(x_hat, x), metrics.ssim(x_hat, x)]).cpu())
        return torch.cat(rows, dim=1)

    @functools.cached_property
    def principal(self) -> Principal:
        """The principal components of the training images."""
        return baselines.principal(self.data.train)

    @functools.cached_property
    def grey(self) -> bool:
        """Whether a Bernoulli scores pixels between 0 and 1, for which it is no likelihood."""
        between = any(bool(((part > 0) & (part < 255)).any()) for part in self.images.chunks())
        return between and self.model.likelihood.binary


def objective(subject: Subject) -> list[Figure]:
    """Loss, recon, what the code costs and the ELBO; active units; what the likelihood has learnt."""
    scores = subject.scores
    units = {"elbo": f"{NATS}, higher is better", "active_units": ""}
    words = {} if subject.run.config.prior.by_latent else {"kl": "(estimated from the draws of z)"}
    errors = {name: metrics.standard_error(values) for name, values in scores.each.items()}
    found = [
        Figure(name, value, units.get(name, NATS), errors.get(name), words.get(name, ""))
        for name, value in scores.named().items()
    ]
    if subject.grey:
        found.append(Figure("recon_floor", grey_floor(subject.images), NATS))
    elif subject.model.likelihood.levels and "elbo" in errors:
        bits = subject.pixels * math.log(2)
        se = errors["elbo"] and errors["elbo"] / bits
        found.append(Figure("elbo_bits_per_dim", -scores.named()["elbo"] / bits, "bits per value", se))
    if "rate" in errors:
        bits = math.prod(subject.run.shape[1:]) * math.log(2)
        rate, error = scores.named()["rate"], errors["rate"]
        found.append(Figure("bits_per_pixel", rate / bits, "by the prior", error and error / bits))
    return found + [Figure(name, *figure) for name, figure in subject.model.likelihood.figures().items()]


def reconstruction(subject: Subject) -> list[Figure]:
    """How far the reconstructions are from the clean images."""
    mse, psnr, ssim = subject.errors
    return [
        mean("mse", mse, "per pixel"),
        mean("sse", mse * subject.pixels, "per image"),
        mean("psnr", psnr, "dB"),
        mean("ssim", ssim),
    ]


def against_baselines(subject: Subject) -> list[Figure]:
    """The errors of the mean image, and of as many principal components as there are latents."""
    latent, principal = subject.model.latent, subject.principal
    components = {"mean_image_mse": 0} | ({} if latent is None else {"pca_mse": latent})
    found = []
    for name, k in components.items():
        errors = principal.errors(subject.images, k) / subject.pixels
        found.append(mean(name, errors, "per pixel"))
        subject.compare(f"mse - {name}", subject.errors[0] - errors)
    if latent is not None:
        found.append(Figure("pca_components", principal.components(latent)))
    return found


def codes(subject: Subject) -> list[Figure]:
    """What the codes of clean images know of the labels, of those that have one."""
    train, images = subject.data.train, subject.images
    if train.labels is None or images.labels is None:
        return []
    known, asked = train.labels >= 0, images.labels >= 0
    if len(train.labels[known].unique()) < 2 or not asked.any():
        return []
    of_train = codes_of(subject.model, train, subject.device)
    parts = (of_train[known], train.labels[known], subject.scores.codes[asked], images.labels[asked])
    return [
        Figure("knn_accuracy", baselines.knn_accuracy(*parts)),
        Figure("linear_probe_accuracy", baselines.linear_probe_accuracy(*parts)),
    ]


def bound(subject: Subject, samples: int, repeats: int) -> list[Figure]:
    """−log p(x) by importance sampling; called NLL only where p(x|z) is normalised over what the pixels are."""
    at_once = functools.partial(subject.batches, importance.STRIDE)
    found = importance.bound(subject.model, at_once, len(subject.images), samples, repeats, subject.seed)
    name = "grey_bce_bound" if subject.grey else "nll"
    few = ", too few" if found.scarce >= MANY else ""
    draws = f"({found.effective_samples:.1f} effective draws of {samples:,}{few})"
    errors = {"se_images": found.se_images, "se_draws": found.se_draws}
    figures = [
        Figure(name, found.mean, NATS, words=draws),
        *(Figure(f"{name}_{kind}", error, "nats") for kind, error in errors.items() if error is not None),
        Figure(f"{name}_samples", samples),
        Figure(f"{name}_repeats", repeats),
        Figure(f"{name}_effective_samples", found.effective_samples),
        Figure(f"{name}_scarce", found.scarce, f"of the images have fewer than {ENOUGH} effective draws"),
    ]
    if name == "nll":
        figures.append(Figure("bits_per_dim", found.mean / (subject.pixels * math.log(2)), "bits per value"))
    return figures


def denoised(subject: Subject) -> list[Figure]:
    """PSNR and SSIM of the noisy images, of a median of them, and of what the run makes of them."""
    found = denoising(subject.model, subject.batches())
    for other in ("psnr_noisy", "psnr_median"):
        subject.compare(f"psnr_denoised - {other}", found["psnr_denoised"] - found[other])
    return [mean(name, values, "dB" if name.startswith("psnr") else "") for name, values in found.items()]


@torch.inference_mode()
def denoising(model: Model, triples: Iterable[tuple[Tensor, Tensor, Tensor | None]]) -> dict[str, Tensor]:
    """PSNR (dB) and SSIM of each image, (N,): of the noisy one, of its 3×3 median, of what the model makes of it."""
    columns: dict[str, list[Tensor]] = {}
    for x, x_noisy, _ in triples:
        for name, image in (
            ("noisy", x_noisy),
            ("median", baselines.median_filter(x_noisy).to(x.device)),
            ("denoised", model.reconstruct(x_noisy)),
        ):
            columns.setdefault(f"psnr_{name}", []).append(metrics.psnr(image, x).cpu())
            columns.setdefault(f"ssim_{name}", []).append(metrics.ssim(image, x).cpu())
    return {name: torch.cat(values) for name, values in columns.items()}


def grey_floor(images: Images) -> float:
    """The least that grey BCE can be: the pixels' own entropy, in nats per image; 0 for binary images."""
    counts = sum(torch.bincount(part.flatten(), minlength=256).double() for part in images.chunks())
    p = torch.arange(256, dtype=torch.float64) / 255
    entropy = -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
    return (counts @ entropy).item() / len(images)
