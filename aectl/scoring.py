"""The objective and the codes of a model over a set of images: one copy, for validation and for `aectl eval`."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aectl import threads
from aectl.images import Images, to_float
from aectl.models import Autoencoder
from aectl.noise import Corruption
from aectl.rng import generator

ACTIVE = 0.01  # variance of the code's mean above which a latent is active (Burda et al., 2016)


def active_units(codes: Tensor) -> int:
    """How many latents of the codes' means, (N, K), vary over images: Var_x(E_q[z]) > 0.01."""
    return int((codes.var(0, correction=0) > ACTIVE).sum())


@dataclass(frozen=True)
class Scores:
    """The objective's terms over a set of images, in nats per image, and the codes they came from.

    Attributes:
        loss, recon, kl, elbo: means over images; elbo = −(recon + kl) whatever the weight on the KL.
        latent_kl: KL of each latent, (K,).
        codes: means of q(z|x), (N, K), on the CPU.
    """

    loss: float
    recon: float
    kl: float
    elbo: float
    latent_kl: Tensor
    codes: Tensor

    @property
    def active_units(self) -> int:
        """Latents whose mean varies over images: Var_x(E_q[z]) > 0.01."""
        return active_units(self.codes)

    def named(self) -> dict[str, float]:
        """The four means by name."""
        return {"loss": self.loss, "recon": self.recon, "kl": self.kl, "elbo": self.elbo}


def batches(
    images: Images, corrupt: Corruption, device: torch.device, seed: int, batch_size: int = 500
) -> Iterator[tuple[Tensor, Tensor, torch.Generator]]:
    """(x, x̃, generator) batch by batch; noise and draws depend on `seed` and the batch alone."""
    for start in range(0, len(images), batch_size):
        threads.look()
        x = to_float(images[start : start + batch_size].pixels.to(device))
        rng = generator(device, "evaluation", seed, start)
        yield x, corrupt(x, rng), rng


@torch.inference_mode()
def score(
    model: Autoencoder,
    images: Images,
    corrupt: Corruption,
    beta: float,
    device: torch.device,
    seed: int = 0,
    batch_size: int = 500,
) -> Scores:
    """The objective on `images` with weight `beta`: one draw of z for each image, KL in closed form."""
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    latent_kl: Tensor | float = 0.0
    codes = []
    for x, x_noisy, rng in batches(images, corrupt, device, seed, batch_size):
        terms, code = model.terms(x, x_noisy, model.draw(len(x), rng))
        sums += torch.stack(terms.means(beta)) * len(x)
        latent_kl = latent_kl + terms.kl.double().sum(0)
        codes.append(code.mu.cpu())
    loss, recon, kl = (sums / len(images)).tolist()
    return Scores(loss, recon, kl, -(recon + kl), (latent_kl / len(images)).cpu(), torch.cat(codes))


@torch.inference_mode()
def encode(model: Autoencoder, images: Images, device: torch.device, batch_size: int = 500) -> Tensor:
    """Means of q(z|x) for clean images, (N, K), on the CPU."""
    chunks = images.chunks(batch_size)
    return torch.cat([model.encode(to_float(part.to(device))).mu.cpu() for part in chunks])
