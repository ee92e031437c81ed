"""What `aectl sample` can show: codes chosen by a mode from a run and its images, and the sheet of them, decoded."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from aectl.data.images import Images, Split, to_float
from aectl.drawing import grids, planes, plots, views
from aectl.errors import ConfigError, DataError
from aectl.measuring.scoring import carried
from aectl.models.posteriors import Code
from aectl.models.priors import Prior
from aectl.rng import generator
from aectl.runs import schema
from aectl.runs.opening import Run

MIXTURE = 10  # Gaussians fitted to the codes of a model without a prior
REACH = 3.0  # standard deviations to either side in a traversal
STEPS = 9  # of it
COLUMNS, FEWEST = 8, 4  # decoded images in a row, the latter where there are more labels than rows
CHUNK = 500  # images at a time


@dataclass(frozen=True)
class Drawn:
    """What a mode chose to show.

    Attributes:
        codes: (M, K).
        title: says how they were chosen.
        labels: of the rows of a sheet, which all hold as many; none for a nearly square grid.
        heads: of its columns.
        before, after: images (R, C, H, W) at the ends of the rows, which are no decoded ones.
        ticks: for the map of a plane, words along the columns and down the rows, and the axes' names.
    """

    codes: Tensor
    title: str
    labels: Sequence[str] = ()
    heads: Sequence[str] = ()
    before: Tensor | None = None
    after: Tensor | None = None
    ticks: tuple[Sequence[Sequence[str]], tuple[str, str]] | None = None

    def sheet(self, pixels: Tensor) -> views.View:
        """The picture of the decoded images, (M, C, H, W), uint8; of very many the first that it has room for."""
        if not self.labels and self.ticks is None:
            few = min(len(pixels), grids.most(pixels.shape))
            which = f"; the first {few:,}" if few < len(pixels) else ""
            return grids.grid(to_float(pixels[:few]), self.title + which)
        images = to_float(pixels)
        if self.ticks is not None:
            return plots.manifold(images, self.ticks[0], self.title, self.ticks[1])
        lines = images.unflatten(0, (len(self.labels), -1))
        ends = [None if end is None else end[:, None] for end in (self.before, self.after)]
        whole = torch.cat([part for part in (ends[0], lines, ends[1]) if part is not None], dim=1)
        return grids.labelled(list(zip(self.labels, whole, strict=True)), self.title, self.heads)


@dataclass(frozen=True)
class Shown:
    """Images of the test part.

    Attributes:
        pixels: (R, C, H, W) in [0, 1].
        labels: (R,), -1 for none; or None.
        places: in the test part, (R,).
    """

    pixels: Tensor
    labels: Tensor | None
    places: Tensor

    @property
    def names(self) -> list[str]:
        """What they are called beside a picture: by label where there is one, else by place."""
        known = [-1] * len(self.places) if self.labels is None else self.labels.tolist()
        return [f"image {place}" if label < 0 else f"label {label}"
                for place, label in zip(self.places.tolist(), known, strict=True)]  # fmt: skip


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

    @property
    def name(self) -> str:
        """Whose images they are."""
        return schema.caption(self.run.config)

    @torch.inference_mode()
    def train_code(self) -> Code:
        """What the encoder says of the training images, (N, K), on the CPU."""
        assert self.data is not None
        chunks = self.data.train.chunks(CHUNK)
        return Code.cat([self.run.model.encode(to_float(part.to(self.device))) for part in chunks])

    def train_codes(self) -> Tensor:
        """Its means, (N, K)."""
        return self.train_code().mu.float()

    def test(self) -> Images:
        """The test images."""
        assert self.data is not None
        return self.data.part("test", "choose a mode that starts from no image, such as prior")

    def some_images(self, count: int) -> Shown:
        """`count` test images, drawn without replacement as long as they last."""
        return self._shown(self._order()[torch.arange(count) % len(self.test())])

    def of_each_label(self, count: int) -> Shown:
        """`count` test images, as many of each label as of another if they last, in the order of their labels.

        Without labels any of them.
        """
        order, labels = self._order(), self.test().labels
        if labels is None or not (labels >= 0).any():
            return self._shown(order[torch.arange(count) % len(order)])
        order = order[labels[order] >= 0]
        turn = torch.zeros(len(order))  # how many of its label stand before it
        for label in labels[order].unique():
            own = labels[order] == label
            turn[own] = torch.arange(int(own.sum())).float()
        chosen = order[turn.argsort(stable=True)[:count]]
        return self._shown(chosen[labels[chosen].argsort(stable=True)])

    def _order(self) -> Tensor:
        return torch.randperm(len(self.test()), generator=self.rng())

    def _shown(self, places: Tensor) -> Shown:
        chosen = self.test()[places]
        return Shown(to_float(chosen.pixels), chosen.labels, places)


def from_prior(origin: Origin) -> Drawn:
    """Codes from the prior, or from a mixture fitted to the codes of training images."""
    run, n = origin.run, origin.n
    if run.model.prior is not None:
        return Drawn(
            run.model.prior.sample(n, origin.rng()), f"{origin.name}: {n} samples, z ~ {run.model.prior.words}"
        )
    z = from_mixture(origin.train_codes(), n, origin.seed)
    how = "an AE has no prior: z ~ a Gaussian mixture fitted to its training codes"
    return Drawn(z, f"{origin.name}: {n} samples; {how}")


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
    if prior is None:
        codes = origin.train_codes()
        dims = planes.widest(codes)
        plane = planes.spanned(side, codes, dims)
        where, rest = "equal steps from the 1st to the 99th percentile of the training codes", "mean"
        ticks = [[_plain(value) for value in values] for values in (plane.across, plane.down)]
    else:
        dims, plane = (0, 1), planes.quantiles(side, prior)
        where, rest = f"at the quantiles (i + ½)/{side} of {prior.words}: equally likely, not equally far", "median"
        ticks = _shares(plane, side)
    names = tuple(f"z{index + 1}" for index in dims)
    others = "" if run.config.latent == 2 else f"; the other latents at their {rest}"
    return Drawn(
        plane.z, f"{origin.name}: the plane of {names[0]} and {names[1]}\n{where}{others}", ticks=(ticks, names)
    )


def _shares(plane: planes.Plane, side: int) -> list[list[str]]:
    """Values along both axes of a plane of quantiles, each with its quantile."""
    up = planes.shares(side).tolist()
    return [
        [f"{_plain(value)}\n{share:.1%}" for value, share in zip(values, order, strict=True)]
        for values, order in ((plane.across, up), (plane.down, up[::-1]))
    ]


@torch.inference_mode()
def _posterior(origin: Origin) -> Drawn:
    """Rows: one test image each, first its mean code, then draws from q(z|x); one for each label if n allows it."""
    labels = origin.test().labels
    kinds = 0 if labels is None else len(labels[labels >= 0].unique())
    columns = max(FEWEST, min(COLUMNS, origin.n // max(1, kinds)))
    shown = origin.of_each_label(max(1, origin.n // columns))
    code = origin.run.model.encode(shown.pixels.to(origin.device))
    rng = generator(origin.device, "posterior", origin.seed)
    draws = [code.mu, *code.sample(rng, columns - 1)]
    z = torch.stack(draws, dim=1).flatten(0, 1).cpu()
    title = "test images, means and draws of q(z|x), decoded"
    if origin.run.model.prior is None:
        title = "test images and their codes, decoded; an AE's code is a point: its draws are equal"
    heads = ["original", "mean", *(f"draw {number}" for number in range(1, columns))]
    return Drawn(z, f"{origin.name}: {title}", shown.names, heads, before=shown.pixels)


@torch.inference_mode()
def _interpolate(origin: Origin) -> Drawn:
    """Rows: straight lines between the codes of two test images, which stand at the ends."""
    rows = max(1, origin.n // COLUMNS)
    shown = origin.some_images(2 * rows)
    mu = origin.run.model.encode(shown.pixels.to(origin.device)).mu.cpu()
    weight = torch.linspace(0, 1, COLUMNS)
    z = (1 - weight[None, :, None]) * mu[:rows, None] + weight[None, :, None] * mu[rows:, None]
    labels = [f"{start} → {end}" for start, end in zip(shown.names[:rows], shown.names[rows:], strict=True)]
    return Drawn(
        z.flatten(0, 1),
        f"{origin.name}: straight lines between the codes of two test images",
        labels,
        ["original", *(f"{share:.0%}" for share in weight.tolist()), "original"],
        before=shown.pixels[:rows],
        after=shown.pixels[rows:],
    )


def _traverse(origin: Origin) -> Drawn:
    """Rows: one latent each, moved across its range while the others stay.

    Those that tell most come first: by their KL over training images, without one by the variance of their codes.
    """
    latent, prior = origin.run.model.latent, origin.run.model.prior
    code = origin.train_code()
    worth, unit = carried(code, prior)
    words = [f"KL {value:.2f} nats" if unit == "KL" else f"variance {value:.3g}" for value in worth.tolist()]
    count = min(latent, max(1, origin.n // STEPS))
    chosen = worth.topk(count).indices.tolist()
    values, heads, where = _reach(code.mu.float(), prior)
    z = values[STEPS // 2].repeat(count, STEPS, 1)
    for row, index in enumerate(chosen):
        z[row, :, index] = values[:, index]
    which = f"{count} of {latent} latents, a row for each, {where}" if latent > 1 else f"the latent {where}"
    title = f"{origin.name}: {which}"
    return Drawn(z.flatten(0, 1), title, [f"z{index + 1}, {words[index]}" for index in chosen], heads)


def _plain(value: float) -> str:
    """A tick, with a minus as matplotlib writes it."""
    return f"{value:.2f}".replace("-", "−")


def _named(steps: Tensor, middle: str, unit: str) -> list[str]:
    """−3σ ... 0 ... +3σ, with the minus that is as long as a plus."""
    return [f"{step:+g}{unit}".replace("-", "−") if step else middle for step in steps.tolist()]


def _reach(codes: Tensor, prior: Prior | None) -> tuple[Tensor, list[str], str]:
    """Values of each latent at steps across its range, (STEPS, K); the steps' names, and what they are."""
    steps = torch.linspace(-REACH, REACH, STEPS, dtype=torch.float64)
    if prior is None:
        values = codes.mean(0) + steps.float()[:, None] * codes.std(0, correction=0)
        return values, _named(steps, "mean", " sd"), "from −3 to +3 sd of its codes"
    shares = torch.special.ndtr(steps)
    values = prior.quantiles(shares)
    if torch.allclose(values, steps[:, None]):  # its quantiles are those of N(0, 1)
        return values.float(), _named(steps, "0", "σ"), f"from −3σ to +3σ of {prior.words}"
    return values.float(), [f"{share:.2%}" for share in shares], f"by quantiles of {prior.words}"


MODES: dict[str, Callable[[Origin], Drawn]] = {
    "prior": from_prior,
    "grid": _grid,
    "posterior": _posterior,
    "interpolate": _interpolate,
    "traverse": _traverse,
}
