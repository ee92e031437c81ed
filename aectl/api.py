"""A trained run in Python: NumPy in, NumPy out. `aectl.load` opens one, `aectl.train` makes one."""

import base64
import html
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aectl import shell
from aectl.cli import calling
from aectl.cli.composing import composed
from aectl.commands.cleaning import through
from aectl.commands.export import run_export
from aectl.commands.sampling import Origin, from_prior
from aectl.drawing import grids
from aectl.errors import ConfigError
from aectl.files.given import as_array, check_values, lossless
from aectl.files.pictures import decoding, encoding, png
from aectl.files.pictures.reading import Picture
from aectl.machine import devices
from aectl.measuring.oddness import MEASURES, Oddness
from aectl.models.arrays import OnArrays
from aectl.runs import layout, papers, sanity
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Run, open_data, open_run


def load(
    run: str | os.PathLike[str] = "latest",
    checkpoint: str = "best",
    device: str = "auto",
    data_root: str | os.PathLike[str] | None = None,
) -> "TrainedRun":
    """Open a trained run.

    Args:
        run: a run folder, a checkpoint folder, or below the working folder's outputs `latest`, a name or an id, as
            `run=` takes them.
        checkpoint: `best` or `last`.
        device: `cpu`, `cuda`, `mps`, or `auto`. How many threads torch computes with stays as it is.
        data_root: where its pictures are, as `data.root=` of the commands; a run that was not made here needs it for
            what is computed from them.

    Raises:
        CheckpointError: there is no such run, or no checkpoint of it is whole; a ValueError, as all of aectl's are.
    """
    if checkpoint not in ("best", "last"):
        raise ConfigError(f"checkpoint={checkpoint}: must be best or last")
    place = devices.choose(device, torch.get_num_threads())
    opened = open_run(os.fspath(run), checkpoint, place)
    sanity.watch(opened)
    return TrainedRun(opened, place, None if data_root is None else os.fspath(data_root))


def train(*words: str) -> "TrainedRun":
    """Train by the words of the command: `train("model=vae", "latent=2")` is `aectl train model=vae latent=2`.

    Everything lands in a run folder below the working folder's outputs, with its log. Ctrl-C stops it, and what was
    saved is whole: `train("resume=latest")` goes on.

    Raises:
        ConfigError: a word cannot be used.
        DivergedError: a number was not finite.
    """
    return load(calling.train(words))


class TrainedRun(OnArrays):
    """A run, ready for use. Images and codes go in and come out as NumPy arrays.

    Images are (N, H, W) where they are grey, (N, H, W, C) or (N, C, H, W), uint8, bool or floats in [0, 1]; or lists
    of PIL images or paths, which are brought to `shape` as the run's own were. What comes back is float32 in [0, 1],
    in the layout of an array that was given, else (N, H, W), or (N, H, W, C) in colour. Codes are (N, K), float32.

    Attributes:
        module: the `torch.nn.Module`, in evaluation mode, on `device`.
        shape: (C, H, W) of its images.
        device: where it computes.

    Raises:
        ValueError: (each method) what was given does not fit, or this run cannot do that; it says what would.
    """

    def __init__(self, opened: Run, device: torch.device, data_root: str | None = None):
        super().__init__(opened.model, opened.shape, device, *opened.config.dataset.own_fit)
        self.opened = opened
        self._root = data_root

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.opened.path

    @property
    def config(self) -> TrainConfig:
        """What it was trained with; `config.latent`, `config.noise.sigma`, ..."""
        return self.opened.config

    @property
    def history(self) -> list[dict[str, Any]]:
        """The figures of each epoch, as metrics.jsonl has them."""
        return papers.read_metrics(layout.run_of(self.path))

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures of the epoch whose weights these are; empty before the first has ended."""
        epoch = self.opened.progress.epoch
        return next((record for record in self.history if record["epoch"] == epoch), {})

    def sample(self, n: int = 64, seed: int = 0, label: Any = None) -> np.ndarray:
        """`n` new images, as `aectl sample` draws them: z ~ p(z), or of an AE from a mixture fitted to its codes."""
        self.need_code("code to draw")
        if label is not None:
            raise ValueError(f"label={label}: this run was trained without labels; leave it out")
        data = None if self.module.prior is not None else open_data(self.opened, self._root)
        return self.decode(from_prior(Origin(self.opened, data, n, seed, self.device)).codes)

    def denoise(self, picture: Any) -> Any:
        """A picture of any size, cleaned: a PIL image of one, or of a path; an array of one, (H, W) or (H, W, C)."""
        if isinstance(picture, str | os.PathLike | Image.Image):
            data = lossless(picture)
            cleaned = through(self.opened, decoding.decode(data), self.device)
            return Image.open(io.BytesIO(encoding.encode([cleaned], data)))
        values = as_array(picture)
        check_values(values)
        if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (1, 3)):
            raise ValueError(f"the picture is of shape {values.shape}; give (H, W), (H, W, 1) or (H, W, 3)")
        planes = values[None] if values.ndim == 2 else values.transpose(2, 0, 1)
        planes = np.ascontiguousarray(planes if planes.dtype == np.uint8 else planes.astype(np.float32))
        mode = "RGB" if len(planes) == 3 else "L"
        cleaned = through(self.opened, Picture(planes, None, mode, "PNG"), self.device).values
        return cleaned[0] if values.ndim == 2 else cleaned.transpose(1, 2, 0)

    def score(self, x: Any, measure: str = "error", samples: int = 50, seed: int = 0) -> np.ndarray:
        """How odd each image is, (N,), float64, the larger the odder; `measure` as of `aectl score`."""
        if measure not in MEASURES:
            raise ValueError(f"measure={measure}: no such measure; choose one of {', '.join(MEASURES)}")
        trained_on = open_data(self.opened, self._root).train if MEASURES[measure].of_training else None
        odd = Oddness(self.module, self.config.noise, measure, self.device, trained_on, samples, seed)
        return np.concatenate([odd(torch.from_numpy(part)).numpy() for part in self.given(x).batches(self.at_once)])

    def log_prob(self, x: Any, samples: int = 500, seed: int = 0) -> np.ndarray:
        """The importance-weighted bound of log p(x) from `samples` draws of z, nats, (N,), float64; of a VAE.

        All images have the same draws; for a mean over many, `aectl eval nll_samples=` draws for each anew.
        """
        if self.module.prior is None:
            raise ValueError("an AE has no prior, hence no p(x); score(x) says how odd an image is")
        return -self.score(x, "nll", samples, seed)

    def export(self, output: str | os.PathLike[str], form: str = "onnx") -> Path:
        """Write what `aectl export` does to the new folder `output`, of this checkpoint; return it.

        `form` is `onnx`, `pt2` or `safetensors`.
        """
        places = {"run": self.opened.checkpoint.path, "output": os.fspath(output), "data.root": self._root}
        words = [shell.setting(key, place) for key, place in places.items() if place is not None]
        run_export(composed("export", *words, f"format={form}", f"threads={torch.get_num_threads()}"), Path())
        return Path(output)

    def _repr_html_(self) -> str:
        """For notebooks: what it is, its figures, and images that it draws."""
        noise = self.config.noise.name
        facts = {
            "run": self.path, "epoch": self.opened.progress.epoch, "images": "×".join(map(str, self.shape)),
            "data": self.config.dataset.words, **({"noise": noise} if noise != "none" else {}),
            **{name: f"{value:.4g}" for name, value in self.metrics.items() if name.startswith("val/") and value},
        }  # fmt: skip
        rows = "".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(str(value))}</td></tr>"
                       for key, value in facts.items())  # fmt: skip
        return f"<table>{rows}</table>{self._drawn()}"

    def _drawn(self) -> str:
        if self.module.prior is None or self.module.latent is None:
            return ""
        images = torch.from_numpy(self.sample(16))
        images = images[:, None] if self.shape[0] == 1 else images.permute(0, 3, 1, 2)
        sheet = png.of_plot(grids.grid(images, "samples", 8))
        return f'<img alt="samples" src="data:image/png;base64,{base64.b64encode(sheet).decode()}">'

    def __repr__(self) -> str:
        return f"<aectl run {self.opened.title}>"
