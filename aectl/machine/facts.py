"""What figures were made with: the versions of the software, and the machine."""

import os
import platform
from pathlib import Path

import torch

from aectl import __version__


def processor() -> str:
    """How many cores of what, as far as the system says."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    count = os.cpu_count() or 1
    return f"{count} core{'' if count == 1 else 's'} of {model}"


def software() -> str:
    """`aectl 0.1.0, torch 2.13.0, Python 3.11.7`."""
    return f"aectl {__version__}, torch {torch.__version__}, Python {platform.python_version()}"


def hardware(device: torch.device) -> str:
    """What computes on `device`, and in which machine."""
    where = f"{processor()}, {platform.system()}"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} in a machine with {where}"
    threads = torch.get_num_threads()
    if device.type == "cpu":
        return f"{where}, {threads} thread{'' if threads == 1 else 's'}"
    return f"{device.type} of {where}"
