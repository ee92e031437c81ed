"""What a setting is where nobody has said anything, from the YAML files. No torch, no Hydra."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aectl
from aectl.errors import ConfigError
from aectl.settings import typed


def config_dir() -> Path:
    """The folder of the YAML files: inside the installed package, or beside it in a source checkout."""
    package = Path(aectl.__file__).resolve().parent
    if (package / "configs").is_dir():
        return package / "configs"
    if (package.parent / "pyproject.toml").is_file() and (package.parent / "configs").is_dir():
        return package.parent / "configs"
    raise ConfigError(f"{package}/configs: the configuration files are missing; install aectl again")


def of_run(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of a training run's settings, one level, given those it has.

    A setting of a choice has the default of that choice, whether it is the default one or not; where its file says
    nothing, nobody can choose. What must be given or is left to the environment is not there.
    """
    top = _read("train")
    found = {key: value for key, value in top.items() if key not in ("defaults", "hydra")}
    for entry in top["defaults"]:
        if isinstance(entry, str) and entry.startswith("common/"):
            found |= _read(entry)
        elif isinstance(entry, dict):
            ((group, usual),) = entry.items()
            chosen = settings.get(group)
            if isinstance(chosen, Mapping):
                said = _read(f"{group}/{chosen['name']}")
                found[group] = {**(chosen if said else {}), **said, "name": _read(f"{group}/{usual}")["name"]}
    return {key: value for key, value in typed.flat(found).items() if not str(value).startswith(("${", "???"))}


def differing(settings: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """A run's settings, one level: those that are not their defaults, with these in words, and the rest."""
    usual, own, rest = of_run(settings), {}, {}
    for key, value in typed.flat(settings).items():
        if _same(value, usual.get(key)):
            rest[key] = value
        else:
            own[key] = f"{_words(value)} (default {_words(usual[key])})" if key in usual else _words(value)
    return own, rest


def page(command: str, settings: Mapping[str, Any]) -> str:
    """A run in words: its command, how it differs from the defaults, and everything else."""
    own, rest = differing(settings)
    lines = [f"{key}: {words}" for key, words in own.items()]
    others = [f"{key}: {_words(value)}" for key, value in rest.items()]
    return "\n".join([command, "", "# not the default", *(lines or ["nothing"]), "", "# as by default", *others])


def _read(name: str) -> dict[str, Any]:
    import yaml  # which help does without

    path = config_dir() / f"{name}.yaml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.is_file() else {}


def _same(value: Any, usual: Any) -> bool:
    if isinstance(usual, str) and isinstance(value, int | float):  # YAML takes 1e-3 for text
        try:
            return math.isclose(value, float(usual))
        except ValueError:
            return False
    return value == usual


def _words(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
