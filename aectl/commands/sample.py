"""`aectl sample`: codes chosen by a mode, decoded, and written as a grid and one PNG each."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from aectl import storage
from aectl.commands.schemas import SampleConfig
from aectl.data.images import Split, to_float, to_uint8
from aectl.drawing import grids, plots, views
from aectl.errors import ConfigError, DataError
from aectl.files.pictures import png
from aectl.machine import devices
from aectl.measuring.scoring import codes_of
from aectl.rng import generator
from aectl.runs import sanity
from aectl.runs.opening import Run, open_data, open_run
from aectl.runs.tracking import Tracker

MIXTURE = 10  # Gaussians fitted to the codes of a model without a prior
FROM_PRIOR = ("prior", "grid")  # modes that need no image where there is a prior
REACH = 3.0  # standard deviations to either side in a traversal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawn:
    """What a mode chose to show.

    Attributes:
        codes: (M, K).
        title: says how they were chosen.
        columns: the grid's width, or None for a nearly square one.
        ticks: for a 2-D map, the axes' values and names.
    """

    codes: Tensor
    title: str
    columns: int | None = None
    ticks: tuple[views.Axes, tuple[str, str]] | None = None


@dataclass(frozen=True)
class Origin:
    """A run to draw from, with its data where a mode needs them."""

    run: Run
    data: Split | None
    n: int
    seed: int
    device: torch.device

    def rng(self) -> torch.Generator:
        """A CPU generator, so that equal seeds choose equal codes on every device."""
        return generator("cpu", "sample", self.seed)

    def train_codes(self) -> Tensor:
        """Codes of the training images, (N, K)."""
        assert self.data is not None
        return codes_of(self.run.model, self.data.train, self.device)

    def some_images(self, count: int) -> Tensor:
        """`count` test images, (count, C, H, W) in [0, 1], drawn without replacement as long as they last."""
        assert self.data is not None
        test = self.data.part("test", "choose a mode that starts from no image, such as prior")
        order = torch.randperm(len(test), generator=self.rng())
        return to_float(test[order[torch.arange(count) % len(order)]].pixels)


def run_sample(config: SampleConfig, folder: Path) -> None:
    """Draw images from a run into `folder`: `grid.png`, and `images/0000.png` and so on."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    if run.model.latent is None:
        raise ConfigError(
            f"run={run.path}: network={run.config.network.name} denoises, it has no code to draw; try aectl denoise"
        )
    sanity.watch(run)
    needs_data = run.model.prior is None or config.mode not in FROM_PRIOR
    data = open_data(run, config.data.root) if needs_data else None
    log.info("sampling from %s, %s checkpoint, mode=%s", run.title, config.checkpoint, config.mode)
    drawn = MODES[config.mode](Origin(run, data, config.n, config.seed, device))
    with torch.inference_mode():
        images = torch.cat([run.model.decode(part.to(device)).cpu() for part in drawn.codes.split(500)])
    sanity.check_picture(images, run)
    if drawn.ticks is not None:
        sheet = plots.manifold(images, drawn.ticks[0], drawn.title, drawn.ticks[1])
    else:
        sheet = grids.grid(images, drawn.title, drawn.columns)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(to_uint8(images)):
        storage.replace(folder / "images" / f"{index:04d}.png", png.of_image(pixels.numpy()))
    storage.replace(folder / "grid.png", png.of_plot(sheet))
    tracker = Tracker(folder)
    tracker.picture(f"sample_{config.mode}", sheet, run.progress.step)
    tracker.close()
    log.info("%s", drawn.title)
    log.info("%d images: %s (grid.png, images/)", len(images), folder)


def from_prior(origin: Origin) -> Drawn:
    """Codes from the prior, or from a mixture fitted to the codes of training images."""
    run, n = origin.run, origin.n
    if run.model.prior is not None:
        return Drawn(run.model.prior.sample(n, origin.rng()), f"{n} samples, z ~ {run.model.prior.words}")
    z = from_mixture(origin.train_codes(), n, origin.seed)
    return Drawn(z, f"{n} samples; an AE has no prior: z from a Gaussian mixture fitted to its training codes")


def from_mixture(codes: Tensor, n: int, seed: int) -> Tensor:
    """`n` draws, (n, K), from a Gaussian mixture fitted to `codes` (N, K)."""
    from sklearn.mixture import GaussianMixture

    if len(codes) < 2:
        raise DataError("mode=prior: a mixture needs the codes of two training images at least, and this run has one")
    components = min(MIXTURE, len(codes) // 2)
    mixture = GaussianMixture(components, random_state=seed % 2**32, reg_covar=1e-6)
    mixture.fit(codes.double().numpy())
    drawn, _ = mixture.sample(n)
    order = torch.randperm(n, generator=generator("cpu", "mixture", seed))  # scikit-learn sorts by component
    return torch.from_numpy(drawn).float()[order]


def _grid(origin: Origin) -> Drawn:
    run = origin.run
    if run.config.latent < 2:
        raise ConfigError("mode=grid: needs two latents, and this run has one; use mode=traverse")
    side = max(2, math.isqrt(origin.n))
    prior = run.model.prior
    codes = origin.train_codes() if prior is None else torch.zeros(1, run.model.latent)
    dims = views.widest(codes) if prior is None else (0, 1)
    z, ticks = views.plane(codes, side, prior, dims)
    names = tuple(f"z{index + 1}" for index in dims)
    where = "the codes' range" if prior is None else f"quantiles of {prior.words}"
    return Drawn(z, f"the plane of {names[0]} and {names[1]}, {side}×{side}: {where}", ticks=(ticks, names))


@torch.inference_mode()
def _posterior(origin: Origin) -> Drawn:
    """Rows: one test image each, first its mean code, then draws from q(z|x)."""
    columns = 8
    rows = max(1, origin.n // columns)
    code = origin.run.model.encode(origin.some_images(rows).to(origin.device))
    rng = generator(origin.device, "posterior", origin.seed)
    draws = [code.mu, *code.sample(rng, columns - 1)]
    z = torch.stack(draws, dim=1).flatten(0, 1).cpu()
    title = "draws of z ~ q(z|x), a row for each test image, the mean first"
    if origin.run.model.prior is None:
        title = "codes of test images; an AE's code is a point, so its draws are equal"
    return Drawn(z, title, columns)


def _interpolate(origin: Origin) -> Drawn:
    """Rows: straight lines between the codes of two test images."""
    columns = 8
    rows = max(1, origin.n // columns)
    with torch.inference_mode():
        mu = origin.run.model.encode(origin.some_images(2 * rows).to(origin.device)).mu.cpu()
    weight = torch.linspace(0, 1, columns)[None, :, None]
    z = (1 - weight) * mu[:rows, None] + weight * mu[rows:, None]
    return Drawn(z.flatten(0, 1), "straight lines between the codes of two test images", columns)


def _traverse(origin: Origin) -> Drawn:
    """Rows: one latent each, moved across its range while the others stay."""
    columns = 9
    latent, prior = origin.run.model.latent, origin.run.model.prior
    codes = origin.train_codes()
    count = min(latent, max(1, origin.n // columns))
    chosen = codes.var(0, correction=0).topk(count).indices if latent > 1 else torch.tensor([0])
    steps = torch.linspace(-REACH, REACH, columns, dtype=torch.float64)
    if prior is None:
        values = codes.mean(0) + steps.float()[:, None] * codes.std(0, correction=0)
        ends = f"-{REACH:g} to +{REACH:g} standard deviations"
    else:
        shares = torch.special.ndtr(steps)
        values = prior.quantiles(shares).float()
        ends = f"the {shares[0]:.2%} to the {shares[-1]:.2%} quantile of {prior.words}"
    z = values[columns // 2].repeat(count, columns, 1)
    for row, index in enumerate(chosen.tolist()):
        z[row, :, index] = values[:, index]
    names = ", ".join(f"z{index + 1}" for index in chosen.tolist()[:8]) + (", ..." if count > 8 else "")
    return Drawn(z.flatten(0, 1), f"rows {names}, each from {ends}", columns)


MODES: dict[str, Callable[[Origin], Drawn]] = {
    "prior": from_prior,
    "grid": _grid,
    "posterior": _posterior,
    "interpolate": _interpolate,
    "traverse": _traverse,
}
