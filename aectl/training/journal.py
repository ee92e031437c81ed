"""What a run tells while and after it trains: its opening lines, its epochs, its pictures, its closing lines."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from aectl import shell, storage
from aectl.data.images import Images, Split, to_float
from aectl.drawing import plots, views
from aectl.drawing.explorer import page
from aectl.drawing.explorer.subject import subject_of
from aectl.errors import DataError, brief
from aectl.files import unusable
from aectl.measuring import advice, baselines
from aectl.measuring.scoring import Scores, batches, codes_of, score
from aectl.models.base import Model
from aectl.models.networks.layers import count_parameters
from aectl.models.objectives import Loss, per_pixel_weight
from aectl.runs import schema
from aectl.runs.config import TrainConfig
from aectl.runs.layout import CONFIG, EXPLORER, METRICS, RESULT, SPLIT, plain, read_metrics
from aectl.runs.opening import Progress, chosen_by
from aectl.runs.tracking import Tracker
from aectl.settings import typed

MAX_SHOWN = 5000  # points in a scatter
MAX_EMBEDDED = 1000  # images in the projector

log = logging.getLogger(__name__)


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

    def begin(self, progress: Progress, command: str) -> None:
        """Say what is about to be trained, and save the resolved configuration."""
        settings, data, model = self.config, self.data, self.model
        text = yaml.safe_dump(typed.to_dict(settings), sort_keys=False, allow_unicode=True)
        self.tracker.text("config", text)
        if progress.step == 0:
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
        if model.costs:
            log.info(
                "kl_weight %g = %.4g on the scale of a per-pixel mean over %d pixels",
                settings.kl_weight, per_pixel_weight(settings.kl_weight, data.train.shape), self._pixels,
            )  # fmt: skip
        for line in settings.notices():
            log.warning("note: %s", line)
        if progress.step:
            log.info("resuming after step %d (epoch %d of %d)", progress.step, progress.epoch, settings.epochs)
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
        log.info("%s", self._line(record))
        every = self.config.figures_every
        if every and record["epoch"] % every == 0 and record["epoch"] < self.config.epochs:
            self.draw(progress)

    def _line(self, record: dict[str, Any]) -> str:
        names = self.model.figures if self.model.costs else ("loss",)  # without costs it is the reconstruction
        parts = [f"epoch {record['epoch']}/{self.config.epochs}"]
        for part in ("train", "val"):
            if f"{part}/loss" in record:
                values = " ".join(f"{name} {record[f'{part}/{name}']:.2f}" for name in names)
                parts.append(f"{part} {values}")
        return "  ".join(parts) + f"  {record['images_per_s']:,.0f} images/s"

    def _shown(self) -> tuple[Images, str]:
        """The images that pictures show: validation, or the training part where there is none; and its name."""
        if len(self.data.val):
            return self.data.val, "validation"
        return self.data.train.drawn_once("pictures"), "training"

    def draw(self, progress: Progress) -> Scores:
        """The pictures of this moment, into TensorBoard and `figures/`; return the scores of the images shown."""
        model, device, noise = self.model, self.device, self.config.noise
        images, part = self._shown()
        images = images.spread(MAX_SHOWN)
        scores = score(model, self.loss, images, noise, self.config.kl_weight, device)
        when = f"epoch {progress.epoch}, {part} images"
        self._picture("reconstructions", views.reconstructions(model, images, noise, device, when), progress)
        if model.latent is None:
            return scores
        self._picture("prior_samples", views.prior_samples(model, device), progress)
        for name, picture in views.of_prior(model).items():
            self._picture(name, picture, progress)
        codes = codes_of(model, images, device)
        title = f"codes of {len(images):,} {part} images, epoch {progress.epoch}"
        self._picture("latent_scatter", views.latent_scatter(codes, images.labels, title), progress)
        if model.latent == 2:
            self._picture("latent_map", views.latent_map(model, codes, device), progress)
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
        if chosen is None:
            raise DataError(
                f"{self.run_dir / METRICS}: has no record of the best epoch, {progress.best.epoch}; was it edited?"
            )
        images, _ = self._shown()
        likelihood = self.model.likelihood
        reference = baselines.constant_recon(likelihood, likelihood.inverse_mean(self.data.train.mean()), images)
        names = [name for name in chosen if name.startswith(("train/", "val/")) and chosen[name] is not None]
        final = {name: chosen[name] for name in names}
        part = "val/" if chosen.get("val/loss") is not None else "train/"
        compared = {f"hparam/{name}": value for name, value in final.items() if name.startswith(part)}
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
            "mean_image_recon": reference,
            "learnt": _recon(chosen) < reference,
            **final,
        }
        storage.replace(self.run_dir / RESULT, storage.dump_json(plain(result)))
        if progress.epoch < self.config.epochs:
            log.info("stopped early: no better validation objective for %d epochs", progress.since_best)
        log.info("best epoch %d: %s", progress.best.epoch, self._figures_line(chosen))
        if verdict := self._verdict(chosen, records, reference, self._untrained(images)):
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
            self._picture("latent_kl", views.latent_kl(scores.latent_kl, scores.active_units), progress)
        if records:
            title = ", ".join((*schema.title_of(self.config), self.config.dataset.name))
            self._picture("curves", plots.curves(records, self.model.figures, title), progress)
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
        except Exception as error:
            log.warning("note: %s could not be written (%s)", target, brief(error, 200))
            return None
        return target

    @torch.inference_mode()
    def _untrained(self, images: Images) -> float:
        """Recon before the first step, nats per image."""
        triples = batches(images, self.config.noise, self.device, self.config.seed)
        return self.model.likelihood.fitted_recon((x, self.model.untrained(noisy)) for x, noisy, _ in triples)

    def _verdict(
        self, chosen: dict[str, Any], records: Sequence[dict[str, Any]], reference: float, untrained: float
    ) -> str | None:
        """What to know of a run that is no better than `reference`, the mean image's recon, or not any more.

        It diverged if it is further from that than twice the way to `untrained`, that of a network before its first
        step.
        """
        unit = self.model.likelihood.per_pixel(reference / self._pixels).partition(", σ")[0]
        best, last = _recon(chosen), _recon(records[-1])
        than = f"{reference:.2f} ({unit}), which the mean training image has in place of every reconstruction"
        if best > reference + 2 * max(untrained - reference, 0) or last >= reference > best:
            when = f" after its best epoch, {chosen['epoch']}" if best < reference else ""
            tips = advice.against_divergence(self.config)
            return f"it diverged{when}: recon came to {last:.2f}, worse than {than}; {advice.words(tips)}"
        if best >= reference:
            recons = [record["train/recon"] for record in records]
            tips = advice.against_not_learning(self.config, recons, chosen.get("val/active_units"))
            return f"it has not learnt: recon {best:.2f} is no better than {than}; {advice.words(tips)}"
        return None

    def _next(self) -> list[str]:
        """Commands that fit the run, each as a line to paste."""
        run = shell.setting("run", self.run_dir)
        then = "denoise" if self.config.corrupts else None if self.model.latent is None else "sample"
        commands = [shell.command(name, run) for name in ("eval", then) if name]
        root = next((str(path) for path in self.run_dir.parents if path.name == "outputs"), str(self.run_dir))
        return [*commands, shell.line("tensorboard", "--logdir", root)]

    def _figures_line(self, record: dict[str, Any]) -> str:
        """Training and validation in nats per image, and in the unit that courses print: an error per pixel."""
        texts = []
        for part in ("train", "val"):
            recon = record.get(f"{part}/recon")
            if recon is None:
                continue
            text = f"{part} recon {recon:.2f} ({self.model.likelihood.per_pixel(recon / self._pixels)})"
            for name in (*self.model.costs, "elbo"):
                if f"{part}/{name}" in record:
                    text += f", {name.upper()} {record[f'{part}/{name}']:.2f}"
            texts.append(text)
        return "; ".join(texts)

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
            if value is not None and key not in said and schema.bears_on_numbers(key)
        }
        return {**first, "seed": settings.seed, **rest}


def _recon(record: dict[str, Any]) -> float:
    """An epoch's reconstruction, of validation images where there are any, in nats per image."""
    recon = record["val/recon" if "val/loss" in record else "train/recon"]
    return math.inf if recon is None else recon
