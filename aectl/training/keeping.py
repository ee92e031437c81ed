"""Checkpoints of a run in training: saved, verified, and taken up again."""

import logging
import platform
from concurrent.futures import Future, ThreadPoolExecutor
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
from aectl.runs.records import Environment, Progress
from aectl.settings import typed
from aectl.training.adam import STATE, Adam
from aectl.training.processes import World
from aectl.training.running import Running

KEEP = 2  # checkpoints beside the best

log = logging.getLogger(__name__)


@dataclass
class Keeper:
    """What a checkpoint has of a run in training, for images of `shape`, and where it goes.

    A checkpoint is written, flushed and read back while the steps after it are taken, from a copy: that takes as long
    as a tenth of a small run's epoch. `batched`: whether its steps are taken with others; `kept`: steps of the newest
    checkpoints.
    """

    run_dir: Path
    config: TrainConfig
    shape: Shape
    model: Model
    adam: Adam
    running: Running
    world: World
    batched: bool = False
    kept: list[int] = field(default_factory=list)
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _writing: Future[None] | None = None
    _left: set[str] = field(default_factory=set)  # what could not be removed, and was said

    def keep(self, progress: Progress) -> None:
        """Begin a checkpoint of this moment; older ones but the best are removed once it is whole.

        Of several processes the first writes it, and all must call. `settle` waits for it.
        """
        sums = self.world.total(self.running.sums)
        self.settle()
        self.kept = [*self.kept, progress.step][-KEEP:]
        if self.world.first:
            tensors = {
                f"adam/{name}/{key}": value for name, of in self.adam.state.items() for key, value in of.items()
            }
            of_now = (
                progress.step,
                _copied(self.model.state_dict()),
                {"train": typed.to_dict(self.config), "shape": list(self.shape)},
                _copied({**tensors, "sums": sums}),
                {**asdict(progress), "environment": asdict(self._environment())},
            )
            best = progress.best
            staying = [*self.kept, *([best.step] if best else [])]
            self._writing = self._writer.submit(
                _write, layout.checkpoints_of(self.run_dir), of_now, staying, self._left
            )

    def settle(self) -> None:
        """Wait until the newest checkpoint is whole; of several processes all must call.

        Raises:
            OSError, StorageError: it could not be kept; those before it are untouched.
        """
        self.look(wait=True)
        self.world.wait()  # one that ended now would have torchrun end the first as well

    def look(self, *, wait: bool = False) -> None:
        """Raise what kept the newest checkpoint from being written, if that is known by now."""
        writing = self._writing
        if writing is not None and (wait or writing.done()):
            self._writing = None
            writing.result()

    def close(self) -> None:
        """Wait for what is being written, however it ends: nobody else may write into the folder before."""
        self._writer.shutdown()

    def restore(self, saved: checkpoint.Checkpoint) -> Progress:
        """Optimizer and running sums as they were at a checkpoint, and where the run stood."""
        self.kept.append(checkpoint.step_of(saved.path))
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
        before, now = vars(opening.environment_of(saved)), vars(self._environment())
        changed = [f"{key} {before[key]} → {now[key]}" for key in now if before[key] != now[key]]
        if changed:
            log.warning("resuming elsewhere than before (%s): not exact to the last bit", ", ".join(changed))
        return opening.read_progress(saved)

    def _environment(self) -> Environment:
        """What the last bits of a result depend on."""
        return Environment(
            aectl=__version__,
            torch=str(torch.__version__),
            python=platform.python_version(),
            machine=platform.machine(),
            device=self.running.sums.device.type,
            processes=self.world.size,
            threads=torch.get_num_threads(),
            batched=self.batched,
        )


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """As they are now, on the CPU: the next steps change them in place."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _write(folder: Path, of_now: tuple[Any, ...], staying: list[int], left: set[str]) -> None:
    """Save what `checkpoint.save` takes, read it back, and only then remove all checkpoints but those `staying`."""
    path = checkpoint.save(folder, *of_now)
    try:
        checkpoint.verify(path)
    except CheckpointError as error:
        raise StorageError(f"the storage did not keep what was saved: {error}") from None
    for error in checkpoint.rotate(folder, staying):
        if error.filename not in left:
            left.add(error.filename)
            log.warning("note: %s cannot be removed (%s), and is in nobody's way", error.filename, error.strerror)
