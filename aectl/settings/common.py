"""Settings that several commands share, and the check that all of them pass."""

from dataclasses import dataclass, field
from typing import Any

from aectl.settings import ranges
from aectl.settings.typed import paths_of

DEVICES = ("auto", "cpu", "cuda", "mps")
ON_BAD = ("stop", "skip")
PATH = {"path": True}  # the metadata of a setting that is a path


@dataclass
class DataConfig:
    """`root`: where downloaded data sets live; null means $AECTL_DATA, else the user's cache folder.

    `memory_gb`: decoded pictures larger than that stay in their file and are mapped into memory.
    """

    root: str | None = field(metadata=PATH)
    memory_gb: float


def check(config: Any) -> None:
    """Raise `ConfigError` for the first value of a command's settings out of its range; no file is touched."""
    for key, value in paths_of(config).items():
        ranges.path(key, value)
    config.check()


def check_machine(config: Any) -> None:
    """Where it computes, where data is, and the seed."""
    ranges.choice("device", config.device, DEVICES)
    ranges.number("threads", config.threads, 1, 1024)
    ranges.number("data.memory_gb", config.data.memory_gb, 0)
    ranges.number("seed", config.seed, 0, 2**63 - 1)
