"""What a run's pictures show: codes chosen, decoded and laid out; `aectl.drawing.plots` draws them."""

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import Images
from aectl.data.noise import Noise
from aectl.drawing import grids, planes, plots
from aectl.models.autoencoder import Autoencoder
from aectl.models.base import Model
from aectl.models.priors import StandardNormal
from aectl.rng import generator

View = np.ndarray  # (H, W, 3), uint8

COLUMNS = 12  # images in a row of originals and reconstructions
SAMPLES = 64  # images in a square of them


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
def prior_samples(model: Autoencoder, device: torch.device, run: str, n: int = SAMPLES) -> View:
    """Codes from the prior, decoded; for an AE from N(0, I), which shows why it is no generator."""
    prior = model.prior or StandardNormal(model.latent)
    z = prior.sample(n, generator("cpu", "prior samples"))
    what = "" if model.prior is not None else ": an AE has no prior, so these are arbitrary"
    return grids.grid(model.decode(z.to(device)), f"{run}: {n} samples, z ~ {prior.words}{what}")


def of_prior(model: Autoencoder, run: str) -> dict[str, View]:
    """What the prior itself is made of, by name, where it can be looked at."""
    made_of = {} if model.prior is None else model.prior.images()
    return {
        name.replace("-", "_"): grids.grid(
            images[:SAMPLES].cpu(), f"{run}: {min(SAMPLES, len(images))} of {len(images)} {name} of the prior"
        )
        for name, images in made_of.items()
    }


def codes_picture(
    model: Autoencoder, codes: Tensor, labels: Tensor | None, device: torch.device, what: str, run: str
) -> tuple[str, View]:
    """Where all of the codes (N, K) lie, with the picture's name: the plane of two, else `latent_scatter`.

    Args:
        model: the model that they are of.
        codes: (N, K).
        labels: (N,), -1 for none, or None.
        device: that decodes.
        what: they are: codes of 500 test images.
        run: whose.
    """
    if model.latent == 2:
        return "latent_plane", latent_plane(model, codes, labels, device, what, run)
    return "latent_scatter", latent_scatter(codes, labels, f"{run}\n{what}")


@torch.inference_mode()
def latent_plane(
    model: Autoencoder, codes: Tensor, labels: Tensor | None, device: torch.device, what: str, run: str
) -> View:
    """The codes of the two widest latents, and beside them what their plane decodes to, on the same axes."""
    dims = planes.widest(codes)
    limits = planes.square(codes, model.prior, dims)
    rows, columns = planes.cells(*model.decode(codes[:1].to(device)).shape[2:])
    z = planes.even(codes, model.prior, dims, limits, (rows, columns)).z
    rest = "mean" if model.prior is None else "median"
    which = (
        f": the two latents that vary most, the other {model.latent - 2} at their {rest}" if model.latent > 2 else ""
    )
    titles = (f"{run}{which}", what, "what the plane decodes to, in equal steps")
    names = tuple(f"z{index + 1}" for index in dims)
    return plots.plane(codes[:, list(dims)], labels, model.decode(z.to(device)), columns, limits, titles, names)


def latent_scatter(codes: Tensor, labels: Tensor | None, title: str) -> View:
    """Codes (N, K), coloured by label; their first two principal components for K > 2."""
    if codes.shape[1] == 1:
        return plots.spread(codes[:, 0], labels, title, "z1")
    points, names = plots.two_dimensional(codes)
    return plots.scatter(points, labels, title, names)


def latent_kl(kl: Tensor, active: int | None, run: str) -> View:
    """KL of each latent, (K,), with the number of active units where that is known."""
    title = f"{run}\nKL {kl.sum():.2f} nats" + ("" if active is None else f", {active} of {len(kl)} latents active")
    names = [f"z{index + 1}" for index in range(len(kl))]
    return plots.bars(kl, names, title, "latents in order of their KL", "KL of each latent (nats per image)")
