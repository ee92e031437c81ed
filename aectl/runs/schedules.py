"""Numbers that change while a run trains: the weight on the KL, and the learning rate.

Adding a schedule of the learning rate: a class here, its name in `SCHEDULES` at the foot, and
`configs/schedule/<name>.yaml`.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from aectl.runs.schema import TrainSchema
from aectl.settings.choices import Choice, Range, Table
from aectl.settings.ranges import fail

MOST = 100  # steps of a schedule


def kl_weight_at(step: int, steps_per_epoch: int, config: TrainSchema) -> float:
    """β in force at optimizer step `step` (from 0): rises linearly over the warm-up, then stays `kl_weight`."""
    warmup = config.kl_warmup * steps_per_epoch
    return config.kl_weight if step >= warmup else config.kl_weight * step / warmup


def lr_at(step: int, steps_per_epoch: int, config: TrainSchema) -> float:
    """The learning rate at optimizer step `step` (from 0)."""
    return config.lr * config.schedule.share(step, steps_per_epoch, config.epochs)


class Schedule(Choice):
    """How the learning rate goes on from `lr`."""

    group: ClassVar[str] = "schedule"

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """What is left of `lr` at optimizer step `step`, from 0, of a run of `epochs`."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """`lr` throughout."""

    name: ClassVar[str] = "constant"

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """All of it."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine from `lr` down to 0 at the run's end (Loshchilov & Hutter, 2017, without restarts)."""

    name: ClassVar[str] = "cosine"

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """From 1 to 0."""
        return 0.5 * (1 + math.cos(math.pi * step / (steps_per_epoch * epochs)))


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """Times `factor` at the end of each epoch of `after`."""

    name: ClassVar[str] = "steps"
    after: list[int]
    factor: Annotated[float, Range(0, 10, open_low=True)]

    def check(self) -> None:
        """Refuse epochs that do not rise, or are too many for a power of `factor`."""
        if min(self.after, default=0) < 1 or self.after != sorted(set(self.after)):
            fail("schedule.after", self.after, "give epochs of at least 1 in rising order, such as [20,30]")
        if len(self.after) > MOST:
            fail("schedule.after", self.after, f"at most {MOST} epochs")

    def share(self, step: int, steps_per_epoch: int, epochs: int) -> float:
        """`factor` to the power of how many such epochs have ended."""
        return self.factor ** sum(step >= epoch * steps_per_epoch for epoch in self.after)


# What `schedule=` takes.
SCHEDULES = Table(Schedule, Constant, Cosine, Steps)
