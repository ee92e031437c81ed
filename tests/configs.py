"""Settings as the YAML files have them, for tests without a command line."""

import copy
import dataclasses
import functools
from typing import Any

from aectl.cli.composing import composed
from aectl.runs.config import TrainConfig


@functools.cache
def _composed(command: str, *overrides: str) -> Any:
    return composed(command, *overrides)


def of(command: str, *overrides: str, **changes: Any) -> Any:
    """The settings of a command, some of them changed."""
    return dataclasses.replace(copy.deepcopy(_composed(command, *overrides)), **changes)


def train_config(**changes: Any) -> TrainConfig:
    """An autoencoder's that leaves no page, some of them changed."""
    return of("train", "model=ae", "explore=false", **changes)
