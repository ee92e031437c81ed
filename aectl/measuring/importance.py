"""−log p(x) of a VAE by importance sampling, in bounded memory.

Source of the bound: Burda, Grosse & Salakhutdinov, "Importance Weighted Autoencoders", ICLR 2016.
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from aectl.machine import threads
from aectl.measuring.metrics import standard_error
from aectl.models.autoencoder import Autoencoder
from aectl.rng import generator

# The decoder makes STRIDE·DRAWS images at a time, which bounds the memory whatever the number of draws.
STRIDE = 10
DRAWS = 100
CACHE = 2**20  # bytes of what is decoded at a time on a CPU: what a core has near it
ENOUGH = 10  # effective draws of an image, below which neither the bound nor the spread of its weights says much
MANY = 0.1  # share of the images with fewer, from which on their mean does not say much either

Batches = Callable[[], Iterable[tuple[Tensor, Tensor, Tensor | None]]]


@dataclass(frozen=True)
class Bound:
    """An importance-weighted bound over a set of images.

    Attributes:
        mean: −log p̂(x), nats per image, averaged over images and repeats.
        se_images: standard error of the mean over images; None for a single image.
        se_draws: standard error from the draws of z: over the repeats, or with a single one estimated from the
            spread of the weights, which is too small where few draws carry all the weight; None for a single draw.
        effective_samples: (Σw)²/Σw² of the draws for an image, the median over images and repeats.
        scarce: share of the images with fewer than `ENOUGH` effective draws.
    """

    mean: float
    se_images: float | None
    se_draws: float | None
    effective_samples: float
    scarce: float


@torch.inference_mode()
def log_marginal(
    model: Autoencoder, x: Tensor, x_noisy: Tensor, samples: int, rng: torch.Generator, *, shared: bool = False
) -> tuple[Tensor, Tensor]:
    """The bound log (1/K)·Σ_k p(x|z_k)·p(z_k)/q(z_k|x̃), z_k ~ q(z|x̃), for K = `samples` draws of each image.

    `x` is scored and `x_noisy` encoded, both (N, C, H, W). With `shared` all images have the same ε.

    Returns:
        The bound in nats, (N,), and the effective number of draws (Σw)²/Σw², (N,); both float64. The bound's mean
        rises with K towards log p(x).
    """
    code = model.encode(x_noisy)
    # log Σw and log Σw² so far.
    total = torch.full((2, len(x)), -math.inf, dtype=torch.float64, device=x.device)
    for start in range(0, samples, DRAWS):
        z = code.sample(rng, min(DRAWS, samples - start), shared=shared)
        recon = torch.cat([model.neg_log_prob_of_draws(x, some) for some in z.chunk(_chunks(model, x, len(z)))])
        log_w = (-recon - model.prior.log_ratio(code, z)).double()
        total = torch.logaddexp(total, torch.stack([log_w.logsumexp(0), (2 * log_w).logsumexp(0)]))
    return total[0] - math.log(samples), (2 * total[0] - total[1]).exp()


def _chunks(model: Autoencoder, x: Tensor, draws: int) -> int:
    """In how many parts that many draws of z for each of x are decoded."""
    decoded = draws * x.nbytes * model.likelihood.per_value
    return 1 if x.device.type != "cpu" else math.ceil(decoded / CACHE)


def bound(model: Autoencoder, batches: Batches, count: int, samples: int, repeats: int, seed: int) -> Bound:
    """The bound over all `count` images that `batches` gives each time it is called, `STRIDE` at a time.

    Draws depend on `seed` and an image's place among them. More at a time need more memory, and have other draws.
    """

    def of(x: Tensor, x_noisy: Tensor, repeat: int, index: int) -> tuple[Tensor, Tensor]:
        rng = generator(x.device, "importance", seed, repeat, index)
        found = log_marginal(model, x, x_noisy, samples, rng)
        return found[0].cpu(), found[1].cpu()

    calls = (
        functools.partial(of, x, x_noisy, repeat, index)
        for repeat in range(repeats)
        for index, (x, x_noisy, _) in enumerate(batches())
    )
    on_cpu = next(model.parameters()).device.type == "cpu"
    bounds, effective = [], []
    with tqdm(total=count * repeats, unit="image", desc=f"NLL, K = {samples}", disable=None, leave=False) as bar:
        for found in threads.in_parallel(calls) if on_cpu else (call() for call in calls):
            bounds.append(found[0])
            effective.append(found[1])
            bar.update(len(found[0]))
    values, ess = torch.cat(bounds).view(repeats, count), torch.cat(effective).view(repeats, count)
    each = values.mean(0)
    se_draws = None
    if repeats > 1:
        se_draws = standard_error(values.mean(1))
    elif samples > 1:
        # Var(log mean w) ≈ Var(w)/(K·E[w]²) = 1/ESS − 1/K for each image (the delta method).
        se_draws = (1 / ess - 1 / samples).clamp_min(0).sum().sqrt().item() / count
    scarce = (ess < ENOUGH).double().mean().item()
    return Bound(-each.mean().item(), standard_error(each), se_draws, ess.median().item(), scarce)
