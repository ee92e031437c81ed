"""Runs on disk: finding one, and opening it as a model ready for use."""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from aectl import checkpoint, config
from aectl.checkpoint import Checkpoint
from aectl.config import TrainConfig
from aectl.errors import CheckpointError, UserError
from aectl.models import Autoencoder, build_model
from aectl.networks import Shape

OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class Run:
    """A trained run, opened: its configuration, the model in evaluation mode, and where it came from."""

    path: Path
    checkpoint: Checkpoint
    config: TrainConfig
    shape: Shape
    model: Autoencoder

    @property
    def title(self) -> str:
        """One line that says what was opened."""
        state = self.checkpoint.state
        return f"{self.path} at step {state['step']} (epoch {state['epoch']})"


def checkpoints_of(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / "checkpoints"


def locate(run: str) -> Path | None:
    """The run folder that `run` names: a run folder, a checkpoint folder, or `latest`; None where there is none.

    `latest` is the run below `outputs/train` or `outputs/multirun` with the newest checkpoint.
    """
    if run == "latest":
        found = [
            *OUTPUTS.glob("train/*/checkpoints/step-*"),
            *OUTPUTS.glob("multirun/*/*/checkpoints/step-*"),
        ]
        newest = max(found, key=lambda path: path.stat().st_mtime_ns, default=None)
        return newest.parent.parent if newest else None
    path = Path(run).expanduser()
    if checkpoint.step_of(path) >= 0 and path.parent.name == "checkpoints":
        return path.parent.parent
    return path if path.is_dir() else None


def open_run(run: str, which: str, device: torch.device) -> Run:
    """Open the run that `run` names with its `best` or `last` checkpoint; a checkpoint folder is itself the choice.

    Raises:
        CheckpointError: no such run, or no checkpoint of it is whole, or it does not fit its own configuration.
    """
    path = Path(run).expanduser()
    if run != "latest" and (path / checkpoint.MANIFEST).is_file():
        saved = checkpoint.load(path)
        folder = path
    else:
        located = locate(run)
        if located is None:
            where = "below outputs/ of this folder" if run == "latest" else "there"
            raise CheckpointError(f"run={run}: no trained run {where}; train one (aectl train) or give its folder")
        folder = located
        saved, _ = checkpoint.newest(checkpoints_of(folder))
        best = saved.state.get("best")
        if which == "best" and best and best["step"] != saved.state["step"]:
            saved = checkpoint.load(checkpoints_of(folder) / checkpoint.name_of(best["step"]))
    settings, shape = read_config(saved)
    return Run(folder, saved, settings, shape, restore(saved, settings, shape).to(device).eval())


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CheckpointError(f"{run_dir}: another process is training this run; wait for it to end") from None
        yield


def read_config(saved: Checkpoint) -> tuple[TrainConfig, Shape]:
    """The configuration and the image shape of a checkpoint, checked as a command line would be."""
    where = saved.path / "config.json"
    try:
        shape = saved.config["shape"]
        if not (
            isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and 1 <= n <= 65536 for n in shape)
        ):
            raise ValueError("shape: must be [channels, height, width]")
        settings = config.from_dict(TrainConfig, saved.config["train"], "train")
        config.check(settings)
    except (KeyError, UserError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{where}: {what}") from None
    return settings, tuple(shape)


def restore(saved: Checkpoint, settings: TrainConfig, shape: Shape) -> Autoencoder:
    """The checkpoint's model with its weights.

    The model is laid out without memory first, so a configuration that asks for more than the file holds is
    refused before anything is allocated.
    """
    where = saved.path / "model.safetensors"
    with torch.device("meta"):
        model = build_model(settings, shape)
    expected = model.state_dict()
    if sorted(expected) != sorted(saved.model):
        odd = sorted(set(expected) ^ set(saved.model))[0]
        raise CheckpointError(f"{where}: does not fit config.json: {odd} is in only one of the two")
    for name, tensor in saved.model.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise CheckpointError(
                f"{where}: {name} is {tuple(tensor.shape)} {tensor.dtype}, and config.json wants "
                f"{tuple(expected[name].shape)} {expected[name].dtype}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{where}: {name} has values that are not finite")
    # Cloned into memory that torch aligns itself: how a product rounds may depend on the alignment.
    model.load_state_dict({name: tensor.clone() for name, tensor in saved.model.items()}, assign=True)
    return model
