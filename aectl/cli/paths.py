"""Paths among the overrides of a command line: from what people type to what Hydra's grammar wants."""

import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from aectl.commands.table import COMMANDS
from aectl.settings.typed import path_keys

if TYPE_CHECKING:  # Hydra is imported when it is needed
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override

HYDRA_PATHS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


PATH_KEYS = frozenset((*HYDRA_PATHS, *(key for command in COMMANDS.values() for key in path_keys(command.schema))))
AS_TYPED = PATH_KEYS | {"name"}  # what is a word, also where it looks like a number
# Those of a sweep as a whole: a comma in them is part of the name.
OF_THE_SWEEP = frozenset((*HYDRA_PATHS, "sweep.resume"))

_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
# One choice of a sweep: quoted as a whole, or up to a comma that is in no interpolation.
_CHOICE = re.compile(
    rf"""\s*(?:({_QUOTED.pattern})\s*(?=,|\Z)|((?:\$\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}|[^,])*))""", re.DOTALL
)


def key_of(override: str) -> str:
    """The setting that an override names, without the signs before it."""
    return override.partition("=")[0].lstrip("+~")


def for_hydra(override: str, multirun: bool = False) -> str:
    """The override as Hydra's grammar wants it: a path or a run's name is what was typed, whatever it looks like.

    `1e3`, `true`, `a,b` and `it's` are names of files; `~` is expanded. As everywhere in Hydra `null` is none, quotes
    around the whole are no part of it, `${...}` is looked up, and with `multirun` a comma parts the choices of a
    sweep, which may also be `choice(...)`, `range(...)` or `glob(...)`.
    """
    name, _, value = override.partition("=")
    key = key_of(override)
    if key not in AS_TYPED or not value:
        return override
    if not multirun or key in OF_THE_SWEEP:
        return f"{name}={_quoted(key, value)}"
    if match := re.fullmatch(r"choice\((.*)\)", value, re.DOTALL):
        value = match[1]  # the same without the word, which would lose the quotes on the way to the job
    elif re.fullmatch(r"\w+\(.*\)", value) and (found := parsed(override)) and found.is_sweep_override():
        return override
    return f"{name}={','.join(_quoted(key, choice) for choice in _choices(value))}"


def paths_among(overrides: Iterable[str]) -> dict[str, Path]:
    """Where the path settings among overrides lead that `for_hydra` has made: one path each, the last one given."""
    return {key: Path(text) for key, text in _texts(overrides).items() if key in PATH_KEYS}


def name_among(overrides: Iterable[str]) -> str:
    """What `name=` calls the run, or every job of the sweep; empty where it calls them nothing or not the same."""
    return _texts(overrides).get("name", "")


def _texts(overrides: Iterable[str]) -> dict[str, str]:
    """Paths and names among overrides by their keys, the last one given of each, where that is a single one."""
    last = {key_of(override): parsed(override) for override in overrides if key_of(override) in AS_TYPED}
    values = {key: one.value() for key, one in last.items() if one is not None}
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _choices(value: str) -> list[str]:
    if "," not in value:
        return [value]
    found, position = [], 0
    while True:
        match = _CHOICE.match(value, position)
        found.append(match[1] or match[2].strip())
        if match.end() == len(value):
            return found
        position = match.end() + 1


def _quoted(key: str, value: str) -> str:
    """A path with its `~` expanded, in the quotes of Hydra's grammar if that reads anything else without them."""
    if value == "null" or _QUOTED.fullmatch(value):
        return value
    path = os.path.expanduser(value)  # noqa: PTH111 (of someone unknown it stays as it is)
    path = f"./{path}" if path.startswith("~") else path  # and is a name
    found = None if "\\" in path else parsed(f"{key}={path}")  # one at its end would spoil the comma after it
    if found is not None and type(found.value()) is str and found.value() == path:
        return path
    return quoted(path)


def quoted(text: str) -> str:
    """A text in Hydra's quotes; within them backslashes mean themselves, but for those before a quote."""
    return "'" + re.sub(r"(\\*)('|\Z)", lambda match: 2 * match[1] + (r"\'" if match[2] else ""), text) + "'"


@cache
def _parser() -> "OverridesParser":
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()


def parsed(override: str) -> "Override | None":
    """What Hydra's parser makes of it; None where it cannot read it."""
    from hydra.errors import HydraException

    try:
        return _parser().parse_override(override)
    except HydraException:
        return None
