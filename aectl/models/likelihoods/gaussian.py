"""A Gaussian for each value, of one σ, given or learnt."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.models.likelihoods.base import Likelihood, LikelihoodChoice, summed
from aectl.settings import ranges
from aectl.settings.choices import Range

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
SAID = "objective.weight says how much an error weighs"


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

    def of_sigma(self, sigma: float) -> "Gaussian":
        """The same with that σ, in the place of one that nobody has set."""
        if self.learn:
            ranges.fail("likelihood.learn", "true", f"{SAID}; leave it false")
        if self.sigma != 1:
            ranges.fail("likelihood.sigma", self.sigma, f"{SAID}; leave it 1")
        return replace(self, sigma=sigma)

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
        sse = summed(F.mse_loss(self.mean(decoded), x.expand_as(decoded), reduction="none"))
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
