"""Which device a command runs on, with how many threads and in which precision."""

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from aectl.errors import DeviceError


def choose(name: str, threads: int | None = None) -> torch.device:
    """The device of that name, `auto` being cuda, then mps, then cpu; sets the number of CPU threads if given.

    Raises:
        DeviceError: it is not there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise DeviceError(f"device={name}: not available here (available: {there}); leave it at device=auto")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun's: a device for each process of this machine
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def precision(device: torch.device, name: str) -> AbstractContextManager:
    """A context in which networks compute as `name` says: in float32, or `bf16`.

    In bf16 the inputs of matrix products and convolutions are rounded to bfloat16 (8 bits of mantissa); weights,
    optimizer, likelihood and KL stay in float32.
    """
    return torch.autocast(device.type, torch.bfloat16) if name == "bf16" else nullcontext()
