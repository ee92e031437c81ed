"""Several processes as one run, under `torchrun -m aectl train`: each computes its share of every batch.

torchrun starts the processes and tells each its rank; DistributedDataParallel averages their gradients. Everything
random is drawn for the whole batch by each of them and then shared out, so that a run does not depend on how many
they are, but for the order in which sums are rounded. Only the first process writes.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aectl import torchrun
from aectl.errors import ConfigError, brief


@dataclass(frozen=True)
class Share:
    """Which images of a batch a process computes.

    Attributes:
        rows: its images; one that counts for nothing where there are fewer images than processes.
        count: how many count.
        weight: what the gradient of their mean loss is multiplied by, a scalar, so that its mean over processes is
            that of the whole batch; None for 1.
    """

    rows: slice
    count: int
    weight: Tensor | None = None

    def of(self, x: Tensor, x_noisy: Tensor, eps: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Its part of a whole batch: of (N, C, H, W) twice, and of what is drawn for it, (S, N, K)."""
        if self.weight is None:
            return x, x_noisy, eps
        return x[self.rows], x_noisy[self.rows], None if eps is None else eps[:, self.rows]


@dataclass(frozen=True)
class World:
    """The processes of a run; one alone unless torchrun has started more."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, total: int, device: torch.device) -> Share:
        """What part of a batch of `total` images this process computes."""
        if self.size == 1:
            return Share(slice(None), total)
        start, end = (total * rank // self.size for rank in (self.rank, self.rank + 1))
        weight = torch.tensor((end - start) * self.size / total, device=device)
        rows = slice(start, end) if end > start else slice(0, 1)
        return Share(rows, end - start, weight)

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model, made to average its gradients over the processes."""
        if self.size == 1:
            return model
        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids, gradient_as_bucket_view=True)

    def total(self, values: Tensor) -> Tensor:
        """The sum of every process's `values`; all must ask at the same time."""
        if self.size == 1:
            return values
        values = values.clone()
        torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether some process says so; all must ask at the same time."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(int(flag))).item())

    def as_first(self, value: float) -> float:
        """The first process's `value`; all must ask at the same time."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        torch.distributed.broadcast(shared, 0)
        return shared.item()

    def wait(self) -> None:
        """Go on once every process has come here."""
        if self.size > 1:
            torch.distributed.barrier()

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first process through the block before the others, who then find what it has downloaded."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


def world() -> World:
    """The processes that `join` has joined."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return World(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return World()


def join(text: str) -> str:
    """Meet the other processes, and return the first one's `text`, which is as long as everybody's.

    Raises:
        ConfigError: they cannot be met where torchrun says that they are.
    """
    if torch.cuda.is_available():
        torch.cuda.set_device(torchrun.started().local)
    try:
        torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"MASTER_ADDR and MASTER_PORT: no other process can be met there ({brief(error)}); torchrun sets them"
        ) from None
    letters = torch.tensor(list(text.encode()), dtype=torch.uint8)
    torch.distributed.broadcast(letters, 0)
    return bytes(letters.tolist()).decode()


def leave() -> None:
    """Part from the other processes, if there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
