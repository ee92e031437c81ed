"""From the terms of a model to one loss, in nats per image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Terms:
    """The parts of the objective for a batch of N images and S draws of z for each.

    Attributes:
        recon: −log p(x|z) of each draw, (S, N), nats.
        kl: KL of q(z|x) from the prior for each latent, (N, K), nats; None for a deterministic code, which has none.
        log_ratio: log q(z|x) − log p(z) of each draw, (S, N), where the objective is the importance-weighted bound;
            else None.
        free_bits: KL in nats that each latent, averaged over the batch, may have at no cost.
    """

    recon: Tensor
    kl: Tensor | None = None
    log_ratio: Tensor | None = None
    free_bits: float = 0.0

    def means(self, beta: float) -> tuple[Tensor, ...]:
        """(loss, recon, kl) averaged over the images (and recon over the draws), scalars; (loss, recon) without a KL.

        The loss is recon + β·kl; with free bits λ, recon + β·Σ_k max(λ, kl_k) (Kingma et al., 2016); with importance
        weights −log (1/S)·Σ_s exp(−recon_s − β·log_ratio_s), IWAE's bound at β = 1 (Burda et al., 2016).
        """
        recon = self.recon.mean()
        if self.kl is None:
            return recon, recon
        each = self.kl.mean(0)
        kl = each.sum()
        if self.log_ratio is not None:
            return importance_bound(-self.recon - beta * self.log_ratio).neg().mean(), recon, kl
        cost = each.clamp_min(self.free_bits).sum() if self.free_bits else kl
        return recon + beta * cost, recon, kl

    @classmethod
    def cat(cls, parts: Sequence["Terms"]) -> "Terms":
        """The terms of several batches as those of one, on the CPU in double precision."""

        def joined(tensors: list[Tensor | None], dim: int) -> Tensor | None:
            return None if tensors[0] is None else torch.cat([one.cpu() for one in tensors], dim).double()

        return cls(
            joined([part.recon for part in parts], 1),
            joined([part.kl for part in parts], 0),
            joined([part.log_ratio for part in parts], 1),
            parts[0].free_bits,
        )


def importance_bound(log_weights: Tensor) -> Tensor:
    """The bound log (1/S)·Σ_s w_s of log p(x) for each image: (S, N) log-weights → (N,), nats."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def per_pixel_weight(kl_weight: float, shape: tuple[int, int, int]) -> float:
    """What `kl_weight` is where reconstruction is a mean over the C·H·W values instead of their sum."""
    return kl_weight / math.prod(shape)


def named(loss: float, recon: float, kl: float | None = None) -> dict[str, float]:
    """What `Terms.means` gives, by name, and the ELBO −(recon + kl) at any weight; without a KL there is none."""
    found = {"loss": loss, "recon": recon}
    return found if kl is None else {**found, "kl": kl, "elbo": -(recon + kl)}
