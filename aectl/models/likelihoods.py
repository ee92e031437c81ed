"""Log-likelihoods, KL divergence and the objective, in nats per image everywhere.

Reconstruction is −log p(x|z) summed over channels and pixels, KL is summed over latents, both are averaged over
images and over nothing else; so `kl_weight=1` is the negative ELBO, in training and in validation alike.
"""

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.settings.config import LikelihoodConfig

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Likelihood(Protocol):
    """p(x|z) as a function of what the decoder gives.

    Attributes:
        support: the values of a pixel over which it is normalised.
    """

    support: str

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p(x|z) in nats, summed over channels and pixels: (N, C, H, W) and (..., N, C, H, W) → (..., N)."""
        ...

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], the reconstruction x̂; any shape."""
        ...

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """What the decoder must give for E[x|z] to be `mean`; any shape."""
        ...


def _total(values: Tensor) -> Tensor:
    """The sum over the last three dimensions: channels and pixels."""
    return values.flatten(-3).sum(-1)


class Bernoulli:
    """Cross-entropy −Σ x·log p + (1 − x)·log(1 − p) with p = sigmoid(decoded).

    A likelihood for x in {0, 1}. On grey x in (0, 1) it is only a score, "grey BCE", whose floor is the pixels'
    own entropy, not 0.
    """

    support = "{0, 1}"

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Cross-entropy in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N); from logits: it cannot overflow."""
        return _total(F.binary_cross_entropy_with_logits(decoded, x.expand_as(decoded), reduction="none"))

    def mean(self, decoded: Tensor) -> Tensor:
        """sigmoid(decoded), in (0, 1)."""
        return torch.sigmoid(decoded)

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """The logit of `mean`, which is first clamped to [0.001, 0.999]."""
        return torch.logit(mean, eps=1e-3)


class ContinuousBernoulli:
    """p(x) = e^{ηx}·η/(e^η − 1) on [0, 1], η = decoded: the Bernoulli's form with the constant it lacks there.

    −log p = A(η) − ηx with A(η) = log((e^η − 1)/η) = η/2 + log(sinh(a)/a), a = η/2.
    Source: Loaiza-Ganem & Cunningham, "The continuous Bernoulli", NeurIPS 2019.
    """

    support = "[0, 1]"

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N); negative where the density is above 1."""
        a = decoded.abs() / 2
        near = a < 0.1  # there sinh(a)/a is 1 within rounding, and its logarithm would be rounding alone
        far = a.clamp_min(0.1)
        series = a.square() / 6 - a.pow(4) / 180
        log_sinhc = torch.where(near, series, far + torch.log1p(-torch.exp(-2 * far)) - torch.log(2 * far))
        return _total(decoded * (0.5 - x) + log_sinhc)

    def mean(self, decoded: Tensor) -> Tensor:
        """A'(η) = ½ + ½(coth(a) − 1/a), in (0, 1)."""
        a = decoded / 2
        near = a.abs() < 0.1
        far = torch.where(near, torch.ones_like(a), a)
        return 0.5 + 0.5 * torch.where(near, a / 3 - a.pow(3) / 45, 1 / torch.tanh(far) - 1 / far)

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """η by bisection in [−1000, 1000], since A' has no inverse in closed form."""
        low, high = torch.full_like(mean, -1e3), torch.full_like(mean, 1e3)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.mean(middle) < mean
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


class Gaussian(nn.Module):
    """N(x; x̂, σ²) for each value, one σ for all of them, with the constant kept; x̂ is decoded or sigmoid(decoded).

    −log p = Σ (x − x̂)²/2σ² + D·(log σ + ½ log 2π) for D values: a true density over x in R^D, hence comparable
    across σ and across likelihoods of the same kind; at σ = 1 it is ½·SSE + 0.919·D.

    Args:
        sigma: the standard deviation, on the scale of [0, 1] pixels.
        bounded: whether x̂ is sigmoid(decoded), in (0, 1) as pixels are, instead of the decoder's output itself.
        learn: make log σ a parameter that starts there; its optimum is the root of the mean squared error.
    """

    support = "the real line"

    def __init__(self, sigma: float, bounded: bool = False, learn: bool = False):
        super().__init__()
        self.bounded = bounded
        self.learned = learn
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma))) if learn else math.log(sigma)

    @property
    def sigma(self) -> float:
        """The standard deviation as it is now."""
        return math.exp(self.log_sigma.item() if self.learned else self.log_sigma)

    @property
    def constant(self) -> float:
        """−log N at its peak, for each value, in nats."""
        return math.log(self.sigma) + HALF_LOG_2PI

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log N(x; x̂, σ²) in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N)."""
        sse = _total(F.mse_loss(self.mean(decoded), x.expand_as(decoded), reduction="none"))
        exp = torch.exp if self.learned else math.exp
        return 0.5 * exp(-2 * self.log_sigma) * sse + x[0].numel() * (self.log_sigma + HALF_LOG_2PI)

    def mean(self, decoded: Tensor) -> Tensor:
        """x̂: the decoder's output as it is, unbounded and not clipped, or its sigmoid."""
        return torch.sigmoid(decoded) if self.bounded else decoded

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """`mean` itself, or its logit, as the Bernoulli's."""
        return torch.logit(mean, eps=1e-3) if self.bounded else mean


def build_likelihood(config: LikelihoodConfig) -> Likelihood:
    """The likelihood that `config` names."""
    if config.name == "gaussian":
        return Gaussian(config.sigma, config.mean == "sigmoid", config.learn)
    return {"bernoulli": Bernoulli, "continuous_bernoulli": ContinuousBernoulli}[config.name]()
