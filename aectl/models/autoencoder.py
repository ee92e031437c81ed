"""Autoencoder = encoder · bottleneck · decoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from aectl.models.base import Choices, Model, ModelChoice
from aectl.models.denoiser import Denoiser
from aectl.models.likelihoods.base import Likelihood
from aectl.models.networks.layers import Shape
from aectl.models.objectives import Terms
from aectl.models.parts import Part, Result
from aectl.models.posteriors import FORMS, Code
from aectl.models.priors import NormalPrior, PriorChoice
from aectl.settings import ranges


class Autoencoder(Model):
    """An autoencoder whose code is a point (`posterior=None`) or a Gaussian (one of `FORMS`).

    Args:
        encoder: (N, C, H, W) → (N, K), or (N, 2K) with a posterior: μ, then what gives σ.
        decoder: (N, K) → (N, C, H, W).
        latent: K.
        likelihood: how x is scored under the decoder's output.
        posterior: None for AE and DAE; for the VAE what gives σ: its log-variance, its softplus, or itself.
        logvar_clip: the least and the most that log σ² may be, or None.
        prior: of the codes, for images of `shape`; a point has none.
        draws: of z for each image.
        of_draws: whether the objective wants log q(z|x) − log p(z) of each draw.
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
        prior: PriorChoice | None = None,
        shape: Shape | None = None,
        draws: int = 1,
        of_draws: bool = False,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.latent = latent
        self.likelihood = likelihood
        self.posterior = posterior
        self.logvar_clip = logvar_clip
        self.draws = draws
        self.of_draws = of_draws
        if posterior is not None:
            prior = prior or NormalPrior()
            self.by_latent = prior.by_latent
            self.prior = prior.build(latent, shape, self.encode)
            self.costs = ("kl",)

    def encode(self, x: Tensor) -> Code:
        """q(z|x) for x of (N, C, H, W), clean or corrupted."""
        features = self.encoder(x).to(x.dtype)  # under autocast the networks alone are of lower precision
        if self.posterior is None:
            return Code(features)
        mu, scale = features.chunk(2, dim=1)
        logvar = FORMS[self.posterior](scale)
        return Code(mu, logvar if self.logvar_clip is None else logvar.clamp(*self.logvar_clip))

    def codes(self, x: Tensor) -> Tensor:
        """The means of q(z|x): (N, C, H, W) → (N, K)."""
        return self.encode(x).mu

    def decode(self, z: Tensor) -> Tensor:
        """The mean image x̂ = E[x|z] for z of (N, K): (N, C, H, W)."""
        return self.likelihood.mean(self.decoder(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """x̂ from the mean of q(z|x), nothing drawn: (N, C, H, W) → (N, C, H, W)."""
        return self.decode(self.encode(x).mu)

    def reconstructed(self, x_noisy: Tensor, terms: Terms) -> Tensor:
        """`reconstruct(x_noisy)` without encoding again, and for a point without decoding: (N, C, H, W)."""
        return self.decode(terms.code.mu) if terms.decoded is None else self.likelihood.mean(terms.decoded)

    def parts(self) -> dict[str, Part]:
        """Encoder, decoder, and both as a denoiser; a point is called z, what a Gaussian has mu and logvar."""

        def encode(x: Tensor) -> Result:
            code = self.encode(x)
            return code.mu if code.logvar is None else (code.mu, code.logvar)

        gives = ["z"] if self.posterior is None else ["mu", "logvar"]
        both = {"encoder": self.encoder, "decoder": self.decoder}
        return {
            "encoder": Part(encode, "x", gives, encoder=self.encoder),
            "decoder": Part(self.decode, "z", ["x_hat"], decoder=self.decoder),
            "denoiser": Part(self.reconstruct, "x_noisy", ["x_hat"], **both),
        }

    def neg_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """−log p(x|z) for x of (N, C, H, W) and z of (S, N, K): (S, N), in nats."""
        return self.likelihood.neg_log_prob(x, self._decoded(z).to(x.dtype))

    def neg_log_prob_of_draws(self, x: Tensor, z: Tensor) -> Tensor:
        """`neg_log_prob` for very many draws: the same but for the last digits, and without gradients."""
        return self.likelihood.neg_log_prob_of_draws(x, self._decoded(z).to(x.dtype))

    def _decoded(self, z: Tensor) -> Tensor:
        return self.decoder(z.flatten(0, 1)).unflatten(0, z.shape[:2])

    def draw(self, n: int, generator: torch.Generator) -> Tensor | None:
        """ε ~ N(0, 1), (S, n, K) on the generator's device; a point has none."""
        shape = self.drawn(n)
        return None if shape is None else torch.randn(shape, generator=generator, device=generator.device)

    def drawn(self, n: int) -> tuple[int, ...] | None:
        """(S, n, K)."""
        return None if self.posterior is None else (self.draws, n, self.latent)

    def terms(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> Terms:
        """Encode `x_noisy`, take z at `eps` of `draw`, score the clean `x`.

        The KL is in closed form where the prior has one, for each latent, else the mean over the draws, (N, 1).
        """
        code = self.encode(x_noisy)
        z = code.at(eps)
        if self.prior is None:
            decoded = self._decoded(z).to(x.dtype)
            return Terms(self.likelihood.neg_log_prob(x, decoded), code=code, z=z, decoded=decoded[0])
        ratio = self.prior.log_ratio(code, z) if self.of_draws or not self.by_latent else None
        recon = self.neg_log_prob(x, z)
        kl = self.prior.kl(code) if self.by_latent else ratio.mean(0)[:, None]
        return Terms(recon, {"kl": kl}, ratio, code, z)

    @torch.no_grad()
    def start_at(self, mean: Tensor) -> None:
        """Set the decoder's last bias so that E[x|z] is near the image `mean`, (C, H, W), whatever the code.

        A convolution has one bias for each channel, which gets the channel's mean.
        """
        bias = [module.bias for module in self.decoder.modules() if hasattr(module, "bias")][-1]
        target = self.likelihood.inverse_mean(mean)
        if len(bias) != target.numel():
            target = self.likelihood.inverse_mean(mean.mean((1, 2), keepdim=True))
        bias.copy_(target.flatten())


@dataclass(frozen=True, kw_only=True)
class Ae(ModelChoice):
    """A deterministic code; or none, where the network goes from pictures to pictures."""

    name: ClassVar[str] = "ae"

    def check_with(self, choices: Choices) -> None:
        """It has no prior, hence no objective that needs one."""
        _refuse_coding(choices)
        if not choices.network.has_code and not choices.likelihood.output_is_mean:
            _refuse_codeless(choices)
        if choices.prior != NormalPrior():
            ranges.fail("prior.name", choices.prior.name, "model=ae has no prior; it goes with model=vae")
        if choices.objective.of_draws:
            ranges.fail("objective.name", choices.objective.name, "model=ae has no posterior; it goes with model=vae")

    def notices(self, choices: Choices, noisy: bool) -> list[str]:
        """A network without a code adds to what it sees."""
        if choices.network.has_code or noisy:
            return []
        line = "without noise has nothing to do: it returns its input; choose one with noise=... or dataset.noisy=..."
        return [f"network={choices.network.name} {line}"]

    def build(self, choices: Choices, shape: Shape) -> Model:
        """An encoder and a decoder, or the network alone."""
        if not choices.network.has_code:
            return Denoiser(choices.network.denoiser(shape[0]), choices.likelihood.build())
        likelihood = choices.likelihood.build()
        networks = _networks(choices, shape, choices.latent, likelihood)
        return Autoencoder(*networks, choices.latent, likelihood)


def _networks(choices: Choices, shape: Shape, outputs: int, likelihood: Likelihood) -> tuple[nn.Module, nn.Module]:
    """An encoder of so many outputs, and a decoder that gives what the likelihood takes."""
    encoder, decoder = choices.network.build(shape, outputs, choices.latent)
    if likelihood.per_value > 1:
        wide = (likelihood.per_value * shape[0], *shape[1:])
        _, decoder = choices.network.build(wide, outputs, choices.latent)
    return encoder, decoder


EXTREME = 80.0  # of log σ², beyond which σ² is no number that float32 can hold
WIDEST = (-20, 5)  # limits of log σ² that leave a run of an ordinary rate as it is, and one of a high rate finite


@dataclass(frozen=True)
class Clip:
    """[least, most] that log σ² may be."""

    def check(self, key: str, value: list[float] | None) -> None:
        """Refuse what is no such pair."""
        if value is not None and not (len(value) == 2 and -EXTREME <= value[0] < value[1] <= EXTREME):
            ranges.fail(key, value, f"give [least, most], such as [-6,2], from {-EXTREME:g} to {EXTREME:g}")


@dataclass(frozen=True, kw_only=True)
class Vae(ModelChoice):
    """q(z|x) = N(μ, σ²) for each latent, σ by `posterior`, one of `FORMS`; see `Autoencoder`."""

    name: ClassVar[str] = "vae"
    has_kl: ClassVar[bool] = True
    posterior: Literal["logvar", "std", "std_raw"]
    logvar_clip: Annotated[list[float] | None, Clip()] = None

    def check_with(self, choices: Choices) -> None:
        """It needs a code."""
        _refuse_coding(choices)
        if not choices.network.has_code:
            _refuse_codeless(choices)

    def build(self, choices: Choices, shape: Shape) -> Model:
        """An encoder of two numbers for each latent, a decoder, and the prior."""
        likelihood = choices.likelihood.build()
        return Autoencoder(
            *_networks(choices, shape, 2 * choices.latent, likelihood),
            choices.latent,
            likelihood,
            self.posterior,
            logvar_clip=self.logvar_clip,
            prior=choices.prior,
            shape=shape,
            draws=choices.objective.draws,
            of_draws=choices.objective.of_draws,
        )

    def against_divergence(self) -> list[tuple[str, bool]]:
        """What is measured in docs/lecture: σ as it is learns badly, and log σ² without limits overflows."""
        overflows = self.posterior == "logvar" and (self.logvar_clip is None or self.logvar_clip[1] > WIDEST[1])
        return [
            ("model.posterior=logvar", self.posterior == "std_raw"),
            (f"model.logvar_clip=[{WIDEST[0]},{WIDEST[1]}]", overflows),
        ]


def _refuse_coding(choices: Choices) -> None:
    """Refuse what belongs to a code of whole numbers."""
    if choices.network.spatial:
        ranges.fail(
            "network.name", choices.network.name, "has a code at every few pixels; it goes with model=rounded"
        )
    if choices.objective.of_rate:
        ranges.fail("objective.name", choices.objective.name, "weighs the rate of a code; it goes with model=rounded")


def _refuse_codeless(choices: Choices) -> None:
    want = "predicts the clean picture, without a code: it goes with model=ae or dae, likelihood=gaussian and "
    ranges.fail("network.name", choices.network.name, f"{want}likelihood.mean=identity")
