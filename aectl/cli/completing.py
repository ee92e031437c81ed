"""TAB: what may come next on a command line. Hydra knows settings and choices; commands and runs are ours."""

import contextlib
import io
import os
import re
from collections.abc import Iterable

from aectl.cli.groups import others_than
from aectl.cli.job import Job
from aectl.cli.launching import hydra_main, without_command
from aectl.cli.messages import Task
from aectl.commands.table import COMMANDS
from aectl.runs import finding
from aectl.settings.typed import path_keys

RUNS, SWEEPS = ("run", "resume"), ("sweep", "sweep.resume")  # settings that take one


def answer(args: list[str]) -> None:
    """Do what `aectl -sc` asks: print what completes $COMP_LINE, each on a line, or how a shell is told to ask."""
    if not any(arg.startswith("query=") for arg in args):
        hydra_main(Job(Task("train"), ""), args)
        return
    words = os.environ.get("COMP_LINE", "").split(" ")
    if len(words) <= 2:
        print("\n".join(name for name in COMMANDS if name.startswith(words[-1])))
    elif words[1] in COMMANDS:
        print("\n".join(_runs(words[1], words[-1]) or _settings(words, args)))


def _settings(words: list[str], args: list[str]) -> list[str]:
    """What Hydra's completion says, which knows no command word, and offers every folder of configuration files."""
    command = words[1]
    without_command(words)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        hydra_main(Job(Task(command), ""), args)
    others = others_than(command)
    return [word for word in said.getvalue().split() if re.split("[=/]", word, maxsplit=1)[0] not in others]


def _runs(command: str, word: str) -> list[str]:
    """The runs or sweeps that complete a setting which takes one, by name and id; nothing for other words."""
    key, equals, begun = word.partition("=")
    if not equals or key not in path_keys(COMMANDS[command].schema):
        return []
    offered = of_runs(begun) if key in RUNS else of_sweeps() if key in SWEEPS else ()
    return [
        f"{key}={one}" for one in sorted(set(offered)) if one.startswith(begun) and re.fullmatch(r"[\w./-]+", one)
    ]


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
