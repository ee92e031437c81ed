"""Into Hydra: what it would misunderstand is refused, and it calls the job with the composed configuration."""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from aectl import shell
from aectl.cli import composing, groups, paths
from aectl.cli.job import EndOfSweep, Job
from aectl.cli.messages import explain
from aectl.errors import ConfigError, brief
from aectl.runs.schema import NAME

if TYPE_CHECKING:  # Hydra is imported when it is needed
    from hydra.core.override_parser.types import Override


def hydra_main(job: Job, args: list[str], task: Callable[[Any], Any] | None = None) -> None:
    """Hand `args` to plain `hydra.main`; it calls `job` with the composed configuration, in a sweep several times.

    A `task` is called in its place.

    Raises:
        OtherSweepError: a job has met a sweep that another command began.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and `explain` words the error
    import hydra
    from hydra.core.plugins import Plugins

    from aectl.cli.search_path import InstalledConfigs

    _flags(args)
    composing.register()
    Plugins.instance().register(InstalledConfigs)  # Hydra hands what it finds to a sweep's jobs
    sys.argv = ["aectl", *args]
    _say_mode(sweep="-m" in args)
    entry = hydra.main(version_base="1.3", config_path=str(composing.config_dir()), config_name=job.task.command)
    try:
        entry(task or job)()
    except EndOfSweep as end:
        raise end.error from None
    except Exception as error:
        if explain(error)[1] is not None or not _of_hydra_alone(error):
            raise
        if _is_of_mode(error):
            raise ConfigError(f"hydra.mode: a configuration file says it; leave it out there; {ONLY_M}") from None
        own = [word for word in shell.split(job.line) if word.lstrip("+~").startswith("hydra")]
        raise ConfigError(
            f"{' '.join(own) or 'hydra'}: Hydra cannot work with that ({type(error).__name__}: {brief(error)}); "
            "leave it out"
        ) from error


def _say_mode(*, sweep: bool) -> None:
    """Tell Hydra whether this is a sweep: it would compose everything once more, only to read `hydra.mode` there.

    That takes a sixth of the time of a command that does little, and `-m` alone says it: a sweep of which only a
    configuration file knew would have neither table nor exit code. Such a single run Hydra does not begin.
    """
    from hydra._internal.hydra import Hydra
    from hydra.types import RunMode

    Hydra.get_mode = lambda *given, **more: None if sweep else RunMode.RUN


def _is_of_mode(error: Exception) -> bool:
    """Whether Hydra was to begin a single run, and a configuration file says that it is a sweep."""
    from hydra._internal.hydra import Hydra

    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return isinstance(error, AssertionError) and last.f_code is Hydra.run.__code__


HYDRAS = {"hydra", "omegaconf", "antlr4", "yaml"}  # and what it stands on


def _of_hydra_alone(error: Exception) -> bool:
    """Whether Hydra has stumbled over its own settings, which it takes unseen: no line was at work but its own."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in list(frames)[1:]}
    return "hydra" in names and names <= HYDRAS | sys.stdlib_module_names


def parsed(args: Sequence[str]) -> "list[Override]":
    """The overrides among `args` as Hydra reads them, which knows the choices that `glob(...)` means."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.plugins import Plugins

    from aectl.cli.search_path import InstalledConfigs

    composing.register()
    Plugins.instance().register(InstalledConfigs)
    given = _flags(args)
    search = create_config_search_path(str(composing.config_dir()))
    if given.config_dir is not None:
        search.prepend("command-line", f"file://{Path(given.config_dir).absolute()}")
    return OverridesParser.create(ConfigLoaderImpl(search)).parse_overrides(given.overrides)


def name_launch(stamp: str, unique: str, overrides: Iterable[str] = ()) -> None:
    """When this launch began, its own name if it has one, and what no other has, for the names of folders.

    The jobs of a sweep inherit all, and agree on its folder.
    """
    name = paths.name_among(overrides)
    os.environ["AECTL_STAMP"] = f"{stamp}_{name}" if NAME.fullmatch(name) else stamp
    os.environ["AECTL_UNIQUE"] = unique


def without_command(words: list[str]) -> None:
    """The line to complete, from which Hydra's completion reads, without the command that it does not know."""
    os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])


ONLY_M = "`-m` makes a sweep, and without it there is one run"
BATCHED = "hydra/launcher=batched"  # our own way to run a sweep, under the name of a launcher


def check_overrides(command: str, overrides: list[str], *, multirun: bool) -> None:
    """What Hydra would take, and mean something else by, or refuse in words that lead nowhere."""
    if BATCHED in overrides and not (command == "train" and multirun):
        raise ConfigError(f"{BATCHED}: is for the jobs of a sweep; it goes with `aectl train -m`")
    choices, others = groups.choices_of(command), groups.others_than(command)
    for override in overrides:
        key, value = paths.key_of(override), override.partition("=")[2]
        if key in others:
            raise ConfigError(f"{override}: aectl {command} has no {key} to choose (--help lists what it has)")
        if key in choices and value == "null":
            raise ConfigError(f"{override}: is no choice; leave it out")
        if key in choices and override.startswith("+"):
            raise ConfigError(f"{override}: leave the + out: {override.lstrip('+')}")
        if key == "hydra.job.chdir" and value.lower() not in ("", "false", "null"):
            raise ConfigError(f"{override}: aectl works in the folder where it is started; leave this out")
        if key == "hydra.mode":
            raise ConfigError(f"{override}: leave it out; {ONLY_M}")
        if key in paths.HYDRA_PATHS and not value:
            raise ConfigError(f"{override}: is empty; give a folder")


def check_places(places: Mapping[str, Path]) -> None:
    """Refuse folders that lead elsewhere, before Hydra opens a log in one; see `aectl.runs.layout.refuse_leads`."""
    from aectl.runs import finding, layout

    found = [places[key] for key in ("hydra.run.dir", "hydra.sweep.dir") if key in places]
    if "resume" in places:
        with contextlib.suppress(ConfigError):  # it means several; the command will say so
            found += filter(None, [finding.locate(str(places["resume"]), "resume")])
    for folder in found:
        layout.refuse_leads(folder)


def _flags(args: Sequence[str]) -> argparse.Namespace:
    """Hydra's own flags, and the overrides, before Hydra answers a wrong one with a page."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message} (`aectl <command> --help` lists the flags)")

    flags = get_args_parser()
    flags.error = refuse
    found = flags.parse_args(args)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [name for name in modes if getattr(found, name)]
    if len(given) > 1:
        refuse(f"--{given[0]} and --{given[1]} exclude each other")
    if found.config_dir is not None and not Path(found.config_dir).is_dir():
        raise ConfigError(f"--config-dir={found.config_dir}: no such folder; give that of your YAML files")
    return found
