"""What every likelihood p(x|z) can do, in nats per image: −log p is summed over channels and pixels.

Adding one: a class in a file here, its name in `table.py`, and `configs/likelihood/<name>.yaml`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from aectl.settings import ranges
from aectl.settings.choices import Choice


class Likelihood:
    """p(x|z) as a function of what the decoder gives.

    Attributes:
        support: the values of a pixel over which it is normalised.
        binary: whether those are 0 and 1 alone; on grey pixels it is a score then, no likelihood.
        levels: how many values it gives a probability to each, so that pixels can be coded; 0 for a density.
        per_value: how many numbers the decoder gives for each value of a pixel: its channels are so many times C.
        link: the name of what `mean` does with each value, by which another program can do the same: identity,
            sigmoid or continuous_bernoulli; empty for something else.
    """

    support: ClassVar[str]
    binary: ClassVar[bool] = False
    levels: ClassVar[int] = 0
    per_value: int = 1
    link: ClassVar[str] = ""

    def neg_log_prob(self, x: Tensor, decoded: Tensor) -> Tensor:
        """−log p(x|z) in nats, summed over channels and pixels: (N, C, H, W) and (..., N, C, H, W) → (..., N)."""
        raise NotImplementedError

    def neg_log_prob_of_draws(self, x: Tensor, decoded: Tensor) -> Tensor:
        """`neg_log_prob` but for the last digits, without gradients; it may work in the memory of `decoded`."""
        return self.neg_log_prob(x, decoded)

    def mean(self, decoded: Tensor) -> Tensor:
        """E[x|z], the reconstruction x̂: (..., m·C, H, W) → (..., C, H, W), m being `per_value`."""
        raise NotImplementedError

    def inverse_mean(self, mean: Tensor) -> Tensor:
        """What the decoder must give for E[x|z] to be `mean`: (C, H, W) → (m·C, H, W)."""
        raise NotImplementedError

    def cdf(self, decoded: Tensor, level: Tensor) -> Tensor:
        """P(x < value `level`) for whole numbers of 1 to `levels` − 1, (N, C, H, W); only where there are levels."""
        raise NotImplementedError

    def fitted_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Recon in nats per image of images and what is decoded for them, pairs of (N, C, H, W).

        What is learnt beside the decoder is what fits them best.
        """
        return self.mean_recon(pairs)

    def first_recon(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
        """About the most that recon is before anything is learnt, for images and what is then decoded."""
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

    def of_sigma(self, sigma: float) -> "LikelihoodChoice":
        """The same with that σ, which another setting says; `ConfigError` where there is no σ to be said."""
        want = "objective=rate goes by the squared error: it goes with likelihood=gaussian"
        ranges.fail("likelihood.name", self.name, want)

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


def summed(values: Tensor) -> Tensor:
    """The sum over the last three dimensions: channels and pixels."""
    return values.flatten(-3).sum(-1)
