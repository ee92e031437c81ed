"""One job: from Hydra's composed configuration to the function that does the work, and its failure to one line."""

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
        functools.update_wrapper(self, settings_for)

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
        return self._attempt(cfg, self._run)

    def plan(self, cfg: Any) -> "Planned | float | None":
        """What `aectl train` would do in Hydra's output folder; of what is done already, its result."""
        return self._attempt(cfg, self._plan)

    def _attempt(self, cfg: Any, work: Callable[[Any, "Place"], Any]) -> Any:
        signals.heed()
        place = Place.of_hydra()
        if follows():
            logging.getLogger().handlers.clear()
        try:
            return work(cfg, place)
        except OtherSweepError:
            raise  # it ends the whole sweep, and what is there stays as it is
        except Exception as error:
            self._leave_word(error, cfg, place)
            if place.learns:
                raise
            return None

    def _run(self, cfg: Any, place: "Place") -> float | None:
        task = self.task
        _, work = COMMANDS[task.command].load()
        more = {"overrides": place.overrides, "line": self.line, "in_sweep": place.in_sweep}
        settings = settings_for(task.command, cfg, place.overrides)
        return work(settings, place.folder, **(more if task.command == "train" else {}))

    def _plan(self, cfg: Any, place: "Place") -> "Planned | float":
        from aectl.commands.train import take_up

        settings = settings_for("train", cfg, place.overrides)
        done = take_up(settings, place.folder, place.overrides, in_sweep=place.in_sweep)
        return Planned(cfg, settings, place) if done is None else done

    @contextlib.contextmanager
    def apart(self, plan: "Planned") -> Iterator[list[Exception]]:
        """A block of work on one of several jobs: what is said there goes to its log, and an error ends the job.

        What the block is given has the error, once it is over.
        """
        root, failures = logging.getLogger(), []
        before, root.handlers = root.handlers, [*plan.place.logs]
        try:
            yield failures
        except OtherSweepError:
            raise
        except Exception as error:
            failures.append(error)
            self._leave_word(error, plan.cfg, plan.place)
        finally:
            root.handlers = before
            for one in plan.place.logs:
                one.close()  # it is opened again when there is more to say

    def _leave_word(self, error: Exception, cfg: Any, place: "Place") -> None:
        """One line for an error, on the screen or in the folder of a sweep's job; what nobody foresaw is raised."""
        signals.heed()
        task = self.task
        if isinstance(error, OSError):
            own = None if place.in_sweep else place.folder
            places = places_of(composing.settings_of(task.command, cfg), own)
            task = dataclasses.replace(task, places={**task.places, **places})
        status, message = explain(error, task)
        if message is None or os.environ.get("AECTL_DEBUG") == "1":
            raise error
        if not follows():
            end_log(message, place.folder, place.logs)
        if not place.in_sweep:
            complain(message, status)
            self.status = status
            return
        from aectl.runs import sweeps

        sweeps.record_failure(place.folder, place.overrides, message, status)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a job stands.

    Attributes:
        folder: where everything that it makes goes.
        overrides: those of the command line, as Hydra has them.
        in_sweep: whether it is one of several.
        learns: whether the sweeper goes by results, and must know of failures.
        logs: of this job.
    """

    folder: Path
    overrides: list[str]
    in_sweep: bool
    learns: bool
    logs: list[logging.FileHandler]

    @classmethod
    def of_hydra(cls) -> "Place":
        """That of the job which Hydra calls."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        hydra_cfg = HydraConfig.get()
        folder = Path(hydra_cfg.runtime.output_dir)
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())  # what people can read and type
        # Unresolved, because they are saved and ${oc.env:...} may stand in them.
        overrides = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
        in_sweep = hydra_cfg.mode == RunMode.MULTIRUN
        learns = in_sweep and hydra_cfg.runtime.choices["hydra/sweeper"] != "basic"
        logs = [one for one in logging.getLogger().handlers if isinstance(one, logging.FileHandler)]
        return cls(folder, overrides, in_sweep, learns, logs)


@dataclasses.dataclass(frozen=True)
class Planned:
    """A training run that is to be made: Hydra's configuration, ours, and where."""

    cfg: Any
    settings: Any
    place: Place


def places_of(settings: Any, folder: Path | None) -> dict[str, Path]:
    """Where the settings of a command lead, by what names them, and `folder`, where it keeps what it makes."""
    from aectl.data.datasets import cache

    given = {key: Path(value) for key, value in typed.paths_of(settings).items() if value not in (None, "latest")}
    own = {} if folder is None or folder.absolute() == Path.cwd() else {"hydra.run.dir": folder}
    return {"AECTL_CACHE": cache.root(), **_data_root(settings), **given, **own}


def _data_root(settings: Any) -> dict[str, Path]:
    from aectl.data.datasets import official

    return {"data.root": official.data_root(settings.data.root)} if hasattr(settings, "data") else {}


def settings_for(command: str, cfg: Any, overrides: Sequence[str]) -> Any:
    """The composed configuration as the command's own class has it, checked.

    Raises:
        ConfigError: a setting is missing, unknown or out of its range.
    """
    from omegaconf import OmegaConf

    import aectl.machine.load  # noqa: F401 (before torch: while that is imported, it sees what other processes take)

    for override in overrides:
        if override.startswith("~"):
            raise ConfigError(f"{override}: a setting cannot be taken away; give it another value or null")
    settings = composing.settings_of(command, cfg)
    root = settings.data.root if hasattr(settings, "data") else None  # aectl runs looks at no data
    if root is not None and "oc.env" in str(OmegaConf.to_container(cfg, resolve=False)["data"]["root"]):
        settings.data.root = typed.Unsaved(root)  # what the environment says stays there
    return settings


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
