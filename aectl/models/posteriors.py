"""What an encoder says of z: a point, or a Gaussian."""

from dataclasses import dataclass

import torch
from torch import Tensor

from aectl.models.priors import kl_to_standard_normal

MIN_STD = 1e-6  # keeps log σ finite where softplus underflows


@dataclass(frozen=True)
class Code:
    """What the encoder says of z: a point `mu`, or N(mu, exp(logvar)); both (N, K)."""

    mu: Tensor
    logvar: Tensor | None = None

    def at(self, eps: Tensor | None) -> Tensor:
        """z = μ + σ·ε for ε of (S, N, K), differentiable in μ and σ (the reparameterization trick): (S, N, K).

        For a point, whose ε is None, μ itself, (1, N, K).
        """
        return self.mu[None] if eps is None else self.mu + (0.5 * self.logvar).exp() * eps

    def sample(self, generator: torch.Generator, draws: int = 1) -> Tensor:
        """`draws` of z, (draws, N, K); for a point every one is μ."""
        if self.logvar is None:
            return self.mu.expand(draws, *self.mu.shape)
        shape = (draws, *self.mu.shape)
        return self.at(torch.randn(shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype))

    def log_ratio(self, z: Tensor) -> Tensor:
        """The difference log q(z|x) − log p(z) at z of (draws, N, K): (draws, N), nats; on average it is the KL."""
        squared_eps = (z - self.mu).square() * (-self.logvar).exp()
        return 0.5 * (z.square() - squared_eps - self.logvar).sum(-1)

    def kl(self) -> Tensor | None:
        """KL(q(z|x) ‖ N(0, I)) for each image and latent, (N, K), in nats; a point has none."""
        if self.logvar is None:
            return None
        return kl_to_standard_normal(self.mu, self.logvar)
