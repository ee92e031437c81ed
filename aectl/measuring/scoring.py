"""The objective and the codes of a model over a set of images: one copy, for validation and for `aectl eval`."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from aectl.data.images import Images, to_float
from aectl.data.noise import Noise
from aectl.machine import threads
from aectl.measuring import metrics
from aectl.models import objectives
from aectl.models.base import Model
from aectl.models.objectives import Loss, Terms
from aectl.models.posteriors import Code
from aectl.models.priors import Prior
from aectl.rng import generator

ACTIVE = 0.01  # variance of the code's mean above which a latent is active (Burda et al., 2016)
# Images whose noise and draws have one key. A constant: were it `batch_size`, that would change every figure.
BLOCK = 20
AT_ONCE = 2**26  # values that are decoded at a time


def active_units(codes: Tensor) -> int:
    """How many latents of the codes' means, (N, K), vary over images: Var_x(E_q[z]) > 0.01."""
    return int((codes.var(0, correction=0) > ACTIVE).sum())


def carried(code: Code, prior: Prior | None) -> tuple[Tensor, str]:
    """What each latent of codes (N, K) carries, (K,), and what: its KL in nats, else the variance over images.

    A point, and a prior whose KL is no sum over latents, have the latter alone.
    """
    kl = None if prior is None else prior.kl(code)
    return (code.mu.var(0, correction=0), "variance") if kl is None else (kl.mean(0), "KL")


@dataclass(frozen=True)
class Scores:
    """The objective over a set of images, and the codes.

    Attributes:
        loss: mean over images, nats.
        terms: of all images.
        codes: means of q(z|x) of the clean images, (N, K), on the CPU; None for a network without a code.
        mse, psnr: of each reconstruction from the mean of its code, (N,), on the CPU; see `aectl.measuring.metrics`.
    """

    loss: float
    terms: Terms
    codes: Tensor | None
    mse: Tensor
    psnr: Tensor

    @cached_property
    def each(self) -> dict[str, Tensor]:
        """`recon`, what the code costs by name, and with a KL `elbo`, of each image, (N,), nats."""
        found = {"recon": self.terms.recon.mean(0)}
        return objectives.with_elbo(found | {name: cost.sum(1) for name, cost in self.terms.costs.items()})

    @property
    def latent_kl(self) -> Tensor | None:
        """KL of each latent, averaged over images, (K,); None where there is none, or one for all of them."""
        kl = self.terms.costs.get("kl")
        return None if kl is None or kl.shape[1] != self.codes.shape[1] else kl.mean(0)

    @property
    def active_units(self) -> int | None:
        """Latents whose mean varies over images; None for a network without a code, and for a single image."""
        return None if self.codes is None or len(self.codes) < 2 else active_units(self.codes)

    def named(self) -> dict[str, float]:
        """`loss`, `recon`, `kl`, `elbo`, `active_units` by name, as far as this model and these images have them."""
        means = {name: values.mean().item() for name, values in self.each.items() if name != "elbo"}
        found = objectives.with_elbo({"loss": self.loss, **means})
        return found if self.active_units is None else {**found, "active_units": self.active_units}

    @property
    def errors(self) -> dict[str, float]:
        """What people judge reconstructions by, means over images: `mse` per pixel, `psnr` in dB."""
        return {"mse": self.mse.mean().item(), "psnr": self.psnr.mean().item()}


def _most(images: Images, times: int = 1) -> int:
    """How many images go at a time, so many values being made of each of theirs."""
    return max(1, AT_ONCE // (times * math.prod(images.shape)))


def batches(
    images: Images,
    corrupt: Noise,
    device: torch.device,
    seed: int,
    batch_size: int = 500,
    draw: Callable[[int, torch.Generator], Tensor | None] = lambda n, rng: None,
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """(x, x̃, ε) of at most `batch_size` images at a time; ε is what `draw`, a model's, draws for them.

    Noise and draws of an image depend on `seed` and its place among `images`, not on `batch_size`, which may be more
    than goes into memory: then there are fewer at a time.
    """
    batch_size = min(batch_size, _most(images))
    at_once = max(BLOCK, batch_size // BLOCK * BLOCK)
    for first in range(0, len(images), at_once):
        threads.look()
        x, seen = images[first : first + at_once].on(device)
        noisy, drawn = [], []
        for index, part in enumerate(seen.split(BLOCK)):
            rng = generator(device, "evaluation", seed, first + index * BLOCK)
            noisy.append(corrupt(part, rng))
            drawn.append(draw(len(part), rng))
        eps = None if drawn[0] is None else torch.cat(drawn, dim=1)
        x_noisy = torch.cat(noisy)
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            yield x[rows], x_noisy[rows], None if eps is None else eps[:, rows]


@torch.inference_mode()
def score(
    model: Model,
    loss: Loss,
    images: Images,
    corrupt: Noise,
    beta: float,
    device: torch.device,
    seed: int = 0,
    batch_size: int = 500,
) -> Scores:
    """The objective `loss` on `images` with weight `beta`: as many draws of z as in training.

    Free bits go by the KL averaged over all of the images. Where many draws of many images would take much memory,
    there are fewer at a time.
    """
    batch_size = min(batch_size, _most(images, (model.drawn(1) or (1,))[0] * model.likelihood.per_value))
    parts, codes, errors, noisy = [], [], [], corrupt.corrupts or images.paired
    for x, x_noisy, eps in batches(images, corrupt, device, seed, batch_size, model.draw):
        terms = model.terms(x, x_noisy, eps)
        x_hat = model.reconstructed(x_noisy, terms)
        errors.append(torch.stack([metrics.mse(x_hat, x), metrics.psnr(x_hat, x)]).cpu())
        parts.append(replace(terms, decoded=None))
        if model.latent is not None:
            codes.append((model.codes(x) if noisy else terms.code.mu).cpu())
    terms = Terms.cat(parts)
    return Scores(loss(terms, beta).item(), terms, torch.cat(codes) if codes else None, *torch.cat(errors, dim=1))


@torch.inference_mode()
def codes_of(model: Model, images: Images, device: torch.device, batch_size: int = 500) -> Tensor:
    """The model's codes of clean images, (N, K), on the CPU."""
    chunks = images.chunks(batch_size)
    return torch.cat([model.codes(to_float(part.to(device))).cpu() for part in chunks])
