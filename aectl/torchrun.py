"""What torchrun tells a process that it has started: how many there are, and which of them it is. No torch."""

import os
import re
from dataclasses import dataclass

from aectl.errors import ConfigError

MOST = 2**16 - 1  # ports; and processes are fewer
REMEDY = "torchrun sets it (torchrun -m aectl train ...); without torchrun, unset WORLD_SIZE"


@dataclass(frozen=True)
class Started:
    """One of `size` processes, the `rank`-th of them from 0 on, and the `local`-th of its machine."""

    rank: int = 0
    size: int = 1
    local: int = 0


def processes() -> int:
    """How many there are; 1 where the environment says nothing.

    Raises:
        ConfigError: what it says is no number of processes.
    """
    return _number("WORLD_SIZE", 1, MOST) if os.environ.get("WORLD_SIZE") else 1


def started() -> Started:
    """Which of how many this process is; the only one where the environment says nothing of several.

    Raises:
        ConfigError: it says what cannot be, or half of it.
    """
    if (size := processes()) == 1:
        return Started()
    rank, local = _number("RANK", 0, size - 1), _number("LOCAL_RANK", 0, size - 1)
    _number("MASTER_PORT", 1, MOST)
    if not os.environ.get("MASTER_ADDR"):
        raise ConfigError(f"WORLD_SIZE={size} without MASTER_ADDR: {REMEDY}")
    return Started(rank, size, local)


def my_rank() -> int:
    """Which process this is; 0 where that cannot be said."""
    try:
        return started().rank
    except ConfigError:
        return 0


def _number(name: str, least: int, most: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        raise ConfigError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} without {name}: {REMEDY}")
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise ConfigError(f"{name}={text}: must be a number from {least} to {most}; {REMEDY}")
    return int(text)
