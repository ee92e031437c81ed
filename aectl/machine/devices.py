"""Which device a command runs on, with how many threads and in which precision."""

import os
import shutil
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from aectl import torchrun
from aectl.errors import ConfigError, DeviceError
from aectl.machine.threads import compute_with


def choose(name: str, threads: int | None = None) -> torch.device:
    """The device of that name, `auto` being cuda, then mps, then cpu; the CPU computes with `threads` from now on.

    None: with as many as have a core to themselves, see `aectl.machine.threads`.

    Raises:
        DeviceError: it is not there.
    """
    compute_with(threads)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, is_there in available.items() if is_there)
        raise DeviceError(f"device={name}: not available here (available: {there}); leave it at device=auto")
    if name == "cuda" and (started := torchrun.started()).size > 1:  # a device for each process of this machine
        return torch.device("cuda", started.local)
    return torch.device(name)


def has_room(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images may live on `device`: on a GPU, half of what is free there."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2


def precision(device: torch.device, name: str) -> AbstractContextManager:
    """A context in which networks compute as `name` says: in float32, or `bf16`.

    In bf16 the inputs of matrix products and convolutions are rounded to bfloat16 (8 bits of mantissa); weights,
    optimizer, likelihood and KL stay in float32.
    """
    return torch.autocast(device.type, torch.bfloat16) if name == "bf16" else nullcontext()


def bf16_instructions() -> set[str]:
    """Which instructions for bfloat16 this processor has: of `amx_bf16`, `avx512_bf16`, and ARM's `bf16`."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return {name for name in ("amx_bf16", "avx512_bf16", "bf16") if found.get(name)}
    # Before torch 2.11, and for x86 alone; AMX' tiles came with its bfloat16.
    checks = {"amx_bf16": torch.cpu._is_amx_tile_supported, "avx512_bf16": torch.cpu._is_avx512_bf16_supported}
    return {name for name, check in checks.items() if check()}


def emulates_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is emulated on `device`, many times slower than float32."""
    if device.type == "cuda":
        return not torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and not bf16_instructions()


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """The network through `torch.compile`, which takes some seconds in its first steps.

    Raises:
        ConfigError: there is no C++ compiler, which it needs on a CPU.
    """
    compilers = (os.environ.get("CXX"), "g++", "clang++")
    if device.type == "cpu" and not any(name and shutil.which(name) for name in compilers):
        raise ConfigError("execution=compile: needs a C++ compiler here, and g++ is not on the PATH; use eager")
    return torch.compile(network)
