"""Checkpoints of a run in training: saved, verified, and taken up again."""

import logging
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aectl import __version__
from aectl.errors import CheckpointError, StorageError
from aectl.models.base import Model
from aectl.models.networks.layers import Shape
from aectl.runs import checkpoint, layout, opening
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Progress
from aectl.settings import typed
from aectl.training.adam import STATE, Adam
from aectl.training.processes import World
from aectl.training.running import Running

KEEP = 2  # checkpoints beside the best

log = logging.getLogger(__name__)


@dataclass
class Keeper:
    """What a checkpoint has of a run in training, for images of `shape`, and where it goes.

    `batched`: whether its steps are taken with others; `verified`: steps of the newest checkpoints known to be whole.
    """

    run_dir: Path
    config: TrainConfig
    shape: Shape
    model: Model
    adam: Adam
    running: Running
    world: World
    batched: bool = False
    verified: list[int] = field(default_factory=list)

    def keep(self, progress: Progress) -> None:
        """A checkpoint of this moment; older ones but the best are removed once it is whole.

        Of several processes the first writes it, and all must call.
        """
        sums = self.world.total(self.running.sums)
        self.verified = [*self.verified, progress.step][-KEEP:]
        if self.world.first:
            self._write(progress, sums)
        self.world.wait()  # one that ended now would have torchrun end the first as well

    def _write(self, progress: Progress, sums: Tensor) -> None:
        tensors = {f"adam/{name}/{key}": value for name, of in self.adam.state.items() for key, value in of.items()}
        folder = layout.checkpoints_of(self.run_dir)
        path = checkpoint.save(
            folder,
            progress.step,
            self.model.state_dict(),
            {"train": typed.to_dict(self.config), "shape": list(self.shape)},
            {**tensors, "sums": sums},
            {**asdict(progress), "environment": self._environment()},
        )
        try:
            checkpoint.verify(path)  # read back before an older one goes
        except CheckpointError as error:
            raise StorageError(f"the storage did not keep what was saved: {error}") from None
        best = progress.best
        checkpoint.rotate(folder, [*self.verified, *([best.step] if best else [])])

    def restore(self, saved: checkpoint.Checkpoint) -> Progress:
        """Optimizer and running sums as they were at a checkpoint, and where the run stood."""
        self.verified.append(checkpoint.step_of(saved.path))
        where = saved.path / "trainer.safetensors"
        tensors = dict(saved.trainer)
        try:
            sums, ours = tensors.pop("sums"), self.running.sums
            if sums.ndim != 1 or len(sums) < len(ours):
                raise CheckpointError(f"{where}: sums is {tuple(sums.shape)}, and this run needs {len(ours)}")
            if self.world.first:  # they are added up again when they are read
                ours.copy_(sums[: len(ours)])  # an older aectl kept a KL of 0 for an AE
            # None before an older aectl's first step.
            for name, state in self.adam.state.items() if tensors else ():
                for key in STATE:
                    value = tensors.pop(f"adam/{name}/{key}")
                    if value.shape != state[key].shape:
                        raise CheckpointError(f"{where}: the optimizer state of {name} has another shape than {name}")
                    state[key].copy_(value)
        except KeyError as error:
            raise CheckpointError(f"{where}: {error} is missing") from None
        if tensors:
            raise CheckpointError(f"{where}: {min(tensors)} belongs to no parameter")
        before, now = {"batched": False, **(saved.state.get("environment") or {})}, self._environment()
        changed = [f"{key} {before.get(key)} → {now[key]}" for key in now if before.get(key) != now[key]]
        if changed:
            log.warning("resuming elsewhere than before (%s): not exact to the last bit", ", ".join(changed))
        return opening.read_progress(saved)

    def _environment(self) -> dict[str, Any]:
        """What the last bits of a result depend on."""
        return {
            "aectl": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "device": self.running.sums.device.type,
            "processes": self.world.size,
            "threads": torch.get_num_threads(),
            "batched": self.batched,
        }
