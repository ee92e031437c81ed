"""One job: from Hydra's composed configuration to the function that does the work, and its failure to one line."""

import contextlib
import dataclasses
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
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


class EndOfSweep(BaseException):
    """Carries an error out of a sweep that it ends; Hydra would say a line of its own of any `Exception`."""

    def __init__(self, error: OtherSweepError):
        super().__init__(error)
        self.error = error


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
        signals.heed()
        root = logging.getLogger()
        if follows():
            root.handlers.clear()
        place = Place.of_hydra([one for one in root.handlers if isinstance(one, logging.FileHandler)])
        try:
            return run(self.task.command, cfg, place, self.line)
        except OtherSweepError as error:  # it ends the whole sweep, and what is there stays as it is
            if os.getpid() != self.process:
                raise  # a launcher's process brings home what Hydra has caught
            raise EndOfSweep(error) from None
        except Exception as error:
            self._leave_word(error, cfg, place)
            if place.learns:
                raise
            return None

    @contextlib.contextmanager
    def apart(self, cfg: Any, place: "Place") -> Iterator[None]:
        """A block of work on one of several jobs: what is said there goes to its log, and an error ends the block."""
        root = logging.getLogger()
        before, root.handlers = root.handlers, [*place.logs]
        try:
            yield
        except OtherSweepError:
            raise
        except Exception as error:
            self._leave_word(error, cfg, place)
        finally:
            root.handlers = before
            for one in place.logs:
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
    def of_hydra(cls, logs: list[logging.FileHandler]) -> "Place":
        """That of the job which Hydra has composed last."""
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
        return cls(folder, overrides, in_sweep, learns, logs)


def places_of(settings: Any, folder: Path | None) -> dict[str, Path]:
    """Where the settings of a command lead, by what names them, and `folder`, where it keeps what it makes."""
    from aectl.data.datasets import cache

    given = {key: Path(value) for key, value in typed.paths_of(settings).items() if value not in (None, "latest")}
    own = {} if folder is None or folder.absolute() == Path.cwd() else {"hydra.run.dir": folder}
    return {"AECTL_CACHE": cache.root(), **_data_root(settings), **given, **own}


def _data_root(settings: Any) -> dict[str, Path]:
    from aectl.data.datasets import official

    return {"data.root": official.data_root(settings.data.root)} if hasattr(settings, "data") else {}


def run(command: str, cfg: Any, place: Place, line: str) -> float | None:
    """The composed configuration to plain dataclasses, its checks, and the module that does the work."""
    settings = settings_for(command, cfg, place.overrides)
    _, work = COMMANDS[command].load()
    more = {"overrides": place.overrides, "line": line, "in_sweep": place.in_sweep} if command == "train" else {}
    return work(settings, place.folder, **more)


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
