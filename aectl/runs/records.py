"""What may stand in each file of a run: its keys, their types and ranges, and what they must be beside each other.

What decides about numbers is read strictly, for a key that is not known may mean something: settings, split.json, the
counts of trainer.json, the manifest. What only describes is open to what a newer version says beside: result.json,
metrics.jsonl (any figure), the environment. No torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from aectl import errors
from aectl.errors import one_line
from aectl.plain import Limits
from aectl.settings import ranges, typed
from aectl.settings.choices import Range

MAX_COUNT = 2**53  # of steps and epochs; beyond it not every float is a count
MAX_METRICS = Limits(size=2**27)  # 300,000 epochs
OF_SPLIT = Limits(size=2**30, values=2**25, depth=4)  # three values for each picture, or five for each pair
PARTS = ("train", "val", "test")
STATUSES = Literal["completed", "failed", "diverged", "interrupted"]
EXIT_CODES = frozenset(
    (errors.INTERRUPTED, errors.TERMINATED, *(kind.exit_code for kind in errors.UserError.__subclasses__()))
)

Count = Annotated[int, Range(0, MAX_COUNT)]
Figure = Annotated[float, Range(-1e100, 1e100)] | None  # single precision summed over all images goes to 1e50


@dataclass(frozen=True)
class Words:
    """Text of one line, of so many letters."""

    most: int

    def check(self, key: str, value: str) -> None:
        """Refuse another."""
        if len(value) > self.most or one_line(value) != value:
            ranges.fail(key, one_line(value), f"must be a line of at most {self.most} letters")


@dataclass(frozen=True)
class Documented:
    """An exit code that says why a command failed."""

    def check(self, key: str, value: int) -> None:
        """Refuse another."""
        if value not in EXIT_CODES:
            ranges.fail(key, value, f"must be one of {', '.join(map(str, sorted(EXIT_CODES)))}")


Version = Annotated[str, Words(100)]


@dataclass
class Best:
    """The best epoch so far: its objective on validation images, in nats per image, and where it was."""

    value: float
    step: Count
    epoch: Count


@dataclass
class Progress:
    """Where a run stands; with weights, optimizer and running sums it is all that an exact resume needs."""

    step: Count = 0
    epoch: Count = 0  # finished epochs
    batch: Count = 0  # finished batches of the epoch under way
    best: Best | None = None
    since_best: Count = 0  # epochs without a better one
    seconds: Annotated[float, Range(0, 1e12)] = 0.0  # of training proper

    def check(self) -> None:
        """Refuse counts that cannot stand beside each other.

        Raises:
            ValueError: which, and why.
        """
        if self.step < self.epoch + self.batch:
            raise ValueError(f"step: is {self.step} after {self.epoch} epochs and {self.batch} batches")
        if self.since_best > self.epoch:
            raise ValueError(f"since_best: is {self.since_best} after {self.epoch} epochs")
        if self.best is not None and (self.best.step > self.step or self.best.epoch > self.epoch):
            raise ValueError(f"best: is of epoch {self.best.epoch}, step {self.best.step}, which are yet to come")

    def check_within(self, per_epoch: int) -> None:
        """Refuse counts that no run has whose epochs have so many batches.

        Raises:
            ValueError: which, and why.
        """
        of = f"in epochs of {per_epoch}"
        if self.batch >= per_epoch:
            raise ValueError(f"batch: {self.batch} are finished {of}")
        if self.step != self.epoch * per_epoch + self.batch:
            raise ValueError(f"step: is {self.step} after {self.epoch} epochs and {self.batch} batches, {of}")
        if self.best is not None and self.best.step != self.best.epoch * per_epoch:
            raise ValueError(f"best.step: is {self.best.step} at the end of epoch {self.best.epoch}, {of}")


@dataclass(frozen=True)
class Environment(typed.Open):
    """What the last bits of a checkpoint's numbers depended on; None where an older version has not said it."""

    aectl: Version | None = None
    torch: Version | None = None
    python: Version | None = None
    machine: Version | None = None
    device: Version | None = None
    processes: Count | None = None
    threads: Count | None = None
    batched: bool = False


@dataclass(frozen=True)
class Shape:
    """Channels, height and width."""

    def check(self, key: str, value: list[int]) -> None:
        """Refuse others."""
        if len(value) != 3 or not all(1 <= side <= 65536 for side in value):
            ranges.fail(key, value, "must be [channels, height, width]")


@dataclass(frozen=True)
class Saved:
    """What a checkpoint's `config.json` holds: the run's settings, and the shape of its images."""

    train: dict[str, Any]
    shape: Annotated[list[int], Shape()]


@dataclass
class State(Progress):
    """What a checkpoint's `trainer.json` holds."""

    environment: Environment | None = None


@dataclass(frozen=True)
class Entry:
    """What a manifest says of a file: how long it is, and its hash."""

    bytes: Annotated[int, Range(0, 2**40)]
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint's `manifest.json` holds."""

    format: int
    files: dict[str, Entry]


@dataclass(frozen=True)
class Result(typed.Open):
    """What a run's `result.json` holds, without the figures of its best epoch; see `result`."""

    status: STATUSES
    overrides: list[str] = field(default_factory=list)
    error: str | None = None
    exit_code: Annotated[int, Documented()] | None = None
    step: Count | None = None
    epochs: Count | None = None
    best_epoch: Count | None = None
    epoch_chosen_by: Version | None = None
    dataset: Version | None = None
    binarize: Version | None = None
    sizes: dict[str, Count] | None = None
    seconds: Annotated[float, Range(0, 1e12)] | None = None
    objective: float | None = None
    mean_image_recon: float | None = None
    learnt: bool | None = None


@dataclass(frozen=True)
class SavedSplit:
    """What a run's `split.json` holds: which of people's own pictures are in which part."""

    parts: Any  # millions of rows, which are checked by themselves
    seed: int | None = None


def result(values: Mapping[str, Any]) -> dict[str, Any]:
    """A result.json's values as they stand there, checked; what is none of ours is left out.

    A run that has failed has an error and an exit code, every run its overrides.

    Raises:
        ValueError: a value cannot be; names its key.
    """
    typed.from_dict(Result, values, "")
    known = {one.name for one in fields(Result)}
    found = {key: value for key, value in values.items() if key in known or "/" in key}
    _check_figures(found, known)
    found |= {key: _writable(found[key]) for key in ("overrides", "error") if found.get(key) is not None}
    usual: dict[str, Any] = {"overrides": []}
    if found["status"] == "failed":
        usual |= {"error": "it left no reason", "exit_code": errors.CheckpointError.exit_code}
    return {**usual, **{key: value for key, value in found.items() if value is not None or key not in usual}}


def _writable(text: Any) -> Any:
    """Text, or each of a list, without the halves of letters that a path may have, which no page could hold."""
    if isinstance(text, list):
        return [_writable(one) for one in text]
    return text.encode("utf-8", "backslashreplace").decode()


def epoch(values: Mapping[str, Any]) -> dict[str, Any]:
    """A line of metrics.jsonl as it stands there, checked: counts, and figures that are numbers or null.

    Raises:
        ValueError: a value cannot be; names its key.
    """
    for key in ("epoch", "step"):
        if key in values:
            typed.value_of(Count, values[key], key)
    _check_figures(values, ("epoch", "step"))
    return dict(values)


def _check_figures(values: Mapping[str, Any], others: Sequence[str] | set[str]) -> None:
    for key, value in values.items():
        if key not in others:
            typed.value_of(Figure, value, key)


def check_order(records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse epochs of a run that do not come one after another.

    Raises:
        ValueError: the line, and what is wrong with it.
    """
    before: Mapping[str, Any] = {"epoch": -1, "step": -1}
    for number, record in enumerate(records, 1):
        for key in ("epoch", "step"):
            if key not in record:
                raise ValueError(f"line {number}: {key}: is missing")
            if record[key] <= before[key]:
                raise ValueError(f"line {number}: {key}: is {record[key]} after {before[key]}")
        before = record


def parts(values: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """The parts of a split.json, as `aectl.data.images.Split` has them.

    Raises:
        ValueError: they are no such parts, or a picture is in them twice.
    """
    found = typed.from_dict(SavedSplit, values, "").parts
    if not isinstance(found, dict) or set(found) != set(PARTS):
        raise ValueError(f"parts: must be {', '.join(PARTS)}")
    for name, rows in found.items():
        if not isinstance(rows, list):
            raise ValueError(f"parts.{name}: must be a list")
        for row in rows:
            if not (isinstance(row, list) and len(row) in (2, 4) and all(isinstance(one, str) for one in row)):
                raise ValueError(f"parts.{name}: has a row that is no name and hash, or two of each")
    if not found["train"]:
        raise ValueError("parts.train: is empty")
    count = sum(map(len, found.values()))
    if len({tuple(row) for rows in found.values() for row in rows}) < count:
        raise ValueError("parts: a picture stands there twice")
    return found
