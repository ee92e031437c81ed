"""TAB: what may come next on a command line, from the YAML files, the runs that there are, and the disk.

The shell asks through `$COMP_LINE`, as Hydra's scripts for bash, zsh and fish do; Hydra itself answers for its own
settings alone.
"""

import contextlib
import io
import os
import re
from collections.abc import Iterable

from aectl import storage
from aectl.cli import described, groups
from aectl.cli.job import Job
from aectl.cli.launching import BATCHED, hydra_main, without_command
from aectl.cli.messages import Task
from aectl.commands.table import COMMANDS
from aectl.runs import finding
from aectl.settings.typed import path_keys
from aectl.terminal import say

RUNS, SWEEPS = ("run", "resume"), ("sweep", "sweep.resume")  # settings that take one
SAFE = re.compile(r"[\w./~,=+@%-]+")  # what a shell takes as one word


def answer(args: list[str]) -> None:
    """Do what `aectl -sc` asks: print what completes $COMP_LINE, each on a line, or how a shell is told to ask."""
    if not any(arg.startswith("query=") for arg in args):
        hydra_main(Job(Task("train"), ""), args)
        return
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) <= 2:
        say("\n".join(name for name in COMMANDS if name.startswith(words[-1])))
    elif words[1] in COMMANDS:
        say("\n".join(_completed(words, args)))


def _completed(words: list[str], args: list[str]) -> list[str]:
    command, word = words[1], words[-1]
    if word.startswith("hydra"):
        return _of_hydra(words, args)
    key, equals, begun = word.partition("=")
    if not equals:
        offered = _keys(command, words[2:-1])
        return sorted(one for one in offered if one.startswith(word))
    before, comma, begun = begun.rpartition(",")  # of a sweep's values the last is completed
    found = _values(command, key, begun)
    return [
        f"{key}={before}{comma}{one}" for one in sorted(set(found)) if one.startswith(begun) and SAFE.fullmatch(one)
    ]


def _of_hydra(words: list[str], args: list[str]) -> list[str]:
    """What Hydra's completion says, which knows no command word, of settings of its own."""
    without_command(words)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        hydra_main(Job(Task(words[1]), ""), args)
    found = [word for word in said.getvalue().split() if word.startswith("hydra")]
    ours = words[1] == "train" and "=" in words[-1] and BATCHED.startswith(words[-1])
    return sorted([*found, BATCHED]) if ours else found


def _keys(command: str, given: list[str]) -> Iterable[str]:
    """`model=`, `latent=`, and the settings of the choices that the line has, or that are the default."""
    chosen = dict(word.partition("=")[::2] for word in given if "=" in word)
    for group in described.groups_of(command).values():
        yield f"{group.name}="
        for key in described.settings_of_choice(group.name, chosen.get(group.name, group.default)):
            yield f"{key}="
    yield from (f"{key}=" for key in described.settings_of(command))


def _values(command: str, key: str, begun: str) -> Iterable[str]:
    if key in described.groups_of(command):
        return groups.names_of(key)
    if key in path_keys(COMMANDS[command].schema):
        known = of_runs(begun) if key in RUNS else of_sweeps() if key in SWEEPS else None
        return [*(known or ()), *(_paths(begun) if known is None or begun else ())]
    group, dot, _ = key.partition(".")
    if dot and group in described.groups_of(command):
        having = (one for choice in described.choices_of(group).values() for one in choice.settings if one.key == key)
        return (value for one in having for value in one.values)
    setting = described.settings_of(command).get(key)
    return setting.values if setting else ()


def _paths(begun: str) -> Iterable[str]:
    """Files and folders, these with a slash, that begin so; what is hidden only where a dot is typed."""
    folder, slash, name = begun.rpartition("/")
    top = storage.expanded(f"{folder}{slash}" or ".")
    try:
        for path in sorted(top.iterdir()):
            if path.name.startswith(name) and path.name.startswith(".") <= name.startswith("."):
                yield f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
    except OSError:
        return


def of_runs(begun: str) -> Iterable[str]:
    """`latest`, the names and ids of runs, and the ids of sweeps with a slash, after which their jobs are offered."""
    short = finding.ids()
    places = finding.jobs() if "/" in begun else finding.runs()
    sweeps = [] if "/" in begun else [f"{short[path]}/" for path in finding.sweeps().values()]
    names = map(finding.name_of_run, finding.runs().values())
    return [finding.LATEST, *names, *sweeps, *(short[path] for path in places.values())]


def of_sweeps() -> Iterable[str]:
    """`latest`, and the names and ids of sweeps."""
    short, places = finding.ids(), finding.sweeps().values()
    return [finding.LATEST, *map(finding.name_of_sweep, places), *(short[path] for path in places)]
