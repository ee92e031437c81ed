"""The objective and the codes of a model over a set of images: one copy, for validation and for `aectl eval`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from aectl.data.images import Images, to_float
from aectl.data.noise import Noise
from aectl.machine import threads
from aectl.models import objectives
from aectl.models.autoencoder import Autoencoder
from aectl.models.objectives import Terms
from aectl.rng import generator

ACTIVE = 0.01  # variance of the code's mean above which a latent is active (Burda et al., 2016)
# Images whose noise and draws have one key. A constant: were it `batch_size`, that would change every figure.
BLOCK = 20


def active_units(codes: Tensor) -> int:
    """How many latents of the codes' means, (N, K), vary over images: Var_x(E_q[z]) > 0.01."""
    return int((codes.var(0, correction=0) > ACTIVE).sum())


@dataclass(frozen=True)
class Scores:
    """The objective over a set of images, and the codes.

    Attributes:
        loss: mean over images, nats.
        terms: of all images.
        codes: means of q(z|x) of the clean images, (N, K), on the CPU; None for a network without a code.
    """

    loss: float
    terms: Terms
    codes: Tensor | None

    @cached_property
    def each(self) -> dict[str, Tensor]:
        """`recon`, and where there is a KL `kl` and `elbo`, of each image, (N,), nats."""
        recon = self.terms.recon.mean(0)
        if self.terms.kl is None:
            return {"recon": recon}
        kl = self.terms.kl.sum(1)
        return {"recon": recon, "kl": kl, "elbo": -(recon + kl)}

    @property
    def recon(self) -> float:
        """−log p(x|z), averaged over draws and images."""
        return self.each["recon"].mean().item()

    @property
    def kl(self) -> float | None:
        """KL, averaged over images; None where there is none."""
        return None if self.terms.kl is None else self.each["kl"].mean().item()

    @property
    def elbo(self) -> float | None:
        """−(recon + kl), whatever the weight on the KL; None where there is no KL."""
        return objectives.named(self.loss, self.recon, self.kl).get("elbo")

    @property
    def latent_kl(self) -> Tensor | None:
        """KL of each latent, averaged over images, (K,); None where there is none."""
        return None if self.terms.kl is None else self.terms.kl.mean(0)

    @property
    def active_units(self) -> int | None:
        """Latents whose mean varies over images; None for a network without a code, and for a single image."""
        return None if self.codes is None or len(self.codes) < 2 else active_units(self.codes)

    def named(self) -> dict[str, float]:
        """`loss`, `recon`, `kl`, `elbo`, `active_units` by name, as far as this model and these images have them."""
        found = objectives.named(self.loss, self.recon, self.kl)
        return found if self.active_units is None else {**found, "active_units": self.active_units}


def batches(
    images: Images,
    corrupt: Noise,
    device: torch.device,
    seed: int,
    batch_size: int = 500,
    draw: Callable[[int, torch.Generator], Tensor | None] = lambda n, rng: None,
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """(x, x̃, ε) of at most `batch_size` images at a time; ε is what `draw`, a model's, draws for them.

    Noise and draws of an image depend on `seed` and its place among `images`, not on `batch_size`.
    """
    at_once = max(BLOCK, batch_size // BLOCK * BLOCK)
    for first in range(0, len(images), at_once):
        threads.look()
        x = to_float(images[first : first + at_once].pixels.to(device))
        noisy, drawn = [], []
        for index, part in enumerate(x.split(BLOCK)):
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
    model: Autoencoder,
    images: Images,
    corrupt: Noise,
    beta: float,
    device: torch.device,
    seed: int = 0,
    batch_size: int = 500,
) -> Scores:
    """The objective on `images` with weight `beta`: as many draws of z as in training, KL in closed form.

    Free bits go by the KL averaged over all of the images.
    """
    parts, codes = [], []
    for x, x_noisy, eps in batches(images, corrupt, device, seed, batch_size, model.draw):
        terms, code = model.terms(x, x_noisy, eps)
        parts.append(terms)
        if model.has_code:
            codes.append((code if not corrupt.corrupts else model.encode(x)).mu.cpu())
    terms = Terms.cat(parts)
    return Scores(terms.means(beta)[0].item(), terms, torch.cat(codes) if codes else None)


@torch.inference_mode()
def encode(model: Autoencoder, images: Images, device: torch.device, batch_size: int = 500) -> Tensor:
    """Means of q(z|x) for clean images, (N, K), on the CPU."""
    chunks = images.chunks(batch_size)
    return torch.cat([model.encode(to_float(part.to(device))).mu.cpu() for part in chunks])
