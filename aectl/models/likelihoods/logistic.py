"""A mixture of logistics over the 256 levels of a grey or colour value: a probability, not a density."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aectl.models.likelihoods.base import Likelihood, LikelihoodChoice, summed
from aectl.settings.choices import Range

LEVELS = 256
STEP = 1 / (LEVELS - 1)  # from a level to the next, on [0, 1]
START = -2.0  # log s where the decoder gives 0: s = 0.14
WIDTHS = (-8.0, 7.0)  # log s, from a twelfth of a step, where narrower is no different, to what is flat


@dataclass(frozen=True, kw_only=True)
class Logistic256(LikelihoodChoice, Likelihood):
    """P(x = k/255) = Σ_m π_m·[F((k + ½)/255; μ_m, s_m) − F((k − ½)/255; μ_m, s_m)], F = sigmoid((t − μ)/s).

    The first level has all that is below it, the last all that is above, so that the 256 sum to 1. For each value of
    a pixel the decoder gives m means μ on the scale of [0, 1], then m of log s, then for m > 1 as many logits of π.
    Sources: Kingma et al., "Improving Variational Inference with Inverse Autoregressive Flow", NeurIPS 2016; the
    mixture: Salimans et al., "PixelCNN++", ICLR 2017.
    """

    name: ClassVar[str] = "logistic256"
    support: ClassVar[str] = "{0, 1, …, 255}/255"
    levels: ClassVar[int] = LEVELS
    components: Annotated[int, Range(1, 100)]

    def build(self) -> Likelihood:
        """It has no parameters beside the decoder's."""
        return self

    @property
    def per_value(self) -> int:
        """Mean, scale, and with several components the weight of each."""
        return 2 if self.components == 1 else 3 * self.components

    def notices(self, binarized: bool) -> list[str]:
        """It is made for grey levels."""
        line = "likelihood=logistic256 is of 256 levels; for binarized pixels use bernoulli"
        return [line] if binarized else []

    def _parts(self, decoded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """μ, log s and log π, (..., m, C, H, W) each; log π is 0 for a single component."""
        parts = decoded.unflatten(-3, (self.per_value, -1)).split(self.components, -4)
        mu, log_s = parts[0], (parts[1] + START).clamp(*WIDTHS)
        return mu, log_s, parts[2].log_softmax(-4) if len(parts) > 2 else torch.zeros_like(mu[..., :1, :1, :1, :1])

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log P in nats, (N, C, H, W) on the levels and (..., N, m·C, H, W) → (..., N).

        By σ(b) − σ(a) = σ(b)·σ(−a)·(1 − e^(a−b)), where nothing cancels.
        """
        mu, log_s, log_pi = self._parts(decoded)
        x = x.unsqueeze(-4)
        narrowness = (-log_s).exp()
        above = F.logsigmoid((x + STEP / 2 - mu) * narrowness)  # log σ(b)
        below = F.logsigmoid((mu - x + STEP / 2) * narrowness)  # log σ(−a)
        first, last = x < STEP / 2, x > 1 - STEP / 2
        both = above + below + (-torch.expm1(-STEP * narrowness)).log()
        return -summed((log_pi + torch.where(first, above, torch.where(last, below, both))).logsumexp(-4))

    def cdf(self, decoded: Tensor, level: Tensor) -> Tensor:
        """P(x < level/255) of whole numbers, (N, C, H, W), 1 to 255, for what is decoded, (N, m·C, H, W)."""
        mu, log_s, log_pi = self._parts(decoded)
        edge = ((level.to(mu.dtype) - 0.5) * STEP).unsqueeze(-4)
        return (log_pi.exp() * torch.sigmoid((edge - mu) * (-log_s).exp())).sum(-4)

    def fitted_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image, with every log s changed by what fits best, to half a unit."""
        pairs = list(pairs)

        def recon(change: float) -> float:
            return self.mean_recon((x, self._widened(decoded, change)) for x, decoded in pairs)

        return min(recon(change / 2) for change in range(-4, 9))

    def first_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image where every log s is less by 1: as far as first weights may go."""
        return self.mean_recon((x, self._widened(decoded, -1)) for x, decoded in pairs)

    def _widened(self, decoded: Tensor, change: float) -> Tensor:
        parts = decoded.unflatten(-3, (self.per_value, -1)).clone()
        parts.narrow(-4, self.components, self.components).add_(change)
        return parts.flatten(-4, -3)

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z] within half a level: that of the mixture clamped to [0, 1], before it is rounded to a level.

        Of a component it is ∫₀¹ σ((μ − t)/s) dt = s·[softplus(μ/s) − softplus((μ − 1)/s)].
        """
        mu, log_s, log_pi = self._parts(decoded)
        s = log_s.exp()
        return (log_pi.exp() * s * (F.softplus(mu / s) - F.softplus((mu - 1) / s))).sum(-4)

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """Components of equal weight around `mean`, (C, H, W): (m·C, H, W); the mean of them is near it.

        They are spread, so that no two learn the same.
        """
        spread = torch.linspace(-0.25, 0.25, self.components) if self.components > 1 else torch.zeros(1)
        mu = mean + spread.to(mean)[:, None, None, None]
        return torch.cat([mu, mean.new_zeros((self.per_value - self.components, *mean.shape))]).flatten(0, 1)
