"""Priors p(z): what codes are trained towards, and what new ones are drawn from.

Adding one: a class here, its name in `PRIORS` at the foot, and `configs/prior/<name>.yaml`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from aectl.models.networks.layers import Shape
from aectl.models.posteriors import LOG_2PI, Code
from aectl.settings.choices import Choice, Range, Table

Encode = Callable[[Tensor], Code]


class Prior:
    """p(z) for codes of K numbers.

    Attributes:
        words: how it is written, such as N(0, I).
    """

    words: str

    def log_prob(self, z: Tensor) -> Tensor:
        """The density log p(z) in nats: (..., K) → (...)."""
        raise NotImplementedError

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """`n` draws, (n, K), on the generator's device."""
        raise NotImplementedError

    def quantiles(self, shares: Tensor) -> Tensor:
        """The quantiles of each latent by itself at `shares` in (0, 1): (P,) → (P, K), float64 on the CPU."""
        raise NotImplementedError

    def kl(self, code: Code) -> Tensor | None:
        """KL(q(z|x) ‖ p(z)) for each image and latent, (N, K), in nats; None where there is no closed form."""
        return None

    def log_ratio(self, code: Code, z: Tensor) -> Tensor:
        """The difference log q(z|x) − log p(z) at z of (S, N, K): (S, N), nats; on average over z it is the KL."""
        return code.log_prob(z).sum(-1) - self.log_prob(z)

    def gaussians(self) -> Code | None:
        """Those whose even mixture it is, (M, K) means and log-variances; None where it is none."""
        return None

    def images(self) -> dict[str, Tensor]:
        """Pictures that it is made of, (n, C, H, W) in [0, 1], by what they are."""
        return {}


@dataclass(frozen=True, kw_only=True)
class PriorChoice(Choice):
    """The settings of a prior.

    Attributes:
        by_latent: whether its KL is a sum over latents in closed form; else it is estimated from the draws of z.
    """

    group: ClassVar[str] = "prior"
    by_latent: ClassVar[bool] = False

    def build(self, latent: int, shape: Shape, encode: Encode) -> Prior:
        """The prior of `latent` numbers with these settings, for images of `shape` and the model's own encoder."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class NormalPrior(PriorChoice):
    """N(0, I), which has no parameters."""

    name: ClassVar[str] = "normal"
    by_latent: ClassVar[bool] = True

    def build(self, latent: int, shape: Shape, encode: Encode) -> Prior:
        """It needs no more than the number of latents."""
        return StandardNormal(latent)


@dataclass(frozen=True)
class StandardNormal(Prior):
    """N(0, I) over `latent` numbers: it is written here and nowhere else."""

    latent: int
    words: ClassVar[str] = "N(0, I)"

    def log_prob(self, z: Tensor) -> Tensor:
        """−½(Σ z² + K·log 2π): (..., K) → (...), nats."""
        return -0.5 * (z.square() + LOG_2PI).sum(-1)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """`n` draws, (n, K)."""
        return torch.randn(n, self.latent, generator=rng, device=rng.device)

    def quantiles(self, shares: Tensor) -> Tensor:
        """Equal for every latent: (P,) → (P, K)."""
        return torch.special.ndtri(shares.double())[:, None].expand(-1, self.latent)

    def gaussians(self) -> Code:
        """One, (1, K)."""
        return Code(torch.zeros(1, self.latent), torch.zeros(1, self.latent))

    def kl(self, code: Code) -> Tensor:
        """½(σ² + μ² − 1 − log σ²) for each image and latent, (N, K), nats, ≥ 0.

        Source: Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.
        """
        return 0.5 * (code.logvar.exp() + code.mu.square() - 1 - code.logvar)

    def log_ratio(self, code: Code, z: Tensor) -> Tensor:
        """As of every prior, (S, N), without the constants, which cancel."""
        squared_eps = (z - code.mu).square() * (-code.logvar).exp()
        return 0.5 * (z.square() - squared_eps - code.logvar).sum(-1)


class GaussianMixture(nn.Module, Prior):
    """(1/M)·Σ_m N(z; μ_m, σ_m²), M Gaussians with an own variance for each latent; a subclass says which."""

    def gaussians(self) -> Code:
        """Their means and log-variances, (M, K) each."""
        raise NotImplementedError

    def log_prob(self, z: Tensor) -> Tensor:
        """The density in nats: (..., K) → (...)."""
        found = self.gaussians()
        each = log_normal(z.flatten(0, -2), found)
        return (each.logsumexp(-1) - math.log(each.shape[-1])).view(z.shape[:-1]).to(z.dtype)

    @torch.no_grad()
    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """`n` draws, (n, K): a Gaussian for each, then z from it."""
        found = self.gaussians()
        chosen = torch.randint(len(found.mu), (n,), generator=rng, device=rng.device)
        eps = torch.randn(n, found.mu.shape[1], generator=rng, device=rng.device)
        mu, logvar = found.mu.to(rng.device)[chosen], found.logvar.to(rng.device)[chosen]
        return Code(mu, logvar).at(eps)

    @torch.no_grad()
    def quantiles(self, shares: Tensor) -> Tensor:
        """By bisection of each latent's cumulative distribution: (P,) → (P, K)."""
        found = self.gaussians()
        mu, sd = found.mu.double().cpu(), (0.5 * found.logvar.double().cpu()).exp()
        normal = torch.special.ndtri(shares.double())[:, None, None]
        ends = mu + normal * sd  # the mixture's quantile is between the least and the greatest of its parts
        low, high = ends.amin(1), ends.amax(1)
        for _ in range(60):
            middle = (low + high) / 2
            below = torch.special.ndtr((middle[:, None] - mu) / sd).mean(1) < shares.double()[:, None]
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2


def log_normal(z: Tensor, of: Code) -> Tensor:
    """log N(z_n; μ_m, σ_m²) for every pair: (N, K) and (M, K) twice → (N, M), nats.

    The square is multiplied out, which is a matrix product instead of N·M·K terms in memory; hence in double
    precision where the device has it.
    """
    exact = torch.float32 if z.device.type == "mps" else torch.float64
    z, mu, logvar = z.to(exact), of.mu.to(exact), of.logvar.to(exact)
    precision = (-logvar).exp()
    squares = z.square() @ precision.T - 2 * z @ (mu * precision).T + (mu.square() * precision).sum(1)
    return -0.5 * (squares + (logvar + LOG_2PI).sum(1))


@dataclass(frozen=True, kw_only=True)
class MixturePrior(PriorChoice):
    """A mixture of Gaussians whose means and variances are learnt with the rest; all of one weight."""

    name: ClassVar[str] = "mixture"
    components: Annotated[int, Range(1, 100_000)]

    def build(self, latent: int, shape: Shape, encode: Encode) -> Prior:
        """Its means are drawn from N(0, I), so that no two learn the same; its variances start at 1."""
        return FreeMixture(self.components, latent)


class FreeMixture(GaussianMixture):
    """A mixture of `components` Gaussians over `latent` numbers, whose means and log-variances are parameters."""

    def __init__(self, components: int, latent: int):
        super().__init__()
        self.mu = nn.Parameter(torch.randn(components, latent))
        self.logvar = nn.Parameter(torch.zeros(components, latent))
        self.words = f"a mixture of {components} Gaussians"

    def gaussians(self) -> Code:
        """The parameters."""
        return Code(self.mu, self.logvar)


@dataclass(frozen=True, kw_only=True)
class VampPrior(PriorChoice):
    """The variational mixture of posteriors: the mean of q(z|u) over learnt pseudo-inputs u, images that are none.

    Source: Tomczak & Welling, "VAE with a PseudoInputs", AISTATS 2018.
    """

    name: ClassVar[str] = "vamp"
    components: Annotated[int, Range(1, 100_000)]

    def build(self, latent: int, shape: Shape, encode: Encode) -> Prior:
        """As many pseudo-inputs as components."""
        return PseudoInputs(self.components, shape, encode)


class PseudoInputs(GaussianMixture):
    """(1/M)·Σ_m q(z | u_m) with the model's own `encode`; u = W clamped to [0, 1], W of M images is free.

    W starts from N(0.05, 0.01²): below 0 the clamp would pass no gradient, and nothing would be learnt.
    """

    def __init__(self, components: int, shape: Shape, encode: Encode):
        super().__init__()
        self.inputs = nn.Parameter(0.05 + 0.01 * torch.randn(components, *shape))
        self.encode = encode  # a bound method: the encoder's parameters are the model's, not counted again here
        self.words = f"the mean of q(z|u) over {components} pseudo-inputs u"

    def gaussians(self) -> Code:
        """The encoder's view of the pseudo-inputs."""
        return self.encode(self.inputs.clamp(0, 1))

    def images(self) -> dict[str, Tensor]:
        """The pseudo-inputs."""
        return {"pseudo-inputs": self.inputs.detach().clamp(0, 1)}


# What `prior=` takes.
PRIORS = Table(PriorChoice, NormalPrior, MixturePrior, VampPrior)
