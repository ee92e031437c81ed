"""Autoencoder = encoder · bottleneck · decoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.config import TrainConfig
from aectl.losses import Likelihood, Terms, build_likelihood, kl_to_standard_normal
from aectl.networks import Shape, build_network

MIN_STD = 1e-6  # keeps log σ finite where softplus underflows


@dataclass(frozen=True)
class Code:
    """What the encoder says of z: a point `mu`, or N(mu, exp(logvar)); both (N, K)."""

    mu: Tensor
    logvar: Tensor | None = None

    def sample(self, generator: torch.Generator) -> Tensor:
        """Z = μ + σ·ε, ε ~ N(0, 1), differentiable in μ and σ (the reparameterization trick); μ for a point."""
        if self.logvar is None:
            return self.mu
        eps = torch.randn(self.mu.shape, generator=generator, device=self.mu.device, dtype=self.mu.dtype)
        return self.mu + (0.5 * self.logvar).exp() * eps

    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) for each image and latent, (N, K), in nats; zeros for a point."""
        if self.logvar is None:
            return torch.zeros_like(self.mu)
        return kl_to_standard_normal(self.mu, self.logvar)


class Autoencoder(nn.Module):
    """An autoencoder whose code is a point (`posterior=None`) or a Gaussian (`"logvar"` or `"std"`).

    Args:
        encoder: (N, C, H, W) → (N, K), or (N, 2K) with a posterior: μ, then log σ² or the std before softplus.
        decoder: (N, K) → (N, C, H, W).
        likelihood: how x is scored under the decoder's output.
        posterior: None for AE and DAE; for the VAE what the second half of the encoder's output means.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, posterior: str | None = None):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.posterior = posterior

    @property
    def has_prior(self) -> bool:
        """Whether codes are trained towards N(0, I), so that drawing from it makes sense."""
        return self.posterior is not None

    def encode(self, x: Tensor) -> Code:
        """q(z|x) for x of (N, C, H, W), clean or corrupted."""
        features = self.encoder(x)
        if self.posterior is None:
            return Code(features)
        mu, scale = features.chunk(2, dim=1)
        if self.posterior == "logvar":
            return Code(mu, scale)
        return Code(mu, 2 * (F.softplus(scale) + MIN_STD).log())

    def decode(self, z: Tensor) -> Tensor:
        """The mean image x̂ = E[x|z] for z of (N, K): (N, C, H, W)."""
        return self.likelihood.mean(self.decoder(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ from the mean of q(z|x), nothing drawn: (N, C, H, W) → (N, C, H, W)."""
        return self.decode(self.encode(x).mu)

    def terms(self, x: Tensor, x_noisy: Tensor, beta: float, generator: torch.Generator) -> tuple[Terms, Code]:
        """The objective's parts, and the code: encode `x_noisy`, draw one z for each image, score the clean `x`."""
        code = self.encode(x_noisy)
        decoded = self.decoder(code.sample(generator))
        return Terms(self.likelihood.neg_log_prob(x, decoded), code.kl(), beta), code


def build_model(config: TrainConfig, shape: Shape) -> Autoencoder:
    """The model that `config` describes for images of `shape` = (C, H, W), freshly initialised."""
    posterior = config.model.posterior if config.model.name == "vae" else None
    outputs = config.latent * (2 if posterior else 1)
    encoder, decoder = build_network(config.network, shape, outputs, config.latent)
    return Autoencoder(encoder, decoder, build_likelihood(config.likelihood), posterior)
