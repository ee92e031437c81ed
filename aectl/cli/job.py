"""One job: from Hydra's composed configuration to the function that does the work, and its failure to one line."""

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aectl import signals, terminal
from aectl.cli import composing, conduct
from aectl.cli.messages import Task, explain
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, OtherSweepError, StorageError, one_line
from aectl.machine import memory
from aectl.runs import layout, receipts
from aectl.runs.receipts import Word
from aectl.settings import typed


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
        self.began_in = os.getpid()
        functools.update_wrapper(self, run)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Arrive in a process, which in a parallel sweep is a new one and knows nothing of us yet.

        There the job's log file alone says what happens: lines and bars of several jobs would run through each other.
        It ends with the process that it came from, if that has started it.
        """
        self.__dict__.update(state)
        if os.getpid() != self.began_in:
            conduct.be_quiet()
            conduct.prepare()
            composing.register()
            from aectl.machine import lifelines

            lifelines.follow(self.began_in)

    def __call__(self, cfg: Any) -> float | None:
        """Run the command in Hydra's output folder; return what a sweeper may minimise."""
        signals.heed()
        root = logging.getLogger()
        if conduct.follows():
            root.handlers.clear()
        root.handlers[:] = map(terminal.LogFile.instead_of, root.handlers)
        logs = [one for one in root.handlers if isinstance(one, logging.FileHandler)]
        place = Place.of_hydra(self.task.command, logs)
        try:
            if place.logs or place.folder.absolute() != Path.cwd():
                layout.refuse_leads(place.folder)
            place.begin()
            found = run(self.task.command, cfg, place, self.line)
            terminal.finish(place.logs)
            place.completed()
            return found
        except OtherSweepError as error:  # it ends the whole sweep, and what is there stays as it is
            place.take_back()
            if os.getpid() != self.began_in:
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
            place.take_back()
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
        short = memory.refused(error) is not None
        if short:
            memory.let_go(error)
        if short or isinstance(error, OSError):
            own = None if place.in_sweep else place.folder
            places = places_of(composing.settings_of(task.command, cfg), own)
            task = dataclasses.replace(task, places={**task.places, **places})
        status, message = explain(error, task)
        word = place.word
        if message is None or os.environ.get("AECTL_DEBUG") == "1":
            if word is not None:
                word.failed(message or one_line(f"{type(error).__name__}: {error}"), status)
            raise error
        if word is None:
            if not conduct.follows():
                end_log(message, place.folder, place.logs)
            conduct.complain(message, status)
            self.status = status
            return
        try:
            if word.holds:
                from aectl.runs import sweeps

                end_log(message, place.folder, place.logs, keep=receipts.MARK)
                sweeps.record_failure(place.folder, place.overrides, message, status)
        finally:
            word.failed(message, status)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a job stands.

    Attributes:
        folder: where everything that it makes goes.
        overrides: those of the command line, as Hydra has them.
        word: where it says how it stands, if it is one of several.
        learns: whether the sweeper goes by results, and must know of failures.
        logs: of this job.
    """

    folder: Path
    overrides: list[str]
    word: Word | None
    learns: bool
    logs: list[logging.FileHandler]

    @property
    def in_sweep(self) -> bool:
        """Whether it is one of several."""
        return self.word is not None

    def begin(self) -> None:
        """Take the folder, if it is one of several."""
        if self.word is not None:
            self.word.begin()

    def completed(self) -> None:
        """Say that it has ended well, if it is one of several."""
        if self.word is not None:
            self.word.completed()

    def take_back(self) -> None:
        """Have said nothing: what an earlier command has said of the job stays."""
        if self.word is not None:
            self.word.take_back()

    @classmethod
    def of_hydra(cls, command: str, logs: list[logging.FileHandler]) -> "Place":
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
        if hydra_cfg.mode != RunMode.MULTIRUN:
            return cls(folder, overrides, None, False, logs)
        word = Word(Path(hydra_cfg.sweep.dir), hydra_cfg.job.num, command, folder, overrides)
        return cls(folder, overrides, word, hydra_cfg.runtime.choices["hydra/sweeper"] != "basic", logs)


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
    memory.begin()
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


def end_log(message: str, folder: Path, logs: Sequence[logging.FileHandler], keep: str | None = None) -> None:
    """The error as the last line of the logs, or no folder at all for a command that left nothing but these.

    A file that is called `keep` stays, and with it the folder.
    """
    ours = {*(Path(handler.baseFilename) for handler in logs), folder.absolute() / ".lock"}
    made = [path.absolute() for path in folder.iterdir() if path.name != keep] if folder.is_dir() else []
    left = set(made) - ours
    try:
        layout.refuse_leads(folder)
    except (OSError, StorageError):
        return  # nothing is opened in it, not even for that
    for handler in logs:
        if left:
            handler.handle(logging.LogRecord("aectl", logging.ERROR, __file__, 0, message, None, None))
        handler.close()
    if folder.is_dir() and not left and folder.absolute() != Path.cwd():
        for path in made:
            path.unlink()
        if keep is None:
            folder.rmdir()
