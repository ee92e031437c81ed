"""The runs of a sweep, each measured on the same images, and what they were measured on and with."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

import torch

from aectl.data.datasets.base import Dataset
from aectl.data.images import Images, Split
from aectl.machine import facts
from aectl.measuring import baselines, comparison, endings, evaluation, figures
from aectl.measuring.baselines import Principal
from aectl.measuring.comparison import Measured
from aectl.measuring.endings import Ending
from aectl.measuring.evaluation import Subject
from aectl.runs import papers
from aectl.runs.config import TrainConfig
from aectl.runs.opening import Run, environment_of, open_data, open_run
from aectl.settings import typed


@dataclass
class Circumstances:
    """What figures were measured on and with, each thing once, in words.

    Attributes:
        data: data set, number of images, their size.
        sizes: images that were trained on, and that chose the epoch.
        networks: encoder and decoder.
        trained: software and device of the training.
        measured: software and machine of the measuring.
    """

    data: list[str] = field(default_factory=list)
    sizes: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    measured: str = ""

    def add(self, **words: str) -> None:
        """Note what holds for one more run, unless it is there."""
        for name, text in words.items():
            if text and text not in (noted := getattr(self, name)):
                noted.append(text)


class Bench:
    """Measures runs one after another; data sets and their principal components are made once for all of them.

    Args:
        split: the part of the data that is measured.
        device: what computes.
        root: where data sets are; None as each run has it.
        seed: of noise and draws.
    """

    def __init__(self, split: str, device: torch.device, *, root: str | None = None, seed: int = 0):
        self.split = split
        self.device = device
        self.root = root
        self.seed = seed
        self.circumstances = Circumstances(measured=f"{facts.software()}; {facts.hardware(device)}")
        self._data: dict[str, tuple[Split, Principal]] = {}

    def open(self, job: dict[str, Any]) -> tuple[Run, Split, Principal]:
        """A job's run with its best checkpoint, its data, and the principal components of its training images."""
        run = open_run(str(job["folder"]), "best", self.device)
        key = json.dumps([typed.to_dict(run.config.dataset), run.made_here, papers.digest_of_split(run.path)])
        if key not in self._data:
            data = open_data(run, self.root)
            self._data[key] = data, baselines.principal(data.train)
        return run, *self._data[key]

    def images(self, data: Split, job: dict[str, Any]) -> Images:
        """The part of the data that is measured."""
        return data.part(self.split, f"it is that of job {job['job']}; choose another split")

    def measure(self, job: dict[str, Any], settings: dict[str, str]) -> Measured:
        """Its figures: recon, KL and ELBO in nats per image, squared error per image, PSNR, active units, seconds.

        `settings` are those that tell it from the other jobs.
        """
        run, data, principal = self.open(job)
        images, model = self.images(data, job), run.model
        subject = Subject(run, data, images, self.split, self.device, self.seed)
        measured = figures.values([*evaluation.objective(subject), *evaluation.reconstruction(subject)])
        names = ("recon", *model.costs, "elbo", "active_units", "sse", "psnr")
        found = {name: measured[name] for name in names if name in measured}
        if model.latent is not None:
            found["pca_sse"] = principal.sse(images, model.latent)
        part = "val" if job.get("val/loss") is not None else "train"
        found["chosen_by"] = sum(_number(job.get(f"{part}/{name}")) for name in ("recon", *model.costs))
        where = data_words(run.config.dataset, images, self.split)
        self._note(run, data, where)
        return Measured(
            job["job"],
            settings,
            _along(run.config),
            {**found, "seconds": _number(job.get("seconds"))},
            run.config.seed,
            where,
            run.config.likelihood.name,
            [record.get(f"{part}/loss") for record in papers.read_metrics(run.path)],
            endings.of(job) in (Ending.LEARNT, None),
        )

    def _note(self, run: Run, data: Split, where: str) -> None:
        sizes = data.sizes()
        trained = environment_of(run.checkpoint)
        device = trained.device
        self.circumstances.add(
            data=where,
            sizes=f"trained on {sizes['train']:,} images"
            + (f", the epoch chosen on {sizes['val']:,} others" if sizes["val"] else ""),
            networks=run.config.network.words,
            trained=", ".join(
                [f"{key} {word}" for key, word in (("aectl", trained.aectl), ("torch", trained.torch)) if word]
                + ([f"{device}{_threads(trained.threads) if device == 'cpu' else ''}"] if device else [])
            ),
        )


def _along(config: TrainConfig) -> dict[str, float]:
    """The numbers that a run has of those that sweeps go along."""
    settings = typed.flat(typed.to_dict(config))
    return {axis: settings[axis] for axis in comparison.AXES if settings.get(axis) is not None}


PART_WORDS = {"train": "training", "val": "validation", "test": "test"}


def _number(value: float | None) -> float:
    """What a job has recorded; a NaN was recorded as null."""
    return math.nan if value is None else value


def _threads(count: int | None) -> str:
    return "" if count is None else f" with {count} thread{'' if count == 1 else 's'}"


def data_words(dataset: Dataset, images: Images, part: str) -> str:
    """`mnist, 10,000 test images of 28×28`."""
    channels, height, width = images.shape
    binary = "" if dataset.binarize == "none" else f" (binarize={dataset.binarize})"
    colour = "" if channels == 1 else f" in {channels} channels"
    count = f"{len(images):,} {PART_WORDS[part]} image{'' if len(images) == 1 else 's'}"
    return f"{dataset.words}{binary}, {count} of {height}×{width}{colour}"
