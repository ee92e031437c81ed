"""What every model can do, and what every choice of one says of itself.

Adding a family: a file here with its model and its choice, a line in `table.py`, and `configs/model/<name>.yaml`.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from aectl.models.likelihoods.base import Likelihood, LikelihoodChoice
from aectl.models.networks.base import Network
from aectl.models.networks.layers import Shape
from aectl.models.objectives import Objective, Terms
from aectl.models.parts import Part
from aectl.models.priors import Prior, PriorChoice
from aectl.settings.choices import Choice

Tiles = tuple[tuple[int, int], tuple[int, int]]  # height and width of a tile, and of what neighbours share


class Model(nn.Module):
    """From images to their reconstructions, scored by a likelihood.

    One that can make images from codes alone has `decode(z)` besides, (N, K) → (N, C, H, W), and `latent`.

    Attributes:
        likelihood: how x is scored under what the network gives.
        latent: K, the size of the code from which an image can be made; None where there is no such code.
        prior: p(z), towards which codes are trained; None where they are not.
        rounds: whether its code is whole numbers with probabilities, so that pictures of any size can be coded by it.
        costs: names of what `terms` has in `costs`.
    """

    likelihood: Likelihood
    latent: int | None = None
    rounds: ClassVar[bool] = False
    costs: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.prior: Prior | None = None  # not of the class, whose attribute would hide a prior that is a module

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of what a training step gives: the loss, and the means of its terms."""
        return ("loss", "recon", *self.costs)

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """What is random in the terms of `n` images, (S, n, K) on the generator's device; None where nothing is.

        It is drawn apart, so that the terms are a function of tensors alone.
        """
        return None

    def drawn(self, n: int) -> tuple[int, ...] | None:
        """The shape of what `draw` gives."""
        return None

    def forward(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> Terms:
        """`terms`, under the name by which modules around this one call it."""
        return self.terms(x, x_noisy, eps)

    def terms(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> Terms:
        """The parts of the objective: `x_noisy` is what the network sees, `x` what is scored, `eps` from `draw`."""
        raise NotImplementedError

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ of x, nothing drawn: (N, C, H, W) → (N, C, H, W)."""
        raise NotImplementedError

    def reconstructed(self, x_noisy: Tensor, terms: Terms) -> Tensor:
        """`reconstruct(x_noisy)`, of which `terms` has done a part: (N, C, H, W)."""
        return self.reconstruct(x_noisy) if terms.decoded is None else self.likelihood.mean(terms.decoded)

    def codes(self, x: Tensor) -> Tensor:
        """What is known of an image in few numbers: (N, C, H, W) → (N, K); where there is a code, its mean."""
        raise NotImplementedError

    def untrained(self, x_noisy: Tensor) -> Tensor:
        """About what the network gives before it has learnt anything, as the likelihood takes it, (N, m·C, H, W)."""
        return torch.zeros_like(x_noisy).repeat(1, self.likelihood.per_value, 1, 1)

    def tiles(self, shape: Shape, size: tuple[int, int]) -> Tiles:
        """How a picture of `size` is cut for `reconstruct`: in the training images' own `shape`, half overlapping."""
        _, height, width = shape
        return (height, width), (height // 2, width // 2)

    def parts(self) -> dict[str, Part]:
        """What other programs can have of it: `encoder`, `decoder`, `denoiser`; nothing unless it says so."""
        return {}


class Choices(Protocol):
    """The choices of which a model is made."""

    model: "ModelChoice"
    network: Network
    likelihood: LikelihoodChoice
    prior: PriorChoice
    objective: Objective
    latent: int


@dataclass(frozen=True, kw_only=True)
class ModelChoice(Choice):
    """The settings of a family of models.

    Attributes:
        has_kl: whether its code is paid for in KL.
    """

    group: ClassVar[str] = "model"
    has_kl: ClassVar[bool] = False

    def check_with(self, choices: Choices) -> None:
        """Raise `ConfigError` where it cannot be made of these parts."""

    def build(self, choices: Choices, shape: Shape) -> Model:
        """The model for images of `shape` = (C, H, W), freshly initialised."""
        raise NotImplementedError

    def scored_by(self, choices: Choices, colours: int) -> Likelihood:
        """The likelihood of images of so many channels, as it is before the first step."""
        return choices.likelihood.build()

    def notices(self, choices: Choices, noisy: bool) -> list[str]:
        """A line for each of the parts that has no effect, the images `noisy` or not."""
        return []

    def against_divergence(self) -> list[tuple[str, bool]]:
        """Settings that keep a step from growing beyond all numbers, and whether each would change something."""
        return []
