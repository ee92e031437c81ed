"""The Bernoulli of black and white pixels, and its continuous brother on [0, 1]."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aectl.models.likelihoods.base import Likelihood, LikelihoodChoice, summed

FOLDS = 6  # times that a row of values becomes one of products, half as long


@dataclass(frozen=True, kw_only=True)
class Bernoulli(LikelihoodChoice, Likelihood):
    """Cross-entropy −Σ x·log p + (1 − x)·log(1 − p) with p = sigmoid(decoded).

    A likelihood for x in {0, 1}. On grey x in (0, 1) it is only a score, "grey BCE", whose floor is the pixels'
    own entropy, not 0.
    """

    name: ClassVar[str] = "bernoulli"
    support: ClassVar[str] = "{0, 1}"
    binary: ClassVar[bool] = True
    levels: ClassVar[int] = 2
    link: ClassVar[str] = "sigmoid"

    def build(self) -> Likelihood:
        """It has no parameters."""
        return self

    def per_pixel(self, recon: float) -> str:
        """Binary cross-entropy."""
        return f"BCE {recon:.4f} per pixel"

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Cross-entropy in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N); from logits: it cannot overflow."""
        return summed(F.binary_cross_entropy_with_logits(decoded, x.expand_as(decoded), reduction="none"))

    @torch.no_grad()
    def neg_log_prob_of_draws(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Cross-entropy as Σ max(a, 0) − x·a − log Π σ(|a|), a = decoded, which is spent: few logarithms.

        No value of σ(|a|) is below ½, hence no product of 64 below what float32 holds.
        """
        a, x = decoded.flatten(-3), x.flatten(-3)
        linear = a.clamp_min(0).addcmul_(x, a, value=-1).sum(-1)
        product = a.abs_().sigmoid_()
        for _ in range(FOLDS):
            if product.shape[-1] % 2:
                break
            one, other = product.chunk(2, -1)
            product = one.mul_(other)
        return linear - product.log_().sum(-1)

    def cdf(self, decoded: Tensor, level: Tensor) -> Tensor:
        """P(x = 0), whatever `level`, which can only be 1."""
        return torch.sigmoid(-decoded)

    def mean(self, decoded: Tensor) -> Tensor:
        """sigmoid(decoded), in (0, 1)."""
        return torch.sigmoid(decoded)

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """The logit of `mean`, which is first clamped to [0.001, 0.999]."""
        return torch.logit(mean, eps=1e-3)


@dataclass(frozen=True, kw_only=True)
class ContinuousBernoulli(LikelihoodChoice, Likelihood):
    """p(x) = e^{ηx}·η/(e^η − 1) on [0, 1], η = decoded: the Bernoulli's form with the constant it lacks there.

    −log p = A(η) − ηx with A(η) = log((e^η − 1)/η) = η/2 + log(sinh(a)/a), a = η/2.
    Source: Loaiza-Ganem & Cunningham, "The continuous Bernoulli", NeurIPS 2019.
    """

    name: ClassVar[str] = "continuous_bernoulli"
    support: ClassVar[str] = "[0, 1]"
    link: ClassVar[str] = "continuous_bernoulli"

    def build(self) -> Likelihood:
        """It has no parameters."""
        return self

    def notices(self, binarized: bool) -> list[str]:
        """It is a density."""
        line = "likelihood=continuous_bernoulli is a density on [0, 1]; for binarized pixels use bernoulli"
        return [line] if binarized else []

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N); negative where the density is above 1."""
        a = decoded.abs() / 2
        near = a < 0.1  # there sinh(a)/a is 1 within rounding, and its logarithm would be rounding alone
        far = a.clamp_min(0.1)
        series = a.square() / 6 - a.pow(4) / 180
        log_sinhc = torch.where(near, series, far + torch.log1p(-torch.exp(-2 * far)) - torch.log(2 * far))
        return summed(decoded * (0.5 - x) + log_sinhc)

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
