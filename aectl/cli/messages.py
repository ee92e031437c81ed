"""From an error to the one line that says it and the exit code; the one place that words Hydra's errors anew."""

import dataclasses
import errno
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aectl import errors, installed, shell
from aectl.cli import groups
from aectl.cli.paths import quoted
from aectl.errors import ConfigError, UserError, one_line
from aectl.machine import memory
from aectl.runs import layout, schema
from aectl.settings.ranges import nearest


@dataclass
class Task:
    """What is known of the command that failed: its name, and the folders and files that its settings name."""

    command: str = ""
    places: dict[str, Path] = field(default_factory=dict)

    def holding(self, path: str) -> str | None:
        """The setting to change for a file that cannot be used: that of the nearest place that holds it.

        Else of one below it, or of the file that it is the temporary name of.
        """
        spot = Path(os.path.abspath(path))  # noqa: PTH100 (links stay as they are named)
        places = {key: Path(os.path.abspath(place)) for key, place in self.places.items()}  # noqa: PTH100
        around = [key for key, place in places.items() if spot.is_relative_to(place)]
        below = [key for key, place in places.items() if place.is_relative_to(spot)]
        for_now = [key for key, place in places.items() if spot.parent == place.parent and place.name in spot.name]
        return max(around, key=lambda key: len(places[key].parts), default=next(iter(below + for_now), None))

    def go_on(self) -> str:
        """What to do once the reason is gone."""
        if self.command != "train":
            return "repeat the command"
        sweep = self.places.get("hydra.sweep.dir")
        if sweep is not None and layout.has_trained(sweep):
            return f"repeat the command with {shell.shown('sweep.resume', sweep)}; what was saved is whole"
        run = self.places.get("hydra.run.dir")
        if run is None or not any(run.glob("checkpoints/step-*")):
            return "repeat the command"
        return f"go on: {shell.command('train', shell.setting('resume', run))}; what was saved is whole"


def explain(error: BaseException, task: Task | None = None) -> tuple[int, str | None]:
    """The exit status and the one line for an error of `task`; no line for one that is a defect of ours."""
    if isinstance(error, UserError):
        return error.exit_code, one_line(error)
    if (what := memory.refused(error)) is not None:
        memory.let_go(error)
        return errors.MemoryShortError.exit_code, one_line(_memory_line(what, task or Task()))
    if isinstance(error, OSError) and not _from_hydra(error):
        where = f"{error.filename}: " if error.filename else ""
        return errors.StorageError.exit_code, one_line(
            f"{where}{error.strerror or error}; {_storage_remedy(error, task or Task())}"
        )
    if _from_hydra(error):
        return ConfigError.exit_code, one_line(_config_line(error))
    return 1, None


# Choices that Hydra has once a package is installed.
PLUGINS = {
    "hydra/sweeper=optuna": "'aectl[sweepers]'",
    "hydra/launcher=submitit_local": "'aectl[sweepers]'",
    "hydra/launcher=submitit_slurm": "'aectl[sweepers]'",
    "hydra/launcher=ray": "hydra-ray-launcher",
}


# What makes a command need less memory.
LESS = {
    "train": "a smaller batch_size, network, latent or data set",
    "sample": "a smaller n",
    "eval": "a smaller batch_size",
    "score": "fewer samples, or fewer pictures at a time",
    "report": "fewer pictures as input",
}


def _memory_line(what: str, task: Task) -> str:
    """What was wanted, what there is, and what to do."""
    less = LESS.get(task.command, "smaller pictures, or fewer at a time")
    free = memory.shown(memory.free())
    return f"memory: {what}, and {free} are free; close other programs or choose {less}, then {task.go_on()}"


def _storage_remedy(error: OSError, task: Task) -> str:
    key = task.holding(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    elsewhere = f" or name another place with {key}=<path>" if key else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"free some space{elsewhere}, then {task.go_on()}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return f"change that{elsewhere}, then {task.go_on()}"
    return f"the storage refused; once it answers, {task.go_on()}"


def _from_hydra(error: BaseException) -> bool:
    """Whether Hydra, OmegaConf or the reader of their YAML files refused the configuration."""
    if "hydra" not in sys.modules:
        return False
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import MarkedYAMLError

    return isinstance(error, HydraException | OmegaConfBaseException | MarkedYAMLError)


def _others_with(group: str, name: str) -> str:
    """Which other choices of a group have a setting of this name."""
    found = groups.having(group, name)
    return f"; {name} is a setting of {', '.join(f'{group}={one}' for one in found)}" if found else ""


def _config_line(error: BaseException) -> str:
    """Hydra's message of many lines as one that names the key, and the nearest name where one was mistyped."""
    from hydra.errors import MissingConfigException, OverrideParseException
    from omegaconf.errors import MissingMandatoryValue
    from yaml import MarkedYAMLError

    if isinstance(error, MarkedYAMLError) and error.problem_mark:  # of a package, or of a folder of somebody's own
        mark = error.problem_mark
        return f"{mark.name}: cannot be read as YAML: {error.problem} in line {mark.line + 1}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f"{error.override}: cannot be read; as a text it is typed so: {shell.line(f'{key}={quoted(value)}')}"
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        hint = nearest(name, error.options)
        if plugin := PLUGINS.get(f"{group}={name}"):
            return f"{group}={name}: is not installed; pip install {plugin}"
        for offer in installed.offers(group, name):
            missing = f"configs/{group}/{name}.yaml beside {offer.module}"
            return f"{group}={name}: {offer.package} offers it without its settings; it needs {missing}"
        return f"{group}={name}: no such choice{hint} (choices: {', '.join(error.options)})"
    cause = error.__cause__ or error
    text = one_line(cause)
    key = getattr(cause, "full_key", None)
    if isinstance(cause, MissingMandatoryValue) and key:
        return f"{key}: must be given: {key}=<value> (--help says what it is)"
    if "not in" in text and key in schema.RENAMED:
        return f"{key}: no such setting any more; it is {schema.RENAMED[key]} now"
    if "not in" in text and key:
        group, _, name = key.rpartition(".")
        chosen = dict(node) if isinstance(node := getattr(cause, "parent_node", None), Mapping) else {}
        of = f" of {group}={chosen['name']}" if group and "name" in chosen else ""
        holder = getattr(cause, "object_type", None)
        known = chosen or (
            [one.name for one in dataclasses.fields(holder)] if dataclasses.is_dataclass(holder) else []
        )
        names = ", ".join(one for one in chosen if one != "name") or "none"
        has = f"it has {names}{_others_with(group, name)}" if of else "--help lists them"
        return f"{key}: no such setting{of}{nearest(name, known)} ({has})"
    text = text.split(" full_key:")[0]
    if key and key not in text:
        text = f"{key}: {text}"
    if error.__cause__ is not None and "Error merging override " in str(error):
        override = one_line(error).removeprefix("Error merging override ")
        return f"{override}: {text.removeprefix(f'{key}: ')}"
    return text
