"""`aectl train` from a Python program: the words of a command line, without one."""

import contextlib
import logging
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aectl import shell
from aectl.cli import composing, launching, paths
from aectl.errors import ConfigError

LOG = "train.log"


def train(words: tuple[str, ...]) -> Path:
    """Train as `aectl train <words>` does; the run's folder.

    Raises:
        UserError: as the command, whose message it has.
    """
    from aectl.commands.train import run_train

    if flag := next((word for word in words if not isinstance(word, str) or word.startswith("-")), None):
        raise ConfigError(f"{flag}: give settings alone, such as latent=2; flags and sweeps are the command's")
    overrides = [paths.for_hydra(word) for word in words]
    launching.check_overrides("train", overrides)
    launching.name_launch(time.strftime("%Y-%m-%d_%H-%M-%S"), secrets.token_hex(3), overrides)
    settings, folder = composing.composed_run("train", overrides)
    with _logged(folder):
        run_train(settings, folder, overrides=overrides, line=shell.command("train", *words), in_sweep=False)
    return folder


@contextlib.contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Our log in the run's folder, and on the screen where the program has no log of its own."""
    root, ours = logging.getLogger(), logging.getLogger("aectl")
    folder.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(folder / LOG)]
    handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    if not root.handlers:
        handlers.append(logging.StreamHandler(sys.stdout))
    level = ours.level
    ours.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    finally:
        ours.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
