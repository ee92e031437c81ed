"""One job: from Hydra's composed configuration to the function that does the work, and its failure to one line."""

import dataclasses
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aectl import signals
from aectl.cli import composing
from aectl.cli.messages import Task, explain
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, OtherSweepError
from aectl.settings import typed


def prepare_process() -> None:
    """How this process meets signals and a disk that refuses, whether it is the command's own or a sweep's worker."""
    signals.unwind_on_signals()
    # Where the disk refuses, the main thread learns of it and says so in one line; the log and TensorBoard's thread,
    # who meet it too, would print tracebacks.
    logging.raiseExceptions = False
    threading.excepthook = _quiet_about_storage


GRACE = 2.0  # seconds in which the first process can say what is wrong; torchrun ends all once one has ended


def follows() -> bool:
    """Whether torchrun has started this process beside a first one, which does all the writing."""
    return os.environ.get("RANK", "0") != "0"


def tell(note: str) -> None:
    """Say something of the command line in one line; of several processes the first alone does."""
    if not follows():
        print(f"aectl: {note}", file=sys.stderr)


def complain(message: str, status: int) -> None:
    """Say in one line why the command failed; of several processes the first alone says what is wrong with it."""
    if not follows():
        print(f"aectl: {message}", file=sys.stderr)
    elif status == ConfigError.exit_code:
        time.sleep(GRACE)
    else:
        print(f"aectl (process {os.environ['RANK']}): {message}", file=sys.stderr)


def _quiet_about_storage(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, OSError):
        threading.__excepthook__(args)


class Job:
    """One command as the function that Hydra calls; keeps the status of a single run.

    An error is kept, the job's result or the status saying that it failed: Hydra would print a line of its own beside
    ours, and end a plain sweep at the first.
    """

    def __init__(self, task: Task, line: str):
        self.task = task
        self.line = line
        self.status = 0
        self.process = os.getpid()
        functools.update_wrapper(self, run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a process, which in a parallel sweep is a new one and knows nothing of us yet.

        There the job's log file alone says what happens: lines and bars of several jobs would run through each other.
        """
        self.__dict__.update(state)
        if os.getpid() != self.process:
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (as long as the process)
            prepare_process()
            composing.register()

    def __call__(self, cfg: Any) -> float | None:
        """Run the command in Hydra's output folder; return what a sweeper may minimise."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        signals.heed()
        hydra_cfg = HydraConfig.get()
        folder = Path(hydra_cfg.runtime.output_dir)
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())  # what people can read and type
        # Unresolved, because they are saved and ${oc.env:...} may stand in them.
        overrides = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
        in_sweep = hydra_cfg.mode == RunMode.MULTIRUN
        if follows():
            logging.getLogger().handlers.clear()
        try:
            return run(self.task.command, cfg, folder, overrides, self.line, in_sweep)
        except OtherSweepError:
            raise  # it ends the whole sweep, and what is there stays as it is
        except Exception as error:
            signals.heed()
            task = self.task
            if isinstance(error, OSError):
                places = places_of(composing.settings_of(task.command, cfg), None if in_sweep else folder)
                task = dataclasses.replace(task, places={**task.places, **places})
            status, message = explain(error, task)
            if message is None or os.environ.get("AECTL_DEBUG") == "1":
                raise
            if not follows():
                logs = [one for one in logging.getLogger().handlers if isinstance(one, logging.FileHandler)]
                end_log(message, folder, logs)
            if not in_sweep:
                complain(message, status)
                self.status = status
                return None
            from aectl.runs import sweeps

            sweeps.record_failure(folder, overrides, message, status)
            if hydra_cfg.runtime.choices["hydra/sweeper"] != "basic":
                raise  # a sweeper that learns from results must know
            return None


def places_of(settings: Any, folder: Path | None) -> dict[str, Path]:
    """Where the settings of a command lead, by what names them, and `folder`, where it keeps what it makes."""
    from aectl.data.datasets import cache

    given = {key: Path(value) for key, value in typed.paths_of(settings).items() if value not in (None, "latest")}
    own = {} if folder is None or folder.absolute() == Path.cwd() else {"hydra.run.dir": folder}
    return {"AECTL_CACHE": cache.root(), **_data_root(settings), **given, **own}


def _data_root(settings: Any) -> dict[str, Path]:
    from aectl.data.datasets import official

    return {"data.root": official.data_root(settings.data.root)} if hasattr(settings, "data") else {}


def run(command: str, cfg: Any, folder: Path, overrides: list[str], line: str, in_sweep: bool) -> float | None:
    """The composed configuration to plain dataclasses, its checks, and the module that does the work."""
    from omegaconf import OmegaConf

    import aectl.machine.load  # noqa: F401 (before torch: while that is imported, it sees what other processes take)

    for override in overrides:
        if override.startswith("~"):
            raise ConfigError(f"{override}: a setting cannot be taken away; give it another value or null")
    settings = composing.settings_of(command, cfg)
    _, work = COMMANDS[command].load()
    root = settings.data.root if hasattr(settings, "data") else None  # aectl runs looks at no data
    if root is not None and "oc.env" in str(OmegaConf.to_container(cfg, resolve=False)["data"]["root"]):
        settings.data.root = typed.Unsaved(root)  # what the environment says stays there
    more = {"overrides": overrides, "line": line, "in_sweep": in_sweep} if command == "train" else {}
    return work(settings, folder, **more)


def end_log(message: str, folder: Path, logs: Sequence[logging.FileHandler]) -> None:
    """The error as the last line of the logs, or no folder at all for a command that left nothing but these."""
    ours = {*(Path(handler.baseFilename) for handler in logs), folder.absolute() / ".lock"}
    made = [path.absolute() for path in folder.iterdir()] if folder.is_dir() else []
    left = set(made) - ours
    for handler in logs:
        if left:
            handler.handle(logging.LogRecord("aectl", logging.ERROR, __file__, 0, message, None, None))
        handler.close()
    if folder.is_dir() and not left and folder.absolute() != Path.cwd():
        for path in made:
            path.unlink()
        folder.rmdir()
