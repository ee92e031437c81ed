"""Log-likelihoods, KL divergence and the objective, in nats per image everywhere.

Reconstruction is −log p(x|z) summed over channels and pixels, KL is summed over latents, both are averaged over
images and over nothing else; so `kl_weight=1` is the negative ELBO, in training and in validation alike.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from aectl.config import LikelihoodConfig


class Likelihood(Protocol):
    """p(x|z) as a function of what the decoder gives."""

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p(x|z), (N, C, H, W) twice → (N,), in nats, summed over channels and pixels."""
        ...

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], the reconstruction x̂; any shape."""
        ...


class Bernoulli:
    """Cross-entropy −Σ x·log p + (1 − x)·log(1 − p) with p = sigmoid(decoded).

    A likelihood for x in {0, 1}. On grey x in (0, 1) it is only a score, "grey BCE", whose floor is the pixels'
    own entropy, not 0.
    """

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Cross-entropy in nats, (N, C, H, W) twice → (N,); computed from logits, so it cannot overflow."""
        return F.binary_cross_entropy_with_logits(decoded, x, reduction="none").flatten(1).sum(1)

    def mean(self, decoded: Tensor) -> Tensor:
        """sigmoid(decoded), in (0, 1)."""
        return torch.sigmoid(decoded)


class Gaussian:
    """N(x; decoded, σ²) for each value, with a fixed σ and the constant kept.

    −log p = Σ (x − x̂)²/2σ² + D·(log σ + ½ log 2π) for D values: a true density over x in R^D, hence comparable
    across σ and across likelihoods of the same kind; at σ = 1 it is ½·SSE + 0.919·D.
    """

    def __init__(self, sigma: float):
        self.sigma = sigma
        # −log N at its peak, for each value.
        self.constant = math.log(sigma) + 0.5 * math.log(2 * math.pi)

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log N(x; decoded, σ²) in nats, (N, C, H, W) twice → (N,)."""
        sse = F.mse_loss(decoded, x, reduction="none").flatten(1).sum(1)
        return sse / (2 * self.sigma**2) + x[0].numel() * self.constant

    def mean(self, decoded: Tensor) -> Tensor:
        """The decoder's output as it is: unbounded, not clipped to [0, 1]."""
        return decoded


def build_likelihood(config: LikelihoodConfig) -> Likelihood:
    """The likelihood that `config` names."""
    if config.name == "bernoulli":
        return Bernoulli()
    assert config.name == "gaussian", config.name
    return Gaussian(config.sigma)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(μ, σ²) ‖ N(0, 1)) for each latent: ½(σ² + μ² − 1 − log σ²), (N, K) twice → (N, K), in nats, ≥ 0.

    Source: Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.
    """
    return 0.5 * (logvar.exp() + mu.square() - 1 - logvar)


@dataclass(frozen=True)
class Terms:
    """The parts of the objective for a batch of N images.

    Attributes:
        recon: −log p(x|z), (N,), nats.
        kl: KL of q(z|x) from the prior for each latent, (N, K), nats; zeros for a deterministic code.
        beta: the weight in force on the KL.
    """

    recon: Tensor
    kl: Tensor
    beta: float

    def means(self) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, recon, kl) averaged over the images, scalars, with loss = recon + β·kl."""
        recon, kl = self.recon.mean(), self.kl.sum(1).mean()
        return recon + self.beta * kl, recon, kl


def kl_weight_at(step: int, steps_per_epoch: int, kl_weight: float, warmup_epochs: float) -> float:
    """β in force at optimizer step `step` (from 0): rises linearly over the warm-up, then stays `kl_weight`."""
    warmup = warmup_epochs * steps_per_epoch
    return kl_weight if step >= warmup else kl_weight * step / warmup


def per_pixel_weight(kl_weight: float, shape: tuple[int, int, int]) -> float:
    """What `kl_weight` is where reconstruction is a mean over the C·H·W values instead of their sum."""
    return kl_weight / math.prod(shape)
