"""An autoencoder whose code is whole numbers at every few pixels, with a prior that says what they cost."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.models.base import Choices, Model, ModelChoice, Tiles
from aectl.models.factorised import Factorised
from aectl.models.likelihoods.base import Likelihood
from aectl.models.networks.layers import Shape
from aectl.models.networks.strided import MIDDLE, Strided
from aectl.models.objectives import Terms
from aectl.models.priors import NormalPrior
from aectl.settings import ranges

WHOLE = 512  # side of a tile; most pictures are few


class Rounded(Model):
    """A codec: analysis, rounding, synthesis, and a factorised prior by which the rounded code is coded.

    What cannot be differentiated is replaced in training: rounding by noise u ~ U(−½, ½). In evaluation it rounds.
    Sources: Ballé, Laparra & Simoncelli, "End-to-end optimized image compression", ICLR 2017.

    Args:
        analysis: (N, C, H, W) → (N, K, H/stride, W/stride).
        synthesis: back again.
        channels: K.
        shape: (C, H, W) of the training images.
        network: what says how far apart the places of the code are, and how far a place sees.
        likelihood: how x is scored under what the synthesis gives.
    """

    rounds: ClassVar[bool] = True
    costs = ("rate",)

    def __init__(
        self, analysis: nn.Module, synthesis: nn.Module, channels: int, shape: Shape, network: Strided,
        likelihood: Likelihood,
    ):  # fmt: skip
        super().__init__()
        self.analysis = analysis
        self.synthesis = synthesis
        self.density = Factorised(channels)
        self.likelihood = likelihood
        self.stride, self.reach = network.stride, network.reach
        self.noise_shape = (channels, *(-(-side // network.stride) for side in shape[1:]))

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """u ~ U(−½, ½), (1, n, K, h, w) on the generator's device; in evaluation None: it rounds."""
        shape = self.drawn(n)
        return None if shape is None else torch.rand(shape, generator=generator, device=generator.device) - 0.5

    def drawn(self, n: int) -> tuple[int, ...] | None:
        """(1, n, K, h, w)."""
        return (1, n, *self.noise_shape) if self.training else None

    def analysed(self, x: Tensor) -> Tensor:
        """The code not rounded yet, (N, C, H, W) → (N, K, h, w); sides are continued by the edge to the stride."""
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        return self.analysis(padded).to(x.dtype)  # under autocast the networks alone are of lower precision

    def synthesised(self, y: Tensor, size: tuple[int, int]) -> Tensor:
        """What the likelihood takes, of a picture of `size` = (H, W): (N, K, h, w) → (N, C, H, W)."""
        return self.synthesis(y).to(y.dtype)[..., : size[0], : size[1]]

    def terms(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> Terms:
        """−log p(x|ŷ), and as `rate` −log P(ŷ), (N, K), of the code with the noise `eps`, or rounded without it."""
        code = self.analysed(x_noisy)
        y = code.round() if eps is None else code + eps[0]
        decoded = self.synthesised(y, x.shape[-2:])
        rate = self.density.neg_log_prob(y).sum((2, 3))
        return Terms(self.likelihood.neg_log_prob(x, decoded)[None], {"rate": rate}, decoded=decoded)

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of the rounded code: (N, C, H, W) → (N, C, H, W)."""
        return self.likelihood.mean(self.synthesised(self.analysed(x).round(), x.shape[-2:]))

    def reconstructed(self, x_noisy: Tensor, terms: Terms) -> Tensor:
        """`reconstruct(x_noisy)`, which the terms have in evaluation."""
        return self.reconstruct(x_noisy) if self.training else self.likelihood.mean(terms.decoded)

    def codes(self, x: Tensor) -> Tensor:
        """The rounded code averaged over the picture: (N, C, H, W) → (N, K)."""
        return self.analysed(x).round().mean((2, 3))

    def untrained(self, x_noisy: Tensor) -> Tensor:
        """About the middle of the range."""
        return torch.full_like(x_noisy, MIDDLE)

    def tiles(self, shape: Shape, size: tuple[int, int]) -> Tiles:
        """Whole, or in large tiles, since it is fully convolutional; they share what a pixel sees to either side."""
        halo = 2 * self.reach * self.stride
        tile = tuple(min(WHOLE + 2 * halo, -(-side // self.stride) * self.stride) for side in size)
        return tile, tuple(min(2 * halo, side // 2) for side in tile)


@dataclass(frozen=True, kw_only=True)
class RoundedChoice(ModelChoice):
    """A code of whole numbers, `latent` channels of them at each place; see `Rounded`."""

    name: ClassVar[str] = "rounded"

    def check_with(self, choices: Choices) -> None:
        """It goes with a spatial code, an objective that weighs its rate, and a squared error."""
        if not choices.network.spatial:
            want = "model=rounded takes pictures of any size: it goes with network=strided"
            ranges.fail("network.name", choices.network.name, want)
        if not choices.objective.of_rate:
            ranges.fail("objective.name", choices.objective.name, "model=rounded goes with objective=rate")
        if choices.prior != NormalPrior():
            ranges.fail("prior.name", choices.prior.name, "model=rounded learns one of its own; leave it normal")
        self.scored_by(choices, 3)

    def scored_by(self, choices: Choices, colours: int) -> Likelihood:
        """The Gaussian whose σ makes the ELBO of λ."""
        return choices.likelihood.of_sigma(choices.objective.sigma(colours)).build()

    def build(self, choices: Choices, shape: Shape) -> Model:
        """Both transforms, and the density of the code."""
        sigma = choices.objective.sigma(shape[0])
        gain = 1 / (math.sqrt(12) * sigma)  # then rounding errs by σ: where rate and error are in balance
        transforms = choices.network.transforms(shape[0], choices.latent, gain)
        return Rounded(*transforms, choices.latent, shape, choices.network, self.scored_by(choices, shape[0]))
