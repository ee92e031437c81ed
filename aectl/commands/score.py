"""`aectl score`: how odd each picture is to a run, the oddest first."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aectl import storage
from aectl.commands import inputs, works
from aectl.commands.inputs import Inputs, Source
from aectl.commands.schemas import ScoreConfig
from aectl.data.images import Split, to_float
from aectl.drawing import oddest
from aectl.errors import CheckpointError, ConfigError, DataError, counted
from aectl.files import places, tables, unusable
from aectl.files.pictures import png
from aectl.machine import devices
from aectl.measuring import baselines
from aectl.measuring.detection import Detection, detect
from aectl.measuring.oddness import MEASURES, Oddness
from aectl.runs import sanity, schema
from aectl.runs.opening import Run, open_data, open_run

COMPONENTS = 32  # of the PCA beside a network that has no code
SHOWN = 8  # pictures in the sheet, of either kind

log = logging.getLogger(__name__)


@dataclass
class Scored:
    """Pictures and how odd they are, in the order in which they were given.

    Attributes:
        scores, residuals: (N,), of the measure, and of PCA, None where the run's data are not at hand.
    """

    sources: list[Source]
    scores: np.ndarray
    residuals: np.ndarray | None

    @property
    def labels(self) -> list[str | None]:
        """None for a picture of no class."""
        return [source.label for source in self.sources]

    @property
    def order(self) -> np.ndarray:
        """Places of the pictures, that of the oddest first."""
        return np.argsort(-self.scores, kind="stable")


def run_score(config: ScoreConfig, folder: Path) -> float | None:
    """Scores as CSV and the oddest as a picture, into `config.output` or `folder`; metrics.json in `folder`.

    Returns:
        1 − AUROC where it is known which pictures are usual, for a sweeper to minimise.

    Raises:
        ConfigError: this run cannot be measured so, or nothing has the label `normal`.
        DataError: pictures cannot be used, or the run's data, which were asked for, are not there.
        StorageError: the output is there already, or cannot be written.
    """
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    log.info("scoring with %s, %s checkpoint: %s", run.title, config.checkpoint, MEASURES[config.measure].words)
    sanity.watch(run)
    data = _data(run, config)
    target = folder / "scores.csv" if config.output is None else storage.expanded(config.output)
    sheet, bad = target.with_name(f"{target.stem}_oddest.png"), unusable.beside(target)
    own = config.output is None  # in the command's own folder, where nobody else's files are
    work = works.work(run, config, device, target, folder=False, overwrite=own or config.overwrite)
    work.refuse([target.name, sheet.name])
    odd = Oddness(
        run.model, run.config.noise, config.measure, device, data and data.train, config.samples, config.seed
    )
    given = _inputs(run, data, config)
    with places.prepared([target, sheet, bad]), work.begun([target.name, sheet.name]):
        scored = _scored(given, odd, data, config)
        limit = _limit(odd, data, config.threshold)
        normal = _normal(config, run, scored.labels)
        drawn = png.of_plot(_sheet(given, scored, config.measure, device))
        listed = {bad.name: unusable.listed(given.bad)} if given.bad else {}
        work.write({target.name: _csv(scored, limit), sheet.name: drawn, **listed})
        unusable.tell(bad, given.bad)
        given.say_stretched()
        found = _told(scored, limit, normal, config)
        metrics = storage.dump_json({"run": str(run.path), "measure": config.measure, **found})
        storage.replace(folder / "metrics.json", metrics)
    log.info("%s: %s, beside it %s", counted(len(scored.sources), "picture"), target, sheet.name)
    return 1 - found["auroc"] if "auroc" in found else None


# ------------------------------------------------------------------------------------------- what goes in


def _data(run: Run, config: ScoreConfig) -> Split | None:
    """The run's own data, without which there is neither PCA nor a threshold; None where pictures do without."""
    try:
        return open_data(run, config.data.root)
    except DataError as error:
        if config.input is None or MEASURES[config.measure].of_training:
            raise
        log.warning("note: no PCA beside it and no threshold, for which the run's own data are needed: %s", error)
        return None


def _inputs(run: Run, data: Split | None, config: ScoreConfig) -> Inputs:
    if config.input is None:
        return inputs.of_test_part(run, data, "give input=<folder, zip or array>")
    return inputs.of_place(storage.expanded(config.input), run, config.scale, config.picture_gb)


def _scored(given: Inputs, odd: Oddness, data: Split | None, config: ScoreConfig) -> Scored:
    """All of the inputs, batch by batch.

    Raises:
        DataError: pictures cannot be used, and may not be left out.
        CheckpointError: a score is not finite.
    """
    principal = baselines.principal(data.train) if data is not None else None
    components = given.run.model.latent or COMPONENTS
    sources, scores, residuals = [], [], []
    for some, part in given.batches():
        x = to_float(part)
        sources += some
        scores.append(odd(x))
        if principal is not None:
            residuals.append(principal.residuals(x.flatten(1).double(), components))
    unusable.settle(given.bad, len(given.sources), f"input={config.input}", "on_bad", config.on_bad)
    found = torch.cat(scores).numpy()
    if not np.isfinite(found).all():
        first = sources[int(np.argmin(np.isfinite(found)))].name
        raise CheckpointError(
            f"run={given.run.path}: the score of {first} is not finite; take another run, checkpoint or measure"
        )
    return Scored(sources, found, torch.cat(residuals).numpy() if residuals else None)


def _limit(odd: Oddness, data: Split | None, share: float | None) -> float | None:
    """The score that the share of validation images does not exceed; None where there is none."""
    if share is None or data is None:
        return None
    if not len(data.val):
        log.warning("note: no threshold: the run has no validation images (dataset.val_size=0)")
        return None
    scores = torch.cat([odd(to_float(part)) for part in data.val.chunks(500)])
    return float(np.quantile(scores.numpy(), share, method="higher"))


def _normal(config: ScoreConfig, run: Run, labels: list[str | None]) -> list[str] | None:
    """The labels of the usual pictures; None where nobody has said.

    Raises:
        ConfigError: no picture has the label that was given, or all have.
    """
    known = sorted({label for label in labels if label is not None})
    own = run.config.dataset.labels if config.input is None else None
    normal = [config.normal] if config.normal is not None else [str(label) for label in own or []]
    if not normal:
        return None
    if config.normal is not None and (config.normal not in known or len(known) < 2):
        has = f"the pictures have {', '.join(known[:10])}" if known else "the pictures have no labels"
        raise ConfigError(f"normal={config.normal}: must be one label of several ({has})")
    return normal


# ------------------------------------------------------------------------------------------ what comes out


def _csv(scored: Scored, limit: float | None) -> bytes:
    """A row for each picture, the oddest first; columns that nothing is known of are left out."""
    columns: dict[str, list[Any]] = {
        "name": [source.name for source in scored.sources],
        "score": [f"{score:.6g}" for score in scored.scores],
    }
    if scored.residuals is not None:
        columns["pca"] = [f"{residual:.6g}" for residual in scored.residuals]
    if limit is not None:
        columns["odd"] = [int(score > limit) for score in scored.scores]
    if any(label is not None for label in scored.labels):
        columns["label"] = [label or "" for label in scored.labels]
    rows = [[column[index] for column in columns.values()] for index in scored.order]
    return tables.as_csv(list(columns), rows).encode("utf-8", "surrogateescape")


def _sheet(given: Inputs, scored: Scored, measure: str, device: torch.device) -> np.ndarray:
    order = scored.order
    count = min(SHOWN, max(1, len(order) // 2))
    chosen = [*order[:count], *order[::-1][:count]]
    x = to_float(given.again(scored.sources[place] for place in chosen))
    with torch.inference_mode():
        x_hat = given.run.model.reconstruct(x.to(device)).cpu()
    blocks = range(count), range(count, len(chosen))
    words = schema.caption(given.run.config), MEASURES[measure].words
    return oddest.sheet(x, x_hat, scored.scores[chosen], *blocks, *words)


def _told(scored: Scored, limit: float | None, normal: list[str] | None, config: ScoreConfig) -> dict[str, Any]:
    """Figures for metrics.json, told in the log as well."""
    found: dict[str, Any] = {"pictures": len(scored.sources)}
    if limit is not None:
        above = int((scored.scores > limit).sum())
        found |= {"threshold": limit, "above": above}
        share = f"{config.threshold:.4g} of the run's validation images"
        log.info("odd: %s of %d, above %.4g, which %s do not exceed", above, len(scored.sources), limit, share)
    if normal is None:
        return found
    known = np.array([label is not None for label in scored.labels])
    is_odd = np.array([label not in normal for label in scored.labels])[known]
    if is_odd.all() or not is_odd.any():
        return found
    for name, values in (("", scored.scores), ("pca_", scored.residuals)):
        if values is None:
            continue
        detection = detect(values[known], is_odd)
        found |= {f"{name}{key}": value for key, value in asdict(detection).items()}
        log.info("%-18s %s", "PCA's residual" if name else config.measure, _words(detection))
    log.info("usual: %s, %d of %d; odd: the others", ", ".join(normal), (~is_odd).sum(), len(is_odd))
    if MEASURES[config.measure].likelihood:
        log.info("a likelihood can be higher for what is odd but simple; measure=regret or error is safer")
    return found


def _words(found: Detection) -> str:
    spread = "" if found.low is None else f" (95 % interval {found.low:.4f} to {found.high:.4f})"
    return f"AUROC {found.auroc:.4f}{spread}, average precision {found.average_precision:.4f}"
