"""A word of a command line without a key: the settings that it can mean to a command."""

import os
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from aectl import shell
from aectl.cli import groups
from aectl.commands.schemas import RUN_ORDERS, SAMPLE_MODES, SCORE_MEASURES, SPLITS
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError
from aectl.files.listing import ARRAYS
from aectl.runs import finding, layout
from aectl.settings import typed
from aectl.settings.ranges import nearest

# How what a command makes is called after its input, where it has to be said.
MADE = {"denoise": "_denoised", "encode": "_codes.npz", "decode": "_pictures"}
NAMED = {
    "split": SPLITS, "mode": SAMPLE_MODES, "measure": SCORE_MEASURES, "sort": RUN_ORDERS,
    "checkpoint": ("best", "last"),
}  # fmt: skip
COUNTED = {"sample": "n", "runs": "last"}  # what a number alone is

Settings = list[str]


@cache
def hints(command: str) -> dict[str, Any]:
    """The settings of a command and their types, without those of its choices."""
    return typed.hints_of(COMMANDS[command].schema)


def is_key(command: str, word: str) -> bool:
    """Whether the word names a setting of the command: `epochs`, `noise`, `noise.sigma`; Hydra's own do too."""
    choices = groups.choices_of(command)
    if word in choices or word in hints(command):
        return True
    within = re.fullmatch(r"(\w+)\.[\w.]+", word)
    return within is not None and within[1] in {*choices, "hydra"}


def places(command: str) -> list[str]:
    """What a command works on and where its results go, in the order in which people type them."""
    worked_on = [key for key in ("sweep", "input", "run") if key in hints(command)]
    return [*worked_on[:1], *(["output"] if "output" in hints(command) else [])]


def looks_like_path(word: str) -> bool:
    """Whether it is there, or is written as a path is."""
    return "/" in word or word.startswith("~") or Path(word).suffix != "" or _exists(word)


def own_pictures(path: str, root: str) -> Settings:
    """Pictures at `path` as the data set of a run; `root` is the setting that names them."""
    return [f"dataset={'array' if path.lower().endswith(ARRAYS) else 'folder'}", root]


def meanings(command: str, word: str, given: Collection[str]) -> list[Settings]:
    """What the word can mean, each time as settings: several for a name that several choices have, none for no name.

    `given` are the keys that have a value.
    """
    if word == "help":
        return [["--help"]]
    whose = next((key for key in ("run", "resume", "sweep") if key in hints(command)), None)
    if word == "latest" and whose:
        return [[f"{whose}=latest"]]
    if names := named(command, word):
        return [[one] for one in names]
    if command in COUNTED and word.isdecimal():
        return [[f"{COUNTED[command]}={word}"]]
    if whose in ("run", "resume") and whose not in given and _is_run(word):
        return [[shell.setting(whose, word)]]
    if command == "train" and _exists(word):
        return [own_pictures(word, shell.setting("dataset.root", word))]
    place = next((key for key in places(command) if key not in given), None)
    if place == "output" or (place and (looks_like_path(word) or not nearest(word, hints(command)))):
        return [[shell.setting(place, word)]]
    return []


def output_for(command: str, source: str) -> str:
    """A place for what the command makes of `source`, as a setting."""
    return shell.setting("output", f"{Path(source).stem}{MADE[command]}")


def named(command: str, word: str) -> Settings:
    """The choices, of code or of one setting, that bear this name."""
    found = [f"{key}={word}" for key, names in NAMED.items() if key in hints(command) and word in names]
    for group in sorted(groups.choices_of(command)):
        names = sorted(groups.names_of(group))
        found += [f"{group}={name}" for name in names if name == word or name.endswith(f"/{word}")]
    return found


def _is_run(word: str) -> bool:
    """Whether it is a run's folder or one of its checkpoints, or names a run or several below `outputs/`."""
    if _exists(word):
        return finding.is_run(layout.run_of(Path(word)))
    try:
        return len(word) >= finding.SHORTEST and finding.locate(word) is not None
    except ConfigError:  # several
        return True
    except OSError:  # it can be no path
        return False


def _exists(word: str) -> bool:
    return os.path.exists(word)  # noqa: PTH110 (which takes words that no file can be called)
