"""The YAML files: where they are, and what each folder of them, a group, chooses among."""

from typing import Any

from aectl import installed
from aectl.runs.defaults import config_dir


def choices_of(command: str) -> set[str]:
    """The groups of configuration files that a command chooses among, such as `noise`."""
    import yaml

    defaults = yaml.safe_load((config_dir() / f"{command}.yaml").read_text(encoding="utf-8"))["defaults"]
    return {group for entry in defaults if isinstance(entry, dict) for group in entry}


def others_than(command: str) -> set[str]:
    """The folders of YAML files that a command does not choose among: those of others, and what all share."""
    return {path.name for path in config_dir().iterdir() if path.is_dir()} - choices_of(command) - {"hydra"}


def names_by_folder(group: str) -> dict[str, set[str]]:
    """What a group of configuration files chooses among, by folder, with what installed packages offer."""
    top = config_dir() / group
    found = {}
    for folder in (top, *sorted(path for path in top.iterdir() if path.is_dir())):
        within = folder.relative_to(config_dir()).as_posix()
        found[within] = {path.stem for path in folder.glob("*.yaml")} | set(installed.names(within))
    return found


def names_of(group: str) -> set[str]:
    """The same as they are typed: `vae`, or `published/row1_deep_ae` from a folder within."""
    return {
        f"{folder}/{name}".removeprefix(f"{group}/") for folder, of in names_by_folder(group).items() for name in of
    }


def _settings(group: str) -> dict[str, dict[str, Any]]:
    """What the YAML files of a group's own choices say, by their names."""
    import yaml

    return {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for path in sorted((config_dir() / group).glob("*.yaml"))
    }


def having(group: str, name: str) -> list[str]:
    """The choices of a group that have a setting of this name."""
    return [choice for choice, settings in _settings(group).items() if name in settings]


def example(command: str, key: str) -> Any:
    """A value that the YAML files have for a setting of a choice; None where they have none."""
    group, _, name = key.partition(".")
    found = _settings(group).values() if group in choices_of(command) else ()
    return next((settings[name] for settings in found if settings.get(name) is not None), None)
