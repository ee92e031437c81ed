"""What the files of a command on a run depend on, so that a repetition knows whether they are its own."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from aectl import storage
from aectl.commands.schemas import WritingConfig
from aectl.files.unfinished import Work
from aectl.machine import facts
from aectl.runs.opening import Run
from aectl.settings import typed

# What changes no byte of a file that is written: where things lie, which pictures may be left out, and limits. Of the
# run its weights and configuration count, however it was named.
ELSEWHERE = ("run", "checkpoint", "output", "overwrite", "on_bad", "picture_gb", "device", "data")


def work(
    run: Run,
    config: WritingConfig,
    device: torch.device,
    target: Path,
    *,
    folder: bool,
    overwrite: bool | None = None,
    **more: Any,
) -> Work:
    """That of a command with these settings, which writes below the folder `target`, or a file and some beside it.

    `overwrite` stands for the setting where it is given. `more` is plain data that the files depend on beside the
    settings, the run and what computes.
    """
    settings = {
        one.name: typed.to_dict(getattr(config, one.name)) for one in fields(config) if one.name not in ELSEWHERE
    }
    for key in ("input", "reference"):
        if settings.get(key) is not None:
            settings[key] = str(storage.expanded(settings[key]).absolute())
    known = {"command": type(config).__name__, **settings, **more}
    known |= {"weights": run.checkpoint.weights, "run": run.checkpoint.config}
    known |= {"software": facts.software(), "device": device.type}
    return Work(target, known, config.overwrite if overwrite is None else overwrite, folder=folder)
