"""`aectl doctor`: what this machine has, and whether the checkpoints of a run are whole."""

import importlib.metadata
import logging
import os
import platform
import shutil
from pathlib import Path

import torch

from aectl import __version__, installed, shell
from aectl.commands.schemas import DoctorConfig
from aectl.data.datasets.official import data_root
from aectl.errors import CheckpointError
from aectl.machine import load
from aectl.runs import checkpoint, finding, layout, locks, opening

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "safetensors", "tensorboard", "numpy", "pillow")

log = logging.getLogger(__name__)


def run_doctor(config: DoctorConfig, folder: Path) -> None:
    """Print what matters to a run here; with a run, read and verify every checkpoint of it.

    Raises:
        CheckpointError: a checkpoint of the run is not whole.
    """
    del folder  # it only looks
    for name, value in machine(data_root(config.data.root)).items():
        log.info("%-12s %s", name, value)
    if config.run is not None:
        _verify_run(config.run)


def machine(root: Path) -> dict[str, str]:
    """Versions, devices, torchvision's state and free space, by name."""
    from aectl.data.datasets._torchvision import EXTENSION_LOADS

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    here, others = Path.cwd(), load.others(load.BEGAN, load.now())
    return {
        "aectl": f"{__version__}, Python {platform.python_version()}, {platform.platform()}",
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "choices": f"of other packages: {', '.join(installed.listed()) or 'none'}",
        "processor": f"{len(load.cores())} cores, of which other processes take {others:.1f} now",
        "devices": ", ".join(["cpu", *cuda, *mps]),
        "torchvision": "operators load" if EXTENSION_LOADS else "operators do not load; aectl works without them",
        "here": f"{here}, {_free(here)}, {'writable' if os.access(here, os.W_OK) else 'NOT writable'}",
        "data.root": f"{root}, {_free(root) if root.is_dir() else 'not there yet'}",
    }


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB free"


def _verify_run(run: str) -> None:
    located = finding.run(run)
    layout.refuse_links(located)
    paths = checkpoint.listing(layout.checkpoints_of(located))
    if not paths:
        raise CheckpointError(f"{located}: has no checkpoint")
    if locks.held(located):
        log.warning("note: %s is still training; these are its checkpoints of now", located)
    damaged = 0
    for path in paths:
        try:
            saved = checkpoint.load(path)
            settings, shape = opening.read_config(saved)
            opening.restore(saved, settings, shape)
            log.info("%-12s %s, epoch %d: whole", "checkpoint", path, opening.read_progress(saved).epoch)
        except CheckpointError as error:
            if path.is_dir():  # else training has taken it away for a newer one
                damaged += 1
                log.info("%-12s %s: DAMAGED (%s)", "checkpoint", path, error)
    if damaged:
        go_on = shell.command("train", shell.setting("resume", located))
        raise CheckpointError(f"{located}: {damaged} of {len(paths)} checkpoints damaged; `{go_on}` passes them over")
