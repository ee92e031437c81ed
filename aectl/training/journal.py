"""What a run tells while and after it trains: its opening lines, its epochs, its pictures, its closing lines."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from aectl import shell, storage
from aectl.data.images import Images, Split, to_float
from aectl.drawing import plots, views
from aectl.drawing.explorer import page
from aectl.drawing.explorer.subject import subject_of
from aectl.errors import DataError, UserError, brief
from aectl.files import unusable
from aectl.machine import garbage
from aectl.measuring.scoring import Scores, codes_of, score
from aectl.models.base import Model
from aectl.models.networks.layers import count_parameters
from aectl.models.objectives import Loss, per_pixel_weight
from aectl.runs import defaults, schema
from aectl.runs.config import TrainConfig
from aectl.runs.layout import CONFIG, EXPLORER, METRICS, OUTPUTS, RESULT, SPLIT
from aectl.runs.opening import chosen_by
from aectl.runs.papers import read_metrics, without_nan
from aectl.runs.records import Progress
from aectl.runs.tracking import Tracker
from aectl.settings import typed
from aectl.training import lines, standing
from aectl.training.standing import Alarm, Bounds

MAX_SHOWN = 5000  # points in a scatter
MAX_EMBEDDED = 1000  # images in the projector
COMPARED = ("loss", "psnr", "recon", "kl", "elbo")  # of the best epoch, in the hparams tab, which shows five columns

log = logging.getLogger(__name__)
OF_COSTS = ("kl_", "prior.", "objective.")  # settings that say nothing of a model whose code costs nothing


@dataclass(frozen=True)
class Journal:
    """What a run in `run_dir` tells, on the screen, in TensorBoard and in its files."""

    config: TrainConfig
    run_dir: Path
    data: Split
    model: Model
    loss: Loss
    device: torch.device
    tracker: Tracker
    alarm: Alarm = field(default_factory=Alarm)

    def begin(self, progress: Progress, command: str) -> None:
        """Say what is about to be trained, and save the resolved configuration."""
        settings, data, model = self.config, self.data, self.model
        plain_settings = typed.to_dict(settings)
        self.tracker.text("config", defaults.page(command, plain_settings))
        if progress.step == 0:
            text = yaml.safe_dump(plain_settings, sort_keys=False, allow_unicode=True)
            saved = f"# {command}\n{text}"
            storage.replace(self.run_dir / CONFIG, saved.encode())
            self._save_split()
        sizes = data.sizes()
        kind, detail = schema.title_of(settings)
        log.info("run %s", self.run_dir)
        for line in data.notes:
            log.info("%s", line)
        log.info(
            "%s %s%s, %s on %s %s: %d train, %d val, %d test; %d parameters; %s",
            settings.network.name, kind, "" if model.latent is None else f", {detail}",
            settings.likelihood.name, settings.dataset.name,
            "×".join(map(str, data.train.shape)), sizes["train"], sizes["val"], sizes["test"],
            count_parameters(model), self.device,
        )  # fmt: skip
        if "kl" in model.costs:
            log.info(
                "kl_weight %g = %.4g on the scale of a per-pixel mean over %d pixels",
                settings.kl_weight, per_pixel_weight(settings.kl_weight, data.train.shape), self._pixels,
            )  # fmt: skip
        for line in settings.notices():
            log.warning("note: %s", line)
        if progress.step:
            log.info("resuming after step %d (epoch %d of %d)", progress.step, progress.epoch, settings.epochs)
            self.alarm.hear(read_metrics(self.run_dir))
            if progress.epoch == settings.epochs:
                log.info("nothing is left to train; epochs=<more> would go on")

    def _save_split(self) -> None:
        """Which of people's own pictures are in which part, and which could not be used."""
        if self.data.manifest is not None:
            document = {"seed": self.config.dataset.split_seed, "parts": self.data.manifest}
            storage.replace(self.run_dir / SPLIT, json.dumps(document).encode())
        unusable.write(self.run_dir / unusable.FILE, self.data.bad)

    @property
    def _pixels(self) -> int:
        """Values in an image."""
        return math.prod(self.data.train.shape)

    def epoch(self, progress: Progress, record: dict[str, Any], scores: Scores | None) -> None:
        """Record an epoch; draw its pictures when it is their turn."""
        self.tracker.epoch(record)
        if scores is not None and scores.latent_kl is not None:
            self.tracker.latent_kl(scores.latent_kl, record["step"])
        log.info("%s", lines.of_epoch(record, self.config.epochs, self.model))
        if warning := self.alarm.look(record, self._bounds, self.config):
            log.warning("%s", warning)
        every = self.config.figures_every
        if every and record["epoch"] % every == 0 and record["epoch"] < self.config.epochs:
            self.draw(progress)

    @cached_property
    def _bounds(self) -> Bounds:
        """What the images shown take without learning."""
        return standing.bounds_of(self.model, self.config, self.data.train, self._shown()[0], self.device)

    def _shown(self) -> tuple[Images, str]:
        """The images that pictures show: validation, or the training part where there is none; and its name."""
        if len(self.data.val):
            return self.data.val, "validation"
        return self.data.train.drawn_once("pictures"), "training"

    @garbage.freed()
    def draw(self, progress: Progress) -> Scores:
        """The pictures of this moment, into TensorBoard and `figures/`; return the scores of the images shown."""
        model, device, noise = self.model, self.device, self.config.noise
        images, part = self._shown()
        images = images.spread(MAX_SHOWN)
        scores = score(model, self.loss, images, noise, self.config.kl_weight, device)
        run = schema.caption(self.config)
        when = f"{run}: {part} images, epoch {progress.epoch}"
        self._picture("reconstructions", views.reconstructions(model, images, noise, device, when), progress)
        if model.latent is None:
            return scores
        self._picture("prior_samples", views.prior_samples(model, device, run), progress)
        codes = codes_of(model, images, device)
        what = f"codes of {len(images):,} {part} images, epoch {progress.epoch}"
        shown = views.codes_picture(model, codes, images.labels, device, what, run)
        for name, picture in (*views.of_prior(model, run).items(), shown):
            self._picture(name, picture, progress)
        return scores

    def _picture(self, name: str, picture: views.View, progress: Progress) -> None:
        self.tracker.picture(name, picture, progress.step)

    def finish(self, progress: Progress, overrides: Sequence[str]) -> float:
        """Draw everything once more, fill the projector and the hparams tab, say what to do next.

        Returns:
            What `aectl.training.loop.train` returns.
        """
        self.model.eval()
        assert progress.best is not None, "an epoch has ended"
        records = read_metrics(self.run_dir)
        self._last_pictures(progress, records)
        chosen = next((record for record in records if record["step"] == progress.best.step), None)
        if chosen is None or "train/recon" not in chosen:
            raise DataError(
                f"{self.run_dir / METRICS}: has no figures of the best epoch, {progress.best.epoch}; was it edited?"
            )
        names = [name for name in chosen if name.startswith(("train/", "val/")) and chosen[name] is not None]
        if not self.model.costs:  # which an older aectl took for costs of 0
            names = [name for name in names if not name.endswith(("/kl", "/elbo"))]
        final = {name: chosen[name] for name in names}
        part = "val" if chosen.get("val/loss") is not None else "train"
        compared = {
            f"{place} {part} {name}": final[f"{part}/{name}"]  # numbered, since it sorts them by name
            for place, name in enumerate(COMPARED, 1)
            if f"{part}/{name}" in final
        }
        self.tracker.hparams(self._hyperparameters(), compared)
        result = {
            "status": "completed",
            "overrides": list(overrides),
            "epochs": progress.epoch,
            "best_epoch": progress.best.epoch,
            "epoch_chosen_by": chosen_by(self.config),
            "dataset": self.config.dataset.name,
            "binarize": self.config.dataset.binarize,
            "sizes": self.data.sizes(),
            "step": progress.step,
            "seconds": round(progress.seconds, 3),
            "objective": progress.best.value,
            "mean_image_recon": self._bounds.mean_image,
            "learnt": standing.recon_of(chosen) < self._bounds.mean_image,
            **final,
        }
        storage.replace(self.run_dir / RESULT, storage.dump_json(without_nan(result)))
        if progress.epoch < self.config.epochs:
            log.info("stopped early: no better validation objective for %d epochs", progress.since_best)
        log.info("best epoch %d: %s", progress.best.epoch, lines.of_best(chosen, self.model, self._pixels))
        if verdict := standing.verdict(self.config, chosen, records, self._bounds):
            log.warning("%s", verdict)
        if (written := self._explorer(records[-1])) is not None:
            log.info("look at: %s (the latent space, to play with in a browser)", written)
        log.info("curves, pictures and checkpoints: %s", self.run_dir)
        log.info("%s", shell.what_next(*self._next()))
        return progress.best.value

    def _last_pictures(self, progress: Progress, records: Sequence[dict[str, Any]]) -> None:
        """Those of this moment, the curves, and codes for the projector."""
        scores = self.draw(progress)
        if scores.latent_kl is not None:
            bars = views.latent_kl(scores.latent_kl, scores.active_units, schema.caption(self.config))
            self._picture("latent_kl", bars, progress)
        if records:
            curves = plots.curves(records, lines.names_of(self.model), schema.caption(self.config))
            self._picture("curves", curves, progress)
        few = self._shown()[0].spread(MAX_EMBEDDED)
        codes = codes_of(self.model, few, self.device)
        self.tracker.embedding(codes, few.labels, to_float(few.pixels), progress.step)

    def _explorer(self, record: dict[str, Any]) -> Path | None:
        """The page of a run that is small; a finished run loses no more than that where it cannot be written."""
        images = isinstance(self.data.train, Images)  # others would have to be cut first
        if not (self.config.explore and images) or self.model.latent is None:
            return None
        target = self.run_dir / EXPLORER
        try:
            found = subject_of(self.config, self.model, record, self.data, self.device)
            if not page.is_small(found):
                return None
            text, _ = page.explorer(found)
            storage.replace(target, text.encode())
        except (OSError, UserError, RuntimeError, MemoryError) as error:  # the disk refuses, or memory is short
            log.warning("note: %s could not be written (%s)", target, brief(error, 200))
            return None
        return target

    def _next(self) -> list[str]:
        """Commands that fit the run, each as a line to paste."""
        run = shell.setting("run", self.run_dir)
        then = "denoise" if self.config.corrupts else None if self.model.latent is None else "sample"
        commands = [shell.command(name, run) for name in ("eval", then) if name]
        root = next((str(path) for path in self.run_dir.parents if path.name == OUTPUTS.name), str(self.run_dir))
        return [*commands, shell.line("tensorboard", "--logdir", root)]

    def _hyperparameters(self) -> dict[str, Any]:
        """What defines the run, and as `train.` whatever else bears on its numbers: TensorBoard goes by name."""
        settings = self.config
        kind, _ = schema.title_of(settings)
        first = {"dataset": settings.dataset.name, "model": kind, "network": settings.network.name}
        first |= {} if self.model.latent is None else {"latent": self.model.latent}
        said = ("dataset.name", "model.name", "network.name", "latent", "seed")
        rest = {
            f"train.{key}": value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for key, value in typed.flat(typed.to_dict(settings)).items()
            if value is not None
            and key not in said
            and schema.bears_on_numbers(key)
            and (self.model.costs or not key.startswith(OF_COSTS))
        }
        return {**first, "seed": settings.seed, **rest}
