"""What a run's pictures show: codes chosen, decoded and laid out; `aectl.drawing.plots` draws them."""

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import Images
from aectl.data.noise import Noise
from aectl.drawing import grids, plots
from aectl.models.autoencoder import Autoencoder
from aectl.models.base import Model
from aectl.models.priors import Prior, StandardNormal
from aectl.rng import generator

Axes = tuple[list[float], list[float]]
View = np.ndarray  # (H, W, 3), uint8

COLUMNS = 12  # images in a row of originals and reconstructions
SAMPLES = 64  # images in a square of them


def plane(codes: Tensor, side: int, prior: Prior | None, dims: tuple[int, int] = (0, 1)) -> tuple[Tensor, Axes]:
    """Codes (side², K) over the plane of two latents, first row on top, and the axes' values (columns, rows).

    With a prior the values are its quantiles at (i + ½)/side, so each cell of N(0, I) has equal probability, and the
    other latents are at their medians. Without one they divide the range of `codes` (N, K) between its 1st and 99th
    percentiles into equal steps, and the others are at their mean.
    """
    if prior is not None:
        shares = (torch.arange(side, dtype=torch.float64) + 0.5) / side
        across, up = prior.quantiles(shares)[:, list(dims)].float().unbind(1)
        middle = prior.quantiles(torch.tensor([0.5]))[0].float()
    else:
        middle = codes.float().mean(0)
        ends = torch.quantile(codes[:, list(dims)].float(), torch.tensor([0.01, 0.99]), dim=0)
        across, up = (torch.linspace(ends[0, axis].item(), ends[1, axis].item(), side) for axis in (0, 1))
    z = middle.repeat(side * side, 1)
    z[:, dims[0]] = across.repeat(side)
    z[:, dims[1]] = up.flip(0).repeat_interleave(side)
    return z, (across.tolist(), up.flip(0).tolist())


def widest(codes: Tensor) -> tuple[int, int]:
    """The two latents whose codes (N, K ≥ 2) vary most, in order of their index."""
    first, second = sorted(codes.var(0, correction=0).topk(2).indices.tolist())
    return first, second


@torch.inference_mode()
def reconstructions(
    model: Model,
    images: Images,
    corrupt: Noise,
    device: torch.device,
    title: str,
    draws: int = 0,
) -> View:
    """Rows of originals, their noisy versions if there are any, reconstructions, and `draws` from q(z|x)."""
    x, given = images.spread(COLUMNS).on(device)
    seen = corrupt(given, generator(device, "picture"))
    noisy = {} if seen is x else {"noisy": seen}
    named = {"original": x, **noisy, "denoised" if noisy else "reconstruction": model.reconstruct(seen)}
    for draw in range(0 if model.prior is None else draws):
        (z,) = model.encode(seen).sample(generator(device, "picture", draw))
        named[f"draw {draw + 1} of z ~ q(z|x)"] = model.decode(z)
    return grids.rows(named, title)


@torch.inference_mode()
def prior_samples(model: Autoencoder, device: torch.device, n: int = SAMPLES) -> View:
    """Codes from the prior, decoded; for an AE from N(0, I), which shows why it is no generator."""
    prior = model.prior or StandardNormal(model.latent)
    z = prior.sample(n, generator("cpu", "prior samples"))
    title = f"samples: z ~ {prior.words}"
    if model.prior is None:
        title = f"z ~ {prior.words}: an AE has no prior, so these are arbitrary"
    return grids.grid(model.decode(z.to(device)), title)


def of_prior(model: Autoencoder) -> dict[str, View]:
    """What the prior itself is made of, by name, where it can be looked at."""
    made_of = {} if model.prior is None else model.prior.images()
    return {
        name.replace("-", "_"): grids.grid(images[:SAMPLES].cpu(), f"{name} of the prior, {len(images)} in all")
        for name, images in made_of.items()
    }


@torch.inference_mode()
def latent_map(model: Autoencoder, codes: Tensor, device: torch.device, side: int = 20) -> View:
    """The plane of a code's two widest latents, decoded cell by cell."""
    dims = widest(codes)
    z, ticks = plane(codes, side, model.prior, dims)
    where = "the codes' range" if model.prior is None else f"quantiles of the prior {model.prior.words}"
    rest = "" if codes.shape[1] == 2 else f", the others at their {'mean' if model.prior is None else 'median'}"
    names = tuple(f"z{index + 1}" for index in dims)
    return plots.manifold(model.decode(z.to(device)), ticks, f"the latent plane, {where}{rest}", names)


def latent_scatter(codes: Tensor, labels: Tensor | None, title: str) -> View:
    """Codes (N, K), coloured by label; their first two principal components for K > 2."""
    if codes.shape[1] == 1:
        return plots.spread(codes[:, 0], labels, title, "z1")
    points, names = plots.two_dimensional(codes)
    return plots.scatter(points, labels, title, names)


def latent_kl(kl: Tensor, active: int | None) -> View:
    """KL of each latent, (K,), with the number of active units where that is known."""
    title = f"KL of each latent: {kl.sum():.2f} nats" + ("" if active is None else f", {active} of {len(kl)} active")
    return plots.bars(kl, title, "latents in order of their KL", "KL (nats)")
