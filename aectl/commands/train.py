"""`aectl train`: a run from its first step, or one that is gone on with."""

from collections.abc import Sequence
from pathlib import Path

from aectl.errors import ConfigError
from aectl.runs import sweeps
from aectl.runs.config import TrainConfig
from aectl.runs.schema import RESUMABLE
from aectl.training.loop import train


def run_train(config: TrainConfig, folder: Path, *, overrides: Sequence[str], line: str, in_sweep: bool) -> float:
    """Train in `folder`; of a sweep that is gone on with, what is missing alone.

    Args:
        config: what defines the run.
        folder: where everything that it makes goes.
        overrides: those of the command line, as Hydra has them.
        line: the command line.
        in_sweep: whether this is a job of a sweep.

    Returns:
        What `aectl.training.loop.train` returns.
    """
    done = take_up(config, folder, overrides, in_sweep=in_sweep)
    return train(config, folder, overrides=overrides, command=line) if done is None else done


def take_up(config: TrainConfig, folder: Path, overrides: Sequence[str], *, in_sweep: bool) -> float | None:
    """The result of a job that an earlier command has completed, else None; one that it has begun will be resumed."""
    if config.resume is not None:
        _check_resume(overrides)
    if config.sweep.resume is not None:
        if not in_sweep:
            raise ConfigError(f"sweep.resume={config.sweep.resume}: goes with -m; a single run has resume=<run>")
        config.sweep.resume = None
        found = sweeps.begun(folder, config)
        if found is not None and found.get("status") == "completed":
            return found["objective"]
        if found is not None:
            config.resume = str(folder)
    return None


def _check_resume(overrides: Sequence[str]) -> None:
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key not in RESUMABLE:
            raise ConfigError(
                f"{override}: a resumed run keeps its own settings; leave this out "
                f"(with resume= only these may change: {', '.join(RESUMABLE[1:])})"
            )
