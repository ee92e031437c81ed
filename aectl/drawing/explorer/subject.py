"""What the page is about: a model with its images, and what their codes are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from aectl.data.images import Images, Split, to_float
from aectl.drawing import planes
from aectl.measuring.scoring import carried, codes_of
from aectl.models.autoencoder import Autoencoder
from aectl.models.posteriors import Code
from aectl.runs.config import TrainConfig

SHOWN, TRAIN = 1000, 2000  # images, at most
REACH = 3.0  # standard deviations of the prior that are always in view


@dataclass(frozen=True)
class Subject:
    """A trained run as the page shows it.

    Attributes:
        config: of the run.
        model: its own; it has a code.
        record: the figures of the epoch whose weights the model has, by the names of metrics.jsonl.
        shown: images whose codes are points of the plane.
        part: their name, such as validation.
        train: training images, for the nearest of a place; perhaps none.
        of_train: how many images it was trained on, and `of_shown` how many the part has.
        device: where the model is.
    """

    config: TrainConfig
    model: Autoencoder
    record: Mapping[str, Any]
    shown: Images
    part: str
    of_shown: int
    train: Images
    of_train: int
    device: torch.device

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.shown.shape

    @cached_property
    @torch.inference_mode()
    def code(self) -> Code:
        """q(z|x) of the shown images, clean; (N, K) on the CPU."""
        found = [self.model.encode(to_float(part.to(self.device))) for part in self.shown.chunks(500)]
        return Code.cat(found)

    @cached_property
    def train_codes(self) -> Tensor:
        """Codes of the training images, (M, K)."""
        if not len(self.train):
            return torch.zeros(0, self.model.latent)
        return codes_of(self.model, self.train, self.device)

    @cached_property
    def weights(self) -> tuple[Tensor, str]:
        """What each latent carries, (K,), and what it is: its KL in nats, or the variance of the codes."""
        return carried(self.code, self.model.prior)

    @cached_property
    def order(self) -> list[int]:
        """The latents, those that carry most first."""
        return self.weights[0].argsort(descending=True, stable=True).tolist()

    @cached_property
    def middle(self) -> Tensor:
        """Where latents are that nobody moves, (K,): the prior's median, or without one the mean code."""
        return planes.middle(self.code.mu, self.model.prior)

    @cached_property
    def ranges(self) -> Tensor:
        """The least and the greatest value of each latent in view, (K, 2): the codes and 3 σ of the prior."""
        codes = torch.cat([self.code.mu.float(), self.train_codes.float()])
        low, high = codes.amin(0), codes.amax(0)
        if self.model.prior is not None:
            share = torch.special.ndtr(torch.tensor([-REACH, REACH], dtype=torch.float64))
            ends = self.model.prior.quantiles(share).float()
            low, high = torch.minimum(low, ends[0]), torch.maximum(high, ends[1])
        margin = 0.04 * (high - low).clamp_min(1e-3)
        return torch.stack([low - margin, high + margin], dim=1)

    def decoded(self, z: Tensor) -> Tensor:
        """x̂ of codes (N, K): (N, C, H, W) on the CPU."""
        with torch.inference_mode():
            return torch.cat([self.model.decode(some.to(self.device)).cpu() for some in z.float().split(500)])


def subject_of(
    config: TrainConfig, model: Autoencoder, record: Mapping[str, Any], data: Split, device: torch.device
) -> Subject:
    """A run with at most `SHOWN` validation images, or training images where it has none, and `TRAIN` of those."""
    train = data.train.spread(TRAIN) if isinstance(data.train, Images) else data.train
    train = train.drawn_once("explorer")
    part, shown = ("validation", data.val) if len(data.val) else ("training", train)
    sizes = {"of_shown": len(data.val) or len(data.train), "of_train": len(data.train)}
    few = {"shown": shown.spread(SHOWN), "train": train.spread(TRAIN)}
    return Subject(config, model, record, part=part, device=device, **few, **sizes)
