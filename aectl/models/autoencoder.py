"""Autoencoder = encoder · bottleneck · decoder."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aectl.models.likelihoods import Likelihood
from aectl.models.objectives import Terms
from aectl.models.posteriors import MIN_STD, Code


class Autoencoder(nn.Module):
    """An autoencoder whose code is a point (`posterior=None`) or a Gaussian (`"logvar"` or `"std"`).

    Args:
        encoder: (N, C, H, W) → (N, K), or (N, 2K) with a posterior: μ, then log σ² or the std before softplus.
        decoder: (N, K) → (N, C, H, W).
        latent: K.
        likelihood: how x is scored under the decoder's output.
        posterior: None for AE and DAE; for the VAE what the second half of the encoder's output means.
        logvar_clip: the least and the most that log σ² may be, or None.
        draws: of z for each image in the objective.
        importance: whether the draws make IWAE's bound; otherwise the objective is the ELBO.
        free_bits: see `aectl.models.objectives.Terms`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        likelihood: Likelihood,
        posterior: str | None = None,
        *,
        logvar_clip: Sequence[float] | None = None,
        draws: int = 1,
        importance: bool = False,
        free_bits: float = 0.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent = latent
        self.likelihood = likelihood
        self.posterior = posterior
        self.logvar_clip = logvar_clip
        self.draws = draws
        self.importance = importance
        self.free_bits = free_bits

    @property
    def has_prior(self) -> bool:
        """Whether codes are trained towards N(0, I), so that drawing from it makes sense."""
        return self.posterior is not None

    @property
    def objective(self) -> tuple[str, ...]:
        """The names of what `Terms.means` gives for this model."""
        return ("loss", "recon", "kl") if self.has_prior else ("loss", "recon")

    @property
    def has_code(self) -> bool:
        """Whether an image can be made from a code alone."""
        return True

    def encode(self, x: Tensor) -> Code:
        """q(z|x) for x of (N, C, H, W), clean or corrupted."""
        features = self.encoder(x).to(x.dtype)  # under autocast the networks alone are of lower precision
        if self.posterior is None:
            return Code(features)
        mu, scale = features.chunk(2, dim=1)
        logvar = scale if self.posterior == "logvar" else 2 * (F.softplus(scale) + MIN_STD).log()
        return Code(mu, logvar if self.logvar_clip is None else logvar.clamp(*self.logvar_clip))

    def decode(self, z: Tensor) -> Tensor:
        """The mean image x̂ = E[x|z] for z of (N, K): (N, C, H, W)."""
        return self.likelihood.mean(self.decoder(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ from the mean of q(z|x), nothing drawn: (N, C, H, W) → (N, C, H, W)."""
        return self.decode(self.encode(x).mu)

    def neg_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """−log p(x|z) for x of (N, C, H, W) and z of (S, N, K): (S, N), in nats."""
        decoded = self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2]).to(x.dtype)
        return self.likelihood.neg_log_prob(x, decoded)

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """What is random in the objective of `n` images: ε ~ N(0, 1), (S, n, K) on the generator's device, or None.

        It is drawn apart, so that the objective is a function of tensors alone.
        """
        if self.posterior is None:
            return None
        return torch.randn(self.draws, n, self.latent, generator=generator, device=generator.device)

    def forward(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> tuple[Terms, Code]:
        """`terms`, under the name by which modules around this one call it."""
        return self.terms(x, x_noisy, eps)

    def terms(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> tuple[Terms, Code]:
        """The objective's parts, and the code: encode `x_noisy`, take z at `eps` of `draw`, score the clean `x`."""
        code = self.encode(x_noisy)
        z = code.at(eps)
        log_ratio = code.log_ratio(z) if self.importance else None
        return Terms(self.neg_log_prob(x, z), code.kl(), log_ratio, self.free_bits), code

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Set the decoder's last bias so that E[x|z] is near the image `mean`, (C, H, W), whatever the code.

        A convolution has one bias for each channel, which gets the channel's mean.
        """
        bias = [module.bias for module in self.decoder.modules() if hasattr(module, "bias")][-1]
        target = mean.flatten() if len(bias) == mean.numel() else mean.mean((1, 2))
        bias.copy_(self.likelihood.inverse_mean(target))
