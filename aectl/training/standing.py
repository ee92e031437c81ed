"""How a run stands beside what takes no learning: the mean image, and a network before its first step."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aectl.data.images import Images
from aectl.measuring import advice, baselines
from aectl.measuring.scoring import batches
from aectl.models.base import Model
from aectl.runs.config import TrainConfig
from aectl.training.lines import nats

Record = dict[str, Any]  # of an epoch


@dataclass(frozen=True)
class Bounds:
    """Recon, nats per image, of what takes no learning.

    Attributes:
        mean_image: where every reconstruction is the mean training image.
        far: twice as far from that as what a network gives before its first step; no way to learn leads there.
        start: of that network with σ as it starts, where it learns; `far` has the σ that fits.
        words: `mean_image` per pixel, in the words of courses.
    """

    mean_image: float
    far: float
    start: float
    words: str

    @property
    def said(self) -> str:
        """`mean_image` in words."""
        per_image = f"{self.mean_image:.2f} ({self.words})"
        return f"{per_image}, which the mean training image has in place of every reconstruction"

    @property
    def first(self) -> float:
        """What a first epoch may come to: its decoder has seen few draws of z, its σ has only begun to fit."""
        return max(self.start, self.mean_image + 5 * (self.far - self.mean_image))

    def exploded(self, recon: float, best: float) -> bool:
        """Whether recon is far off and grows, or is worse than the mean image by more than `best` was better."""
        margin = max(self.mean_image - best, (self.far - self.mean_image) / 20)
        return recon > max(self.far, best) or best < self.mean_image < recon - margin


def bounds_of(model: Model, config: TrainConfig, train: Images, images: Images, device: torch.device) -> Bounds:
    """Those of `images`; `train` has the mean image."""
    likelihood = model.likelihood
    mean_image = baselines.constant_recon(likelihood, likelihood.inverse_mean(train.mean()), images)
    fitted = untrained(model, config, images, device, likelihood.fitted_recon)
    start = untrained(model, config, images, device, config.model.scored_by(config, train.shape[0]).first_recon)
    words = likelihood.per_pixel(mean_image / math.prod(train.shape)).partition(", σ")[0]
    return Bounds(mean_image, mean_image + 2 * max(fitted - mean_image, 0), start, words)


@torch.inference_mode()
def untrained(
    model: Model,
    config: TrainConfig,
    images: Images,
    device: torch.device,
    recon: Callable[[Iterable[tuple[Tensor, Tensor]]], float],
) -> float:
    """Recon before the first step, nats per image, as `recon` makes it of images and what is decoded for them."""
    triples = batches(images, config.noise, device, config.seed)
    return recon((x, model.untrained(noisy)) for x, noisy, _ in triples)


def recon_of(record: Record) -> float:
    """An epoch's reconstruction, of validation images where there are any, in nats per image."""
    recon = record.get("val/recon" if "val/loss" in record else "train/recon")
    return math.inf if recon is None or math.isnan(recon) else recon


class Alarm:
    """Says of a run that it explodes, once, at the epoch that shows it."""

    def __init__(self) -> None:
        self.best: float | None = None
        self.rung = False

    def hear(self, earlier: Sequence[Record]) -> None:
        """Of the epochs before those that are looked at."""
        self.best = min(map(recon_of, earlier), default=None)

    def look(self, record: Record, bounds: Bounds, config: TrainConfig) -> str | None:
        """What to say of an epoch, if anything."""
        recon = recon_of(record)
        before = bounds.first if self.best is None else self.best
        self.best = min(before, recon)
        if self.rung or not bounds.exploded(recon, before):
            return None
        self.rung = True
        tips = advice.words(advice.against_divergence(config))
        return f"epoch {record['epoch']}: it explodes: recon {nats(recon)} is worse than {bounds.said}; {tips}"


def verdict(config: TrainConfig, chosen: Record, records: Sequence[Record], bounds: Bounds) -> str | None:
    """What to know of a run that is no better than the mean image, or not any more; `chosen` is its best epoch."""
    best, last = recon_of(chosen), recon_of(records[-1])
    if best > bounds.far or last >= bounds.mean_image > best:
        when = f" after its best epoch, {chosen['epoch']}" if best < bounds.mean_image else ""
        tips = advice.words(advice.against_divergence(config))
        return f"it diverged{when}: recon came to {nats(last)}, worse than {bounds.said}; {tips}"
    if best >= bounds.mean_image:
        recons = [record.get("train/recon") for record in records]
        tips = advice.words(advice.against_not_learning(config, recons, chosen.get("val/active_units")))
        return f"it has not learnt: recon {nats(best)} is no better than {bounds.said}; {tips}"
    return None
