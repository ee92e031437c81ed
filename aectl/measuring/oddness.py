"""How odd an image is to a run: one number each, the larger the odder.

Every measure maps x of (N, C, H, W) in [0, 1] to (N,), float64 on the CPU. All images have the same draws, so that an
image's number depends neither on its place nor on the others. `Oddness` knows what a measure needs of the run, and
refuses what it has not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from aectl.data.images import Images
from aectl.data.noise import Noise
from aectl.errors import ConfigError
from aectl.machine import threads
from aectl.measuring.importance import log_marginal
from aectl.measuring.scoring import codes_of
from aectl.models.autoencoder import Autoencoder
from aectl.models.base import Model
from aectl.models.posteriors import Code
from aectl.rng import generator
from aectl.settings import ranges

BATCH = 100  # images at a time
REFIT_STEPS, REFIT_LR = 200, 0.05  # of Adam on μ and log σ² of each image by itself
REFIT_DRAWS = 8  # of z in a step of it


@dataclass(frozen=True)
class Measure:
    """One way to call an image odd.

    Attributes:
        words: what it is, with its unit.
        of: the measure of a batch; its generator is for what is drawn.
        needs: `""`, `code`, `prior` or `noise`: what the run must have.
        of_training: whether it goes by the training images as well.
        likelihood: whether it is one of the image, so that what is simple can have a higher one than what is usual.
    """

    words: str
    of: Callable[["Oddness", Tensor, torch.Generator], Tensor]
    needs: str = ""
    of_training: bool = False
    likelihood: bool = False


@dataclass(frozen=True)
class Gaussian:
    """Mean and inverse covariance of codes, in double precision: (K,) and (K, K)."""

    mean: Tensor
    precision: Tensor

    @classmethod
    def of(cls, codes: Tensor) -> "Gaussian":
        """Of codes (N, K); a direction in which they do not vary has no say."""
        codes = codes.double()
        return cls(codes.mean(0), torch.linalg.pinv(torch.cov(codes.T).view(codes.shape[1], -1), hermitian=True))

    def distance(self, z: Tensor) -> Tensor:
        """Mahalanobis distance of z, (N, K): √((z − m)ᵀ Σ⁻¹ (z − m)), (N,)."""
        off = z.double().cpu() - self.mean
        return (off @ self.precision * off).sum(1).clamp_min(0).sqrt()


@dataclass
class Oddness:
    """A measure of a model.

    Args:
        model: in evaluation mode, on `device`.
        noise: the run's own.
        name: a name of `MEASURES`.
        train: the images that it was trained on, for a measure that goes by them.
        samples: draws of z, or of noise, for each image; at least 1.
        seed: of the draws.

    Raises:
        ConfigError: this run has not what the measure needs, or there are no draws.
    """

    model: Model
    noise: Noise
    name: str
    device: torch.device
    train: Images | None = None
    samples: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        ranges.number("samples", self.samples, 1)
        self.measure = MEASURES[self.name]
        has = {"": True, "code": self.model.latent is not None, "prior": self.model.prior is not None,
               "noise": self.noise.corrupts}  # fmt: skip
        if not has[self.measure.needs]:
            fits = ", ".join(name for name, one in MEASURES.items() if has[one.needs])
            lacks = f"this run has no {self.measure.needs}"
            raise ConfigError(f"measure={self.name}: {lacks}; what it has is enough for {fits}")
        self.usual = None
        if self.measure.of_training:
            assert self.train is not None, "the codes of training images"
            self.usual = Gaussian.of(codes_of(self.model, self.train, self.device))

    def __call__(self, x: Tensor) -> Tensor:
        """How odd each of x, (N, C, H, W) in [0, 1], is: (N,)."""
        found = []
        for part in x.split(BATCH):
            threads.look()
            found.append(self.measure.of(self, part.to(self.device), self.rng()).double().cpu())
        return torch.cat(found)

    def rng(self, draw: int = 0) -> torch.Generator:
        """What the same draws come from, for every batch."""
        return generator(self.device, "oddness", self.seed, draw)


@torch.inference_mode()
def squared_error(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """Σ (x̂ − x)² over channels and pixels, x̂ from the mean of the code; nothing is drawn."""
    return (odd.model.reconstruct(x) - x).double().square().flatten(1).sum(1)


@torch.inference_mode()
def denoising_error(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """Σ (x̂(x̃) − x)² over channels and pixels, averaged over draws of the run's own noise."""
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for draw in range(odd.samples):
        x_noisy = torch.cat([odd.noise(image, odd.rng(draw)) for image in x.split(1)])  # one noise for all of them
        total += (odd.model.reconstruct(x_noisy) - x).double().square().flatten(1).sum(1)
    return total / odd.samples


@torch.inference_mode()
def negative_elbo(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """−ELBO = E_q[−log p(x|z)] + KL, nats; the expectation by draws of z, the KL in closed form where it has one."""
    return _negative_elbo(odd.model, x, odd.model.encode(x), rng, odd.samples)


@torch.inference_mode()
def neg_log_marginal(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """−log p(x) by importance sampling, nats (Burda, Grosse & Salakhutdinov, 2016)."""
    return -log_marginal(odd.model, x, x, odd.samples, rng, shared=True)[0]


@torch.inference_mode()
def mahalanobis(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """The distance of the code's mean from those of the training images, in their own standard deviations."""
    return odd.usual.distance(odd.model.codes(x))


def likelihood_regret(odd: Oddness, x: Tensor, rng: torch.Generator) -> Tensor:
    """The ELBO after q is fitted to this x alone, minus the ELBO, nats; both with the same draws, ≥ 0 but for these.

    Source: Xiao, Yan & Amit, "Likelihood Regret", NeurIPS 2020, with q's mean and variance fitted in the place of the
    encoder's weights.
    """
    model = odd.model
    with torch.no_grad():
        code = model.encode(x)
    mu, logvar = (value.clone().requires_grad_() for value in (code.mu, code.logvar))
    adam = torch.optim.Adam([mu, logvar], REFIT_LR)
    for step in range(REFIT_STEPS):
        adam.param_groups[0]["lr"] = REFIT_LR * 0.5 * (1 + math.cos(math.pi * step / REFIT_STEPS))
        loss = _negative_elbo(model, x, Code(mu, logvar), rng, REFIT_DRAWS).sum()
        mu.grad, logvar.grad = torch.autograd.grad(loss, (mu, logvar))
        adam.step()
    with torch.no_grad():
        state = rng.get_state()
        before = _negative_elbo(model, x, code, rng, odd.samples)
        rng.set_state(state)
        return before - _negative_elbo(model, x, Code(mu, logvar), rng, odd.samples)


def _negative_elbo(model: Autoencoder, x: Tensor, code: Code, rng: torch.Generator, draws: int) -> Tensor:
    z = code.sample(rng, draws, shared=True)
    cost = model.prior.kl(code).sum(1) if model.by_latent else model.prior.log_ratio(code, z).mean(0)
    return model.neg_log_prob(x, z).mean(0) + cost


# What `measure=` takes.
MEASURES = {
    "error": Measure("squared error of the reconstruction, per image", squared_error),
    "denoising": Measure("squared error after the run's own noise, per image", denoising_error, "noise"),
    "elbo": Measure("−ELBO, nats per image", negative_elbo, "prior", likelihood=True),
    "nll": Measure("−log p(x), nats per image", neg_log_marginal, "prior", likelihood=True),
    "mahalanobis": Measure("Mahalanobis distance of the code", mahalanobis, "code", of_training=True),
    "regret": Measure("likelihood regret, nats per image", likelihood_regret, "prior"),
}
