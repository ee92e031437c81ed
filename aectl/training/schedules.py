"""Numbers that change while a run trains: the weight on the KL and the learning rate."""

import math

from aectl.runs.schema import TrainSchema


def kl_weight_at(step: int, steps_per_epoch: int, config: TrainSchema) -> float:
    """β in force at optimizer step `step` (from 0): rises linearly over the warm-up, then stays `kl_weight`."""
    warmup = config.kl_warmup * steps_per_epoch
    return config.kl_weight if step >= warmup else config.kl_weight * step / warmup


def lr_at(step: int, steps_per_epoch: int, config: TrainSchema) -> float:
    """The learning rate at optimizer step `step` (from 0).

    `constant`; `cosine`: half a cosine from `lr` to 0 at the run's end; `steps`: times `lr_factor` at the end of
    each epoch of `lr_steps`.
    """
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * step / (steps_per_epoch * config.epochs)))
    passed = sum(step >= epoch * steps_per_epoch for epoch in config.lr_steps or ())
    return config.lr * config.lr_factor**passed
