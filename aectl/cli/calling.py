"""`aectl train` from a Python program: the words of a command line, without one."""

import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aectl import shell, terminal
from aectl.cli import composing, job, launching, paths
from aectl.cli.messages import Task, explain
from aectl.errors import ConfigError, StorageError, UserError
from aectl.runs import layout

LOG = "train.log"


def train(words: tuple[str, ...]) -> Path:
    """Train as `aectl train <words>` does; the run's folder.

    Raises:
        UserError: as the command, whose message it has; one that fails before there is anything leaves no folder.
    """
    from aectl.commands.train import run_train

    for word in words:
        if not isinstance(word, str) or not word or word.startswith("-"):
            raise ConfigError(f"{word!r}: give settings alone, as 'latent=2'; flags and sweeps are the command's")
    overrides = [paths.for_hydra(word) for word in words]
    launching.check_overrides("train", overrides, multirun=False)
    launching.name_launch(time.strftime("%Y-%m-%d_%H-%M-%S"), secrets.token_hex(3), overrides)
    settings, folder = composing.composed_run("train", overrides)
    with _logged(folder) as file:
        try:
            run_train(settings, folder, overrides=overrides, line=shell.command("train", *words), in_sweep=False)
            terminal.finish([file])
        except Exception as error:
            _, message = explain(error, Task("train", job.places_of(settings, folder)))
            if message is None:
                raise
            job.end_log(message, folder, [file])
            if isinstance(error, UserError):
                raise
            raise StorageError(message) from error
    return folder


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[logging.FileHandler]:
    """Our log in a file of the run's folder, and on the screen where the program has no log of its own."""
    root, ours = logging.getLogger(), logging.getLogger("aectl")
    layout.refuse_leads(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = terminal.LogFile(str(folder / LOG))
    file.setFormatter(terminal.Plain("%(asctime)s %(levelname)s %(message)s"))
    handlers: list[logging.Handler] = [file]
    if not root.handlers:
        handlers.append(logging.StreamHandler(sys.stdout))
        handlers[-1].setFormatter(terminal.Plain())
    level = ours.level
    ours.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield file
    finally:
        ours.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
