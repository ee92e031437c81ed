"""Likelihoods p(x|z), in nats per image everywhere: −log p is summed over channels and pixels, averaged over images.

Adding one: a class here, its name in `LIKELIHOODS` at the foot, and `configs/likelihood/<name>.yaml`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.settings.choices import Choice, Range, Table

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Likelihood:
    """p(x|z) as a function of what the decoder gives.

    Attributes:
        support: the values of a pixel over which it is normalised.
        binary: whether those are 0 and 1 alone; on grey pixels it is a score then, no likelihood.
        link: the name of what `mean` does with each value, by which another program can do the same: identity,
            sigmoid or continuous_bernoulli; empty for something else.
    """

    support: ClassVar[str]
    binary: ClassVar[bool] = False
    link: ClassVar[str] = ""

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p(x|z) in nats, summed over channels and pixels: (N, C, H, W) and (..., N, C, H, W) → (..., N)."""
        raise NotImplementedError

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], the reconstruction x̂; any shape."""
        raise NotImplementedError

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """What the decoder must give for E[x|z] to be `mean`; any shape."""
        raise NotImplementedError

    def fitted_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image of images and what is decoded for them, pairs of (N, C, H, W).

        What is learnt beside the decoder is what fits them best.
        """
        return self.mean_recon(pairs)

    def mean_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image of images and what is decoded for them, pairs of (N, C, H, W)."""
        total, count = 0.0, 0
        for x, decoded in pairs:
            total += self.neg_log_prob(x, decoded).cpu().sum(dtype=torch.float64).item()
            count += len(x)
        return total / count

    def squared_error(self, recon: float) -> float | None:
        """The squared error per pixel that `recon`, nats per pixel, comes from; None where another might as well."""
        return None

    def per_pixel(self, recon: float) -> str:
        """`recon`, nats per pixel, in the words and the unit that courses use."""
        return f"{recon:.4f} nats per pixel"

    def figures(self) -> dict[str, tuple[float, str]]:
        """What it has learnt, by name: the number and its unit."""
        return {}


@dataclass(frozen=True, kw_only=True)
class LikelihoodChoice(Choice):
    """The settings of a likelihood, and what can be said of them."""

    group: ClassVar[str] = "likelihood"

    def build(self) -> Likelihood:
        """The likelihood with these settings, and its parameters where it has any."""
        raise NotImplementedError

    @property
    def output_is_mean(self) -> bool:
        """Whether x̂ is what the decoder gives, as it is."""
        return False

    def notices(self, binarized: bool) -> list[str]:
        """A line for each setting that may not mean what its name suggests, on pixels `binarized` or not."""
        return []

    def against_divergence(self) -> list[tuple[str, bool]]:
        """Settings that keep a step from growing beyond all numbers, and whether each would change something."""
        return []


def _total(values: Tensor) -> Tensor:
    """The sum over the last three dimensions: channels and pixels."""
    return values.flatten(-3).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Bernoulli(LikelihoodChoice, Likelihood):
    """Cross-entropy −Σ x·log p + (1 − x)·log(1 − p) with p = sigmoid(decoded).

    A likelihood for x in {0, 1}. On grey x in (0, 1) it is only a score, "grey BCE", whose floor is the pixels'
    own entropy, not 0.
    """

    name: ClassVar[str] = "bernoulli"
    support: ClassVar[str] = "{0, 1}"
    binary: ClassVar[bool] = True
    link: ClassVar[str] = "sigmoid"

    def build(self) -> Likelihood:
        """It has no parameters."""
        return self

    def per_pixel(self, recon: float) -> str:
        """Binary cross-entropy."""
        return f"BCE {recon:.4f} per pixel"

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """Cross-entropy in nats, (N, C, H, W) and (..., N, C, H, W) → (..., N); from logits: it cannot overflow."""
        return _total(F.binary_cross_entropy_with_logits(decoded, x.expand_as(decoded), reduction="none"))

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


@dataclass(frozen=True, kw_only=True)
class Gaussian(LikelihoodChoice):
    """N(x; x̂, σ²) for each value; see `Normal`.

    `sigma` is the standard deviation, or where `learn` starts it; `mean` says what x̂ is of the decoder's output.
    """

    name: ClassVar[str] = "gaussian"
    sigma: Annotated[float, Range(1e-4, 1e4)]
    learn: bool = False
    mean: Literal["identity", "sigmoid"] = "identity"

    def build(self) -> "Normal":
        """With log σ as a parameter if it is to learn."""
        return Normal(self.sigma, self.mean == "sigmoid", self.learn)

    @property
    def output_is_mean(self) -> bool:
        """x̂ is unbounded."""
        return self.mean == "identity"

    def notices(self, binarized: bool) -> list[str]:
        """A σ on the scale of grey levels."""
        if self.sigma <= 1:
            return []
        return [
            f"likelihood.sigma={self.sigma:g} is wider than the pixels' range, [0, 1]; {self.sigma:g} of 255 grey "
            f"levels is likelihood.sigma={self.sigma / 255:.4g}"
        ]

    def against_divergence(self) -> list[tuple[str, bool]]:
        """A σ that is small makes steep errors, and one that learns may become so."""
        return [
            ("likelihood.learn=false", self.learn),
            (f"a larger likelihood.sigma than {self.sigma:g}", self.sigma < 0.1),
        ]


class Normal(nn.Module, Likelihood):
    """N(x; x̂, σ²) for each value, one σ for all of them, with the constant kept; x̂ is decoded or sigmoid(decoded).

    −log p = Σ (x − x̂)²/2σ² + D·(log σ + ½ log 2π) for D values: a true density over x in R^D, hence comparable
    across σ and across likelihoods of the same kind; at σ = 1 it is ½·SSE + 0.919·D.

    Args:
        sigma: the standard deviation, on the scale of [0, 1] pixels.
        bounded: whether x̂ is sigmoid(decoded), in (0, 1) as pixels are, instead of the decoder's output itself.
        learn: make log σ a parameter that starts there; its optimum is the root of the mean squared error.
    """

    support: ClassVar[str] = "the real line"

    def __init__(self, sigma: float, bounded: bool = False, learn: bool = False):
        super().__init__()
        self.bounded = bounded
        self.learned = learn
        self.log_sigma = nn.Parameter(torch.tensor(math.log(sigma))) if learn else math.log(sigma)

    @property
    def link(self) -> str:
        """x̂ as a function of each value that the decoder gives."""
        return "sigmoid" if self.bounded else "identity"

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

    def fitted_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image; a σ that learns is the one that fits best, the root of the mean squared error."""
        if not self.learned:
            return self.mean_recon(pairs)
        sse, count, values = 0.0, 0, 0
        for x, decoded in pairs:
            sse += (x - self.mean(decoded)).square().cpu().sum(dtype=torch.float64).item()
            count += len(x)
            values += x.numel()
        return values / count / 2 * math.log(2 * math.pi * math.e * max(sse / values, 1e-12))

    def squared_error(self, recon: float) -> float | None:
        """2σ²·(recon − constant), where σ is fixed."""
        return None if self.learned else max(0.0, 2 * self.sigma**2 * (recon - self.constant))

    def per_pixel(self, recon: float) -> str:
        """A squared error, or where σ learns the nats and σ."""
        error = self.squared_error(recon)
        if error is None:
            return f"{recon:.4f} nats per pixel, σ {self.sigma:.4f} at the end"
        return f"squared error {error:.4f} per pixel"

    def figures(self) -> dict[str, tuple[float, str]]:
        """σ, where it is learnt."""
        return {"sigma": (self.sigma, "on [0, 1] pixels")} if self.learned else {}


# What `likelihood=` takes.
LIKELIHOODS = Table(
    LikelihoodChoice, Bernoulli, ContinuousBernoulli, Gaussian, formerly={"learn": False, "mean": "identity"}
)
