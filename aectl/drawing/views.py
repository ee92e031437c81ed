"""What a run's pictures show: codes chosen, decoded and laid out; `aectl.drawing.plots` draws them."""

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import Images, to_float
from aectl.data.noise import Noise
from aectl.drawing import grids, plots
from aectl.models.autoencoder import Autoencoder
from aectl.rng import generator

Axes = tuple[list[float], list[float]]
Picture = np.ndarray  # (H, W, 3), uint8

COLUMNS = 12  # images in a row of originals and reconstructions


def plane(codes: Tensor, side: int, *, prior: bool, dims: tuple[int, int] = (0, 1)) -> tuple[Tensor, Axes]:
    """Codes (side², K) over the plane of two latents, first row on top, and the axes' values (columns, rows).

    With a prior N(0, 1) the values are its quantiles at (i + ½)/side, so each cell has equal probability, and the
    other latents are 0. Without one they divide the range of `codes` (N, K) between its 1st and 99th percentiles
    into equal steps, and the others are at their mean.
    """
    if prior:
        across = torch.special.ndtri((torch.arange(side, dtype=torch.float64) + 0.5) / side).float()
        up = across
    else:
        ends = torch.quantile(codes[:, list(dims)].float(), torch.tensor([0.01, 0.99]), dim=0)
        across, up = (torch.linspace(ends[0, axis].item(), ends[1, axis].item(), side) for axis in (0, 1))
    z = (torch.zeros(codes.shape[1]) if prior else codes.float().mean(0)).repeat(side * side, 1)
    z[:, dims[0]] = across.repeat(side)
    z[:, dims[1]] = up.flip(0).repeat_interleave(side)
    return z, (across.tolist(), up.flip(0).tolist())


def widest(codes: Tensor) -> tuple[int, int]:
    """The two latents whose codes (N, K ≥ 2) vary most, in order of their index."""
    first, second = sorted(codes.var(0, correction=0).topk(2).indices.tolist())
    return first, second


@torch.inference_mode()
def reconstructions(
    model: Autoencoder,
    images: Images,
    corrupt: Noise,
    device: torch.device,
    title: str,
    draws: int = 0,
) -> Picture:
    """Rows of originals, their corrupted versions if there is noise, reconstructions, and `draws` from q(z|x)."""
    x = to_float(images.spread(COLUMNS).pixels.to(device))
    named = {"original": x}
    seen = x
    if corrupt.corrupts:
        seen = corrupt(x, generator(device, "picture"))
        named["noisy"] = seen
    named["denoised" if corrupt.corrupts else "reconstruction"] = model.reconstruct(seen)
    for draw in range(draws if model.has_prior else 0):
        (z,) = model.encode(seen).sample(generator(device, "picture", draw))
        named[f"draw {draw + 1} of z ~ q(z|x)"] = model.decode(z)
    return grids.rows(named, title)


@torch.inference_mode()
def prior_samples(model: Autoencoder, latent: int, device: torch.device, n: int = 64) -> Picture:
    """Codes from N(0, I), decoded; for an AE that shows why it is no generator."""
    z = torch.randn(n, latent, generator=generator("cpu", "prior samples"))
    title = "samples: z ~ N(0, I)" if model.has_prior else "z ~ N(0, I): an AE has no prior, so these are arbitrary"
    return grids.grid(model.decode(z.to(device)), title)


@torch.inference_mode()
def latent_map(model: Autoencoder, codes: Tensor, device: torch.device, side: int = 20) -> Picture:
    """The plane of a code's two widest latents, decoded cell by cell."""
    dims = widest(codes)
    z, ticks = plane(codes, side, prior=model.has_prior, dims=dims)
    where = "quantiles of the prior N(0, 1)" if model.has_prior else "the codes' range"
    rest = "" if codes.shape[1] == 2 else f", the others at {'0' if model.has_prior else 'their mean'}"
    names = tuple(f"z{index + 1}" for index in dims)
    return plots.manifold(model.decode(z.to(device)), ticks, f"the latent plane, {where}{rest}", names)


def latent_scatter(codes: Tensor, labels: Tensor | None, title: str) -> Picture:
    """Codes (N, K), coloured by label; their first two principal components for K > 2."""
    if codes.shape[1] == 1:
        return plots.spread(codes[:, 0], labels, title, "z1")
    points, names = plots.two_dimensional(codes)
    return plots.scatter(points, labels, title, names)


def latent_kl(kl: Tensor, active: int | None) -> Picture:
    """KL of each latent, (K,), with the number of active units where that is known."""
    title = f"KL of each latent: {kl.sum():.2f} nats" + ("" if active is None else f", {active} of {len(kl)} active")
    return plots.bars(kl, title, "latents in order of their KL", "KL (nats)")
