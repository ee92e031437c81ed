"""From the terms of a model to one loss, in nats per image.

Adding one: a class here, its name in `OBJECTIVES` at the foot, and `configs/objective/<name>.yaml`.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from aectl.models.posteriors import Code
from aectl.models.priors import PriorChoice
from aectl.settings import ranges
from aectl.settings.choices import Choice, Range, Table

ELBO_WEIGHT = 1.0  # of the KL in the evidence lower bound


@dataclass(frozen=True)
class Terms:
    """The parts of the objective for a batch of N images and S draws of z for each.

    Attributes:
        recon: −log p(x|z) of each draw, (S, N), nats.
        costs: what the code costs, by name, (N, K) for each latent or (N, 1) for all of them, nats; such as `kl`,
            the KL of q(z|x) from the prior. What is deterministic has none.
        log_ratio: log q(z|x) − log p(z) of each draw, (S, N), where the objective or the KL goes by draws.
        code, z: q(z|x) and its draws, (S, N, K); None without a code.
        decoded: what the likelihood has scored, (N, C, H, W), where nothing is drawn: kept for a batch only.
    """

    recon: Tensor
    costs: Mapping[str, Tensor] = field(default_factory=dict)
    log_ratio: Tensor | None = None
    code: Code | None = None
    z: Tensor | None = None
    decoded: Tensor | None = None

    @cached_property
    def means(self) -> dict[str, Tensor]:
        """`recon` averaged over draws and images, and each cost summed over latents and averaged; scalars."""
        return {"recon": self.recon.mean(), **{name: cost.mean(0).sum() for name, cost in self.costs.items()}}

    def split(self, size: int) -> list["Terms"]:
        """The terms of at most `size` images at a time."""
        if self.recon.shape[1] <= size:
            return [self]
        rows = [slice(start, start + size) for start in range(0, self.recon.shape[1], size)]
        return [self._of(some) for some in rows]

    def _of(self, rows: slice) -> "Terms":
        code = self.code
        if code is not None:
            code = Code(code.mu[rows], None if code.logvar is None else code.logvar[rows])
        ratio, z = (None if one is None else one[:, rows] for one in (self.log_ratio, self.z))
        return Terms(self.recon[:, rows], {name: cost[rows] for name, cost in self.costs.items()}, ratio, code, z)

    @classmethod
    def cat(cls, parts: Sequence["Terms"]) -> "Terms":
        """The terms of several batches as those of one, on the CPU in double precision."""

        def joined(tensors: list[Tensor | None], dim: int) -> Tensor | None:
            return None if tensors[0] is None else torch.cat([one.cpu() for one in tensors], dim).double()

        return cls(
            joined([part.recon for part in parts], 1),
            {name: joined([part.costs[name] for part in parts], 0) for name in parts[0].costs},
            joined([part.log_ratio for part in parts], 1),
            None if parts[0].code is None else Code.cat([part.code for part in parts]),
            joined([part.z for part in parts], 1),
        )


Loss = Callable[[Terms, float], Tensor]  # terms and β to a scalar, nats per image


@dataclass(frozen=True, kw_only=True)
class Objective(Choice):
    """From terms and β, the weight on what the code costs, to the loss that is minimised.

    Attributes:
        of_draws: whether it goes by `Terms.log_ratio`, hence needs a model with a posterior and a prior.
        of_rate: whether it weighs an error against a rate, hence has `sigma`.
    """

    group: ClassVar[str] = "objective"
    of_draws: ClassVar[bool] = False
    of_rate: ClassVar[bool] = False

    def check_with(self, prior: PriorChoice) -> None:
        """Raise `ConfigError` where the prior lacks what it goes by."""

    @property
    def draws(self) -> int:
        """Draws of z for each image."""
        return 1

    @property
    def free(self) -> float:
        """KL in nats that each latent may have at no cost."""
        return 0.0

    @property
    def of_batch(self) -> str | None:
        """The setting that makes an image's loss depend on the others of its batch; None where it does not."""
        return None

    def on(self, images: int, batch_size: int) -> Loss:
        """The objective for training on so many images, in batches of that size."""
        return self

    def __call__(self, terms: Terms, beta: float) -> Tensor:
        """The loss, a scalar, in nats per image."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Elbo(Objective):
    """recon + β·kl; at β = 1 the negative evidence lower bound (Kingma & Welling, 2014; β: Higgins et al., 2017).

    With `free_bits` λ: recon + β·Σ_k max(λ, kl_k), kl_k averaged over the batch (Kingma et al., 2016). Without costs,
    as of an AE, it is recon.
    """

    name: ClassVar[str] = "elbo"
    free_bits: Annotated[float, Range(0)] = 0.0

    def check_with(self, prior: PriorChoice) -> None:
        """Free bits are those of a latent."""
        if self.free_bits and not prior.by_latent:
            want = f"goes by the KL of each latent, and prior={prior.name} has one for all of them; leave it 0"
            ranges.fail("objective.free_bits", self.free_bits, want)

    @property
    def free(self) -> float:
        """Its free bits."""
        return self.free_bits

    @property
    def of_batch(self) -> str | None:
        """Free bits go by the KL of the batch."""
        return f"objective.free_bits={self.free_bits:g}" if self.free_bits else None

    def __call__(self, terms: Terms, beta: float) -> Tensor:
        """The loss, a scalar, in nats per image."""
        loss, *costs = terms.means.values()
        if self.free_bits:
            costs = [cost.mean(0).clamp_min(self.free_bits).sum() for cost in terms.costs.values()]
        for cost in costs:
            loss = loss + beta * cost
        return loss


@dataclass(frozen=True, kw_only=True)
class Iwae(Objective):
    """The importance-weighted bound −log (1/S)·Σ_s exp(−recon_s − β·log_ratio_s) of −log p(x), S = `samples`.

    Source: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016; the bound is that of β = 1.
    """

    name: ClassVar[str] = "iwae"
    of_draws: ClassVar[bool] = True
    samples: Annotated[int, Range(1, 100_000)]

    @property
    def draws(self) -> int:
        """As many as it weighs."""
        return self.samples

    def __call__(self, terms: Terms, beta: float) -> Tensor:
        """The loss, a scalar, in nats per image."""
        return importance_bound(-terms.recon - beta * terms.log_ratio).neg().mean()


def importance_bound(log_weights: Tensor) -> Tensor:
    """The bound log (1/S)·Σ_s w_s of log p(x) for each image: (S, N) log-weights → (N,), nats."""
    return log_weights.logsumexp(0) - math.log(len(log_weights))


@dataclass(frozen=True, kw_only=True)
class TotalCorrelation(Objective):
    """The KL in three parts, of which β weighs the total correlation alone: β-TC-VAE, at β = 1 the ELBO.

    recon + [log q(z|x) − log q(z)] + β·[log q(z) − Σ_k log q(z_k)] + [Σ_k log q(z_k) − log p(z)], at one draw of z.
    Source: Chen, Li, Grosse & Duvenaud, "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018.
    """

    name: ClassVar[str] = "tc"
    of_draws: ClassVar[bool] = True

    @property
    def of_batch(self) -> str | None:
        """The density q(z) is estimated from the batch."""
        return "objective=tc"

    def on(self, images: int, batch_size: int) -> Loss:
        """The loss with q(z) from batches of that size, in evaluation too: from other sizes it is another figure."""
        return functools.partial(_tc_loss, images, batch_size)


def _tc_loss(images: int, batch_size: int, terms: Terms, beta: float) -> Tensor:
    parts = terms.split(batch_size)
    correlations = [kl_parts(part, images)["total correlation"] for part in parts]
    return (terms.recon + terms.log_ratio).mean() + (beta - 1) * torch.cat(correlations).mean()


def kl_parts(terms: Terms, images: int) -> dict[str, Tensor]:
    """The KL at one draw of z as mutual information, total correlation and the latents' own KL: (N,) each, nats.

    q(z) is that of the batch with minibatch weights: log q(z) ≈ logsumexp_m Σ_k log q(z_k|x_m) − log(`images`·N), and
    so for each latent. The three sum to log q(z|x) − log p(z), whatever q(z) is.
    """
    (z,) = terms.z
    each = terms.code.log_prob(z[:, None])  # (N, N, K): of z of the n-th image under the m-th posterior
    weight = math.log(images * len(z))
    joint = each.sum(2).logsumexp(1) - weight
    apart = (each.logsumexp(1) - weight).sum(1)
    own = terms.code.log_prob(z).sum(1)
    return {
        "mutual information": own - joint,
        "total correlation": joint - apart,
        "latents' own KL": apart - own + terms.log_ratio[0],
    }


@dataclass(frozen=True, kw_only=True)
class Rate(Objective):
    """λ·255²·MSE + bits per pixel, in nats per image: times H·W·ln 2; λ is `weight`.

    That is recon + rate, but for a constant, where recon is −log N(x; x̂, σ²) with 1/2σ² = λ·255²·ln 2/C: the negative
    ELBO of a code with uniform noise. λ says it all: β has no part in it.
    Sources: Ballé, Laparra & Simoncelli, "End-to-end optimized image compression", ICLR 2017; the scale of λ is
    CompressAI's (Bégaint et al., 2020).
    """

    name: ClassVar[str] = "rate"
    of_rate: ClassVar[bool] = True
    weight: Annotated[float, Range(1e-6, 1e3)]

    def sigma(self, colours: int) -> float:
        """The standard deviation, on the scale of [0, 1] pixels of so many channels, that stands for λ."""
        return math.sqrt(colours / (2 * self.weight * 255**2 * math.log(2)))

    def __call__(self, terms: Terms, beta: float) -> Tensor:
        """The loss, a scalar, in nats per image."""
        return terms.means["recon"] + terms.means["rate"]


# What `objective=` takes.
OBJECTIVES = Table(Objective, Elbo, Iwae, TotalCorrelation, Rate)


def per_pixel_weight(kl_weight: float, shape: tuple[int, int, int]) -> float:
    """What `kl_weight` is where reconstruction is a mean over the C·H·W values instead of their sum."""
    return kl_weight / math.prod(shape)


def with_elbo(found: dict[str, float]) -> dict[str, float]:
    """Figures by name, and the ELBO −(recon + kl) at any weight on the KL; without a KL there is none."""
    return {**found, "elbo": -(found["recon"] + found["kl"])} if "kl" in found else found
