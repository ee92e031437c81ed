"""Shared: the real commands, run once in-process on the smallest data, each in a folder of its own."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Two tests run side by side, and the commands that they start are small: a second thread each would only wait. Torch
# and its child processes read this when they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A key of their own, by which runs that they have made are known; processes that they start read it as well.
if "AECTL_KEY" not in os.environ:
    _own = tempfile.TemporaryDirectory(prefix="aectl-key-")
    os.environ["AECTL_KEY"] = f"{_own.name}/key"

import numpy as np
import pytest
import torch
from chromium import browser, opened  # noqa: F401  (fixtures)

from aectl.cli import main
from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.drawing import grids
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.base import Network
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.runs import checkpoint
from aectl.training import loop
from aectl.training.journal import Journal
from configs import train_config

SMALL = ["experiment=smoke", "device=cpu", "threads=1", "explore=false", "figures_every=0"]

# A shell makes deaf to Ctrl-C what it starts in the background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def replace_checkpoint(saved: checkpoint.Checkpoint, **changes: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint again in its place, whole, with other tensors."""
    shutil.rmtree(saved.path)
    parts = {"model": saved.model, "config": saved.config, "trainer": saved.trainer, "state": saved.state, **changes}
    checkpoint.save(saved.path.parent, checkpoint.step_of(saved.path), **parts)


@dataclass
class Result:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    with clean_process():
        yield


@contextlib.contextmanager
def clean_process() -> Iterator[None]:
    """Undo at the end what a command changes in its process: threads, and the handlers that Hydra gives the log."""
    torch.set_num_threads(1)
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(before):
            handler.close()
        root.handlers[:] = before
        root.setLevel(level)


def _hearing_hang_ups() -> None:
    """In a new process: as if the tests did not run under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextlib.contextmanager
def no_pictures() -> Iterator[None]:
    """Runs that are trained meanwhile draw none at their end, which takes longer than all else of runs so small."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, "_last_pictures", lambda *given: None)
        yield


@pytest.fixture
def without_pictures(request: pytest.FixtureRequest) -> Iterator[None]:
    """For modules whose tests look at no pictures of a run's end, but for those that are marked with `pictures`."""
    with contextlib.nullcontext() if "pictures" in request.keywords else no_pictures():
        yield


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts the real command in a folder, as a group of processes of its own; none of it outlives the test."""
    processes = []

    def start(folder: Path, *args: str, before: tuple[str, ...] = ()) -> subprocess.Popen:
        processes.append(
            subprocess.Popen(
                [*before, sys.executable, "-m", "aectl", *args], cwd=folder, text=True, start_new_session=True,
                env={**os.environ, "AECTL_CACHE": str(folder / "cache")}, preexec_fn=_hearing_hang_ups,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
        return processes[-1]

    yield start
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


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
            main.main(list(args))
        captured = capsys.readouterr()
        return Result(ended.value.code or 0, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small VAE of 28×28 grey pictures with two latents, for tests that only use one."""
    folder = tmp_path_factory.mktemp("run")
    dataset = Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=[1, 28, 28])
    config = train_config(
        dataset=dataset, network=Mlp(hidden=[8]), model=Vae(posterior="logvar"), epochs=1, device="cpu",
        figures_every=0,
    )  # fmt: skip
    with no_pictures():
        loop.train(config, folder)
    return folder


@pytest.fixture
def only_run(tmp_path: Path) -> Callable[[], Path]:
    """The one run folder below outputs/train."""

    def find() -> Path:
        (run,) = (tmp_path / "outputs/train").iterdir()
        return run

    return find


def trained_denoiser(folder: Path, network: Network, colours: int = 1) -> Path:
    """A run of one epoch on drawn shapes of 12×10 with noise."""
    config = train_config(
        dataset=Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=[colours, 12, 10]),
        noise=noises.Gaussian(sigma=0.2), network=network, model=Ae(), latent=6,
        likelihood=Gaussian(sigma=1.0), epochs=1, figures_every=0, threads=1,
    )  # fmt: skip
    with no_pictures():
        loop.train(config, folder)
    return folder


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A U-net of colours before its first step, when it adds nothing to what it sees."""
    unet = Unet(channels=[4, 6], blocks=1)
    return trained_denoiser(tmp_path_factory.mktemp("identity") / "run", unet, 3) / "checkpoints/step-00000000"


@pytest.fixture(scope="session")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run with a code, on grey pictures of 12×10."""
    return trained_denoiser(tmp_path_factory.mktemp("autoencoder") / "run", Mlp(hidden=[16]), 1)


@dataclass
class Drawn:
    """What was drawn: matplotlib's figures with all that is in them; images in sheets, as rows by name or a grid.

    `sheets` are rows as well, (label, images) each, with the title and the heads of the columns.
    """

    plots: list[Any] = field(default_factory=list)
    rows: list[tuple[dict[str, torch.Tensor], str]] = field(default_factory=list)
    sheets: list[tuple[list[tuple[str, torch.Tensor]], str, list[str]]] = field(default_factory=list)
    grids: list[tuple[torch.Tensor, str]] = field(default_factory=list)

    def plot(self, words: str) -> Any:
        """The axes of the only plot with these words in its title."""
        found = {axes for figure in self.plots for axes in figure.axes if words in axes.get_title()}
        assert len(found) == 1, [axes.get_title() for figure in self.plots for axes in figure.axes]
        return found.pop()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    found = Drawn()
    draw, rows, grid, labelled = FigureCanvasAgg.draw, grids.rows, grids.grid, grids.labelled

    def watched_draw(canvas: Any, *args: Any, **more: Any) -> Any:
        found.plots.append(canvas.figure)
        return draw(canvas, *args, **more)

    def watched_rows(named: dict[str, torch.Tensor], title: str) -> np.ndarray:
        found.rows.append((named, title))
        return rows(named, title)

    def watched_labelled(lines: Any, title: str, heads: Any = ()) -> np.ndarray:
        found.sheets.append((lines, title, list(heads)))
        return labelled(lines, title, heads)

    def watched_grid(images: torch.Tensor, title: str, *args: Any, **more: Any) -> np.ndarray:
        found.grids.append((images, title))
        return grid(images, title, *args, **more)

    monkeypatch.setattr(FigureCanvasAgg, "draw", watched_draw)
    monkeypatch.setattr(grids, "rows", watched_rows)
    monkeypatch.setattr(grids, "grid", watched_grid)
    monkeypatch.setattr(grids, "labelled", watched_labelled)
    return found
