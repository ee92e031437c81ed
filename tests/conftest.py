"""Shared: the real commands, run once in-process on the smallest data, each in a folder of its own."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Two tests run side by side, and the commands that they start are small: a second thread each would only wait. Torch
# and its child processes read this when they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from aectl import cli

SMALL = ["experiment=smoke", "device=cpu", "threads=1"]


@dataclass
class Result:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    """What a command changes in its process: the number of threads, and the handlers that Hydra gives the log."""
    torch.set_num_threads(1)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
    root.handlers[:] = before
    root.setLevel(level)


@pytest.fixture
def aectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Result]:
    """The command as a function of its arguments, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["aectl"])
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    for name in ("AECTL_STAMP", "AECTL_UNIQUE", "AECTL_DATA", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: str) -> Result:
        if "-m" in args and not any(arg.startswith("hydra/launcher=") for arg in args):
            # Other processes would not see what a test has changed in this one.
            args = (*args, "hydra/launcher=basic")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(list(args))
        captured = capsys.readouterr()
        return Result(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture
def only_run(tmp_path: Path) -> Callable[[], Path]:
    """The one run folder below outputs/train."""

    def find() -> Path:
        (run,) = (tmp_path / "outputs/train").iterdir()
        return run

    return find
