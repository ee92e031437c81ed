"""Runs on disk: finding one, and opening it as a model ready for use."""

import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from aectl import storage
from aectl.data.datasets import official
from aectl.data.datasets.base import Dataset
from aectl.data.images import Split
from aectl.data.split import build_dataset
from aectl.errors import CheckpointError, ConfigError, DataError
from aectl.models.base import Model
from aectl.models.networks.layers import Shape
from aectl.models.objectives import Loss
from aectl.models.table import build_model
from aectl.runs import checkpoint, finding, layout, locks, older, seals
from aectl.runs.checkpoint import Checkpoint
from aectl.runs.config import TrainConfig
from aectl.runs.layout import checkpoints_of
from aectl.runs.papers import read_manifest
from aectl.runs.records import Environment, Progress, Saved, State
from aectl.settings import common, typed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """A trained run, opened: its configuration, the model in evaluation mode, and where it came from.

    `chosen_by` says what decided on the epoch whose weights these are.
    """

    path: Path
    checkpoint: Checkpoint
    config: TrainConfig
    shape: Shape
    progress: Progress
    model: Model
    chosen_by: str

    @property
    def made_here(self) -> bool:
        """Whether the person who runs this has typed what its configuration names; see `aectl.runs.seals`."""
        return made_here(self.checkpoint)

    @property
    def title(self) -> str:
        """One line that says what was opened."""
        return f"{self.path} at step {self.progress.step} (epoch {self.progress.epoch})"

    def loss(self, data: Split) -> Loss:
        """The objective that it was trained on, with its own data."""
        return self.config.objective.on(len(data.train), self.config.batch_size)


def made_here(saved: Checkpoint) -> bool:
    """Whether the run of a checkpoint was made here, with what the checkpoint's configuration names."""
    return seals.holds(layout.run_of(saved.path), saved.config.get("train"))


def reached(dataset: Dataset, root: str | None, run: str) -> tuple[Dataset, str | None]:
    """The data set of a run that was not made here, all of whose places are below `root`, and the root to find it by.

    `root` is data.root of the command line; `run` says whose it is, as the setting that named the run.

    Raises:
        DataError: the data set is at places, and nothing was named.
    """
    if dataset.places and root is None:
        raise DataError(
            f"{run}: was not made here, so its configuration does not say where pictures are read: give "
            f"data.root={dataset.wants}"
        )
    return dataset.at(root), None if dataset.places else root


def chosen_by(settings: TrainConfig, which: str = "best") -> str:
    """What decided on the epoch of the checkpoint `which`: best, last, or given, that is named by its folder."""
    if which == "given":
        return "the command line"
    if which == "last" or settings.dataset.val_size == 0:
        return "none: the last"
    return "the validation objective"


def open_run(run: str, which: str, device: torch.device) -> Run:
    """Open the run that `run` names with its `best` or `last` checkpoint; a checkpoint folder is itself the choice.

    Of a run that is still training the log says so.

    Raises:
        CheckpointError: no such run, or no checkpoint of it is whole, or it does not fit its own configuration.
        ConfigError: `run` means several.
    """
    path = storage.expanded(run)
    if run != "latest" and (path / checkpoint.MANIFEST).is_file():
        layout.refuse_links(path)
        saved = checkpoint.load(path)
        folder = path
        which = "given"
    else:
        folder = finding.run(run)
        saved = _chosen(folder, which)
    settings, shape = read_config(saved)
    model = restore(saved, settings, shape).to(device).eval()
    opened = Run(folder, saved, settings, shape, read_progress(saved), model, chosen_by(settings, which))
    if locks.held(layout.run_of(folder)):
        log.warning("note: %s is still training; this is its checkpoint of epoch %d", folder, opened.progress.epoch)
    return opened


def _chosen(run_dir: Path, which: str) -> Checkpoint:
    """The best or last checkpoint; looked for again where training has put a newer one in its place meanwhile."""
    before = layout.listing(checkpoints_of(run_dir))
    try:
        return _best_or_last(run_dir, which)
    except CheckpointError:
        if layout.listing(checkpoints_of(run_dir)) == before:
            raise
        return _best_or_last(run_dir, which)


def _best_or_last(run_dir: Path, which: str) -> Checkpoint:
    saved, _ = newest(run_dir)
    best = read_progress(saved).best
    if which == "best" and best is not None:
        return checkpoint.load(checkpoints_of(run_dir) / checkpoint.name_of(best.step))
    return saved


def newest(run_dir: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint of a run, and why newer ones were passed over.

    Raises:
        CheckpointError: there is none.
    """
    layout.refuse_links(run_dir)
    if not checkpoints_of(run_dir).is_dir():
        raise CheckpointError(f"{run_dir}: is not a run folder, it has no checkpoints/; train one, or give another")
    return checkpoint.newest(checkpoints_of(run_dir))


def open_with_code(run: str, which: str, device: torch.device) -> Run:
    """`open_run` for encode and decode; says in the log what was opened.

    Raises:
        ConfigError: its network has no code.
    """
    opened = open_run(run, which, device)
    refuse_codeless(opened)
    log.info("with %s, %s checkpoint", opened.title, which)
    return opened


def refuse_codeless(run: Run) -> None:
    """Raise `ConfigError` where an image has no code of a few numbers, and say what the run is for."""
    if run.model.rounds:
        raise ConfigError(
            f"run={run.path}: is a codec, it has no codes but bits; try aectl encode output=pictures.aec"
        )
    if run.model.latent is None:
        raise ConfigError(
            f"run={run.path}: network={run.config.network.name} denoises, it has no code; try aectl denoise"
        )


def read_config(saved: Checkpoint) -> tuple[TrainConfig, Shape]:
    """The configuration and the image shape of a checkpoint, checked as a command line would be."""
    where = saved.path / "config.json"
    try:
        found = typed.from_dict(Saved, saved.config, "")
        settings = typed.from_dict(TrainConfig, older.updated(found.train), "train")
        common.check(settings)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from None
    channels, height, width = found.shape
    return settings, (channels, height, width)


def read_progress(saved: Checkpoint) -> Progress:
    """Where the run stood at this checkpoint.

    Raises:
        CheckpointError: the state is damaged, or its counts cannot stand beside each other.
    """
    state = vars(_state(saved)).copy()
    del state["environment"]
    return Progress(**state)


def environment_of(saved: Checkpoint) -> Environment:
    """What the checkpoint's numbers depended on; of one that does not say it, nothing is known.

    Raises:
        CheckpointError: the state is damaged.
    """
    return _state(saved).environment or Environment()


def _state(saved: Checkpoint) -> State:
    try:
        state = typed.from_dict(State, saved.state, "state")
        state.check()
        if state.step != checkpoint.step_of(saved.path):
            raise ValueError(f"state.step: is {state.step} in {saved.path.name}")
    except ValueError as error:
        raise _unfit(saved, error) from None
    return state


def check_within(saved: Checkpoint, progress: Progress, per_epoch: int) -> None:
    """Refuse a checkpoint whose counts are none of a run with so many batches in an epoch.

    Raises:
        CheckpointError: which, and why.
    """
    try:
        progress.check_within(per_epoch)
    except ValueError as error:
        raise _unfit(saved, error) from None


def _unfit(saved: Checkpoint, error: ValueError) -> CheckpointError:
    return CheckpointError(f"{saved.path / 'trainer.json'}: {error}; {checkpoint.ANOTHER}")


def restore(saved: Checkpoint, settings: TrainConfig, shape: Shape) -> Model:
    """The checkpoint's model with its weights.

    The model is laid out without memory first, so a configuration that asks for more than the file holds is
    refused before anything is allocated.
    """
    where = saved.path / "model.safetensors"
    with torch.device("meta"):
        model = build_model(settings, shape)
    expected = model.state_dict()
    if sorted(expected) != sorted(saved.model):
        odd = sorted(set(expected) ^ set(saved.model))[0]
        raise CheckpointError(f"{where}: does not fit config.json: {odd} is in only one of the two")
    for name, tensor in saved.model.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            raise CheckpointError(
                f"{where}: {name} is {tuple(tensor.shape)} {tensor.dtype}, and config.json wants "
                f"{tuple(expected[name].shape)} {expected[name].dtype}"
            )
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{where}: {name} has values that are not finite")
    # Cloned into memory that torch aligns itself: how a product rounds may depend on the alignment.
    model.load_state_dict({name: tensor.clone() for name, tensor in saved.model.items()}, assign=True)
    return model


def open_data(run: Run, root: str | None) -> Split:
    """The run's own data set with its own split; `root`, from the command line, says where its files lie now.

    For a run that was not made here nothing is read but what `root` names, and what the person has for such sets
    anyway; nothing is downloaded.

    Raises:
        DataError: it is not what the run was trained on; or it was not made here, and `root` is missing.
    """
    settings, own = run.config, run.made_here
    if own:
        dataset, root = settings.dataset, settings.data.root if root is None else root
    else:
        dataset, root = reached(settings.dataset, root, f"run={run.path}")
    with official.fetching(own):
        data = build_dataset(
            dataset,
            root,
            memory_gb=settings.data.memory_gb,
            manifest=read_manifest(layout.run_of(run.path)),  # of the run, also for one of its checkpoints
        )
    if data.train.shape != run.shape:
        raise DataError(
            f"dataset={run.config.dataset.name}: its images are {data.train.shape} now, and the run was trained on "
            f"{run.shape}"
        )
    return data
