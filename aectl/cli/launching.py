"""Into Hydra: what it would misunderstand is refused, and it calls the job with the composed configuration."""

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from aectl.cli import composing, groups, paths
from aectl.cli.job import Job
from aectl.errors import ConfigError
from aectl.runs.schema import NAME


def hydra_main(job: Job, args: list[str], task: Callable[[Any], Any] | None = None) -> None:
    """Hand `args` to plain `hydra.main`; it calls `job` with the composed configuration, in a sweep several times.

    A `task` is called in its place.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and `explain` words the error
    import hydra
    from hydra.core.plugins import Plugins

    from aectl.cli.search_path import InstalledConfigs

    _check_flags(args)
    composing.register()
    Plugins.instance().register(InstalledConfigs)  # Hydra hands what it finds to a sweep's jobs
    sys.argv = ["aectl", *args]
    hydra.main(version_base="1.3", config_path=str(composing.config_dir()), config_name=job.task.command)(
        task or job
    )()


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


def _check_flags(args: list[str]) -> None:
    """Hydra's own flags, before Hydra answers a wrong one with a page."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message} (`aectl <command> --help` lists the flags; overrides stand in one piece)")

    parser = get_args_parser()
    parser.error = refuse
    parsed = parser.parse_args(args)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [name for name in modes if getattr(parsed, name)]
    if len(given) > 1:
        refuse(f"--{given[0]} and --{given[1]} exclude each other")
