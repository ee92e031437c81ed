"""What every data set says of itself, and what it gives.

Adding one: a file here with its class, its name in `table.py`, and `configs/dataset/<name>.yaml`.
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from aectl import storage
from aectl.data.images import Images, TrainImages
from aectl.data.patches import Pictures
from aectl.errors import DataError
from aectl.settings import ranges
from aectl.settings.choices import Choice, Range
from aectl.settings.common import PATH

Count = Annotated[int, Range(0)]
# Null: a tenth, or the folder of that part.
CountOrTenth = Annotated[int | None, Range(0)]


@dataclass(frozen=True)
class Labels:
    """Labels, each once."""

    def check(self, key: str, value: list[int] | None) -> None:
        """Refuse what is no such list."""
        if value is not None and (not value or min(value) < 0 or max(value) >= 2**31 or len(set(value)) < len(value)):
            ranges.fail(key, value, "give labels, each once, such as [3]; null trains on all")


@dataclass(frozen=True)
class Found:
    """What a data set gives before it is split.

    Attributes:
        images: those that are to be split, or the training part where there is an official test part.
        test: that part, or None.
        root: where people's own pictures were found; else None.
        files: name and hash of each picture's file, where they are people's own; of a pair those of both, the clean
            one first.
        parts: train, val, test or None for each of those, where their folders say so; else None.
        bad: name and reason of each file that could not be used.
        notes: what was found, in lines.
    """

    images: Images | Pictures
    test: Images | None = None
    root: Path | None = None
    files: list[list[str]] = field(default_factory=list)
    parts: list[str | None] | None = None
    bad: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def from_numpy(pixels: np.ndarray, labels: np.ndarray) -> Images:
    """Images of (N, C, H, W), uint8, with a label each, (N,), whole numbers."""
    return Images(torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(labels.astype(np.int64)))


@dataclass(frozen=True, kw_only=True)
class Dataset(Choice):
    """Where x comes from. `val_size` images are taken out of the training part, by `split_seed`.

    `labels`: those whose images are trained and validated on, where it is not all of them; the test part keeps every
    label.

    `binarize`: `threshold` at one half; `dynamic`: Bernoulli draws from the grey pixels, fresh for each training
    batch, drawn once (from `split_seed`) for validation and test.
    """

    group: ClassVar[str] = "dataset"
    val_size: Count
    labels: Annotated[list[int] | None, Labels()] = None
    split_seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    binarize: Literal["none", "threshold", "dynamic"] = "none"

    @property
    def words(self) -> str:
        """What people call it."""
        return self.name

    @property
    def drawn(self) -> dict[str, int | None]:
        """The parts that are drawn out of `Found.images`, and how many images each gets; None is a tenth of them."""
        return {"val": self.val_size}

    @property
    def paired(self) -> bool:
        """Whether it has the noisy picture of each scene as well."""
        return False

    @property
    def places(self) -> list[str]:
        """Its settings that are paths, those that are given."""
        return [one.name for one in fields(self) if one.metadata.get("path") and getattr(self, one.name) is not None]

    @property
    def wants(self) -> str:
        """What `at` is to be given, in words."""
        return "<folder>"

    def at(self, root: str | None) -> "Dataset":
        """The same with `root` in the place of its paths, which are a stranger's; `find` then needs no other.

        Raises:
            DataError: it has other paths, for which nothing stands.
        """
        if self.places:
            named = ", ".join(f"dataset.{name}" for name in self.places)
            raise DataError(
                f"dataset={self.name}: {named} of a run that was not made here cannot be used; train here"
            )
        return self

    @property
    def own_scale(self) -> Any:
        """What is white, or [black, white], in its pictures of more than 8 bits; None where their type says it."""
        return None

    @property
    def own_fit(self) -> tuple[str, int]:
        """How pictures of another size become images, as `fitted` has it, and the grey behind them, 0..255."""
        return "resize", 0

    def find(self, root: str | None, memory_gb: float) -> Found:
        """Its images, in memory, or mapped from a file where they would take more than `memory_gb` GiB.

        `root` is the setting data.root: where downloaded sets live, and where people's own pictures lie now if not
        where they lay.

        Raises:
            DataError: files are missing, damaged, or not what they should be.
        """
        raise NotImplementedError

    def prepared(self, images: Images | Pictures) -> TrainImages:
        """A part of what was found, as it is trained on."""
        if self.binarize == "threshold":
            return Images((images.pixels > 127).byte() * 255, images.labels)
        return replace(images, dynamic=self.binarize == "dynamic")


@dataclass(frozen=True, kw_only=True)
class Undivided(Dataset):
    """One without an official test part: `test_size` images are taken out first."""

    test_size: Count

    @property
    def drawn(self) -> dict[str, int | None]:
        """Test and validation part."""
        return {"test": self.test_size, **super().drawn}


@dataclass(frozen=True, kw_only=True)
class Own(Undivided):
    """People's own pictures, at `root`."""

    root: str = field(metadata=PATH)
    val_size: CountOrTenth
    test_size: CountOrTenth

    def __post_init__(self) -> None:
        if self.root is None:
            ranges.fail("dataset.root", None, f"dataset={self.name} needs dataset.root=<path>")
        super().__post_init__()

    @property
    def words(self) -> str:
        """With the last word of the path."""
        return f"{self.name} {Path(self.root).name}"

    def at(self, root: str | None) -> Dataset:
        """With `root` as its own; see `Dataset.at`."""
        if others := [name for name in self.places if name != "root"]:
            raise DataError(
                f"dataset={self.name}: dataset.{others[0]} of a run that was not made here cannot be used; train here"
            )
        return replace(self, root=str(root))

    def place(self, root: str | None) -> Path:
        """Where they lie now."""
        return storage.expanded(self.root if root is None else root)
