"""What an encoder says of z: a point, or a Gaussian."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_STD = 1e-6  # keeps log σ finite where softplus underflows
LOG_2PI = math.log(2 * math.pi)


# log σ² from what an encoder gives for σ, by the name of its form; any shape, nats.
FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "logvar": lambda given: given,
    "std": lambda given: 2 * (F.softplus(given) + MIN_STD).log(),
    # σ may be negative: z = μ + σ·ε has the same law, and every term goes by σ². At σ = 0 it is not finite.
    "std_raw": lambda given: 2 * given.abs().log(),
}


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

    def sample(self, generator: torch.Generator, draws: int = 1, *, shared: bool = False) -> Tensor:
        """`draws` of z, (draws, N, K); for a point every one is μ. With `shared` all images have the same ε."""
        if self.logvar is None:
            return self.mu.expand(draws, *self.mu.shape)
        shape = (draws, 1 if shared else len(self.mu), self.mu.shape[1])
        return self.at(torch.randn(shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype))

    def log_prob(self, z: Tensor) -> Tensor:
        """The density log q(z_k|x) of each latent at z of (..., N, K): (..., N, K), nats; a Gaussian's only."""
        return -0.5 * ((z - self.mu).square() * (-self.logvar).exp() + self.logvar + LOG_2PI)

    @classmethod
    def cat(cls, codes: Sequence["Code"]) -> "Code":
        """The codes of several batches as those of one, on the CPU in double precision."""
        mu = torch.cat([code.mu.cpu() for code in codes]).double()
        if codes[0].logvar is None:
            return cls(mu)
        return cls(mu, torch.cat([code.logvar.cpu() for code in codes]).double())
