"""A folder of pictures as training data, or two of pairs: clean pictures, and noisy ones of the same scenes."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from aectl import storage
from aectl.data.datasets import cache, filling, pairing
from aectl.data.datasets.arrangement import Arrangement, arrange
from aectl.data.datasets.base import Found, Own
from aectl.data.datasets.filling import Form
from aectl.data.images import Images, TrainImages
from aectl.data.patches import Patches, Pictures
from aectl.errors import brief
from aectl.files import unusable
from aectl.settings import ranges
from aectl.settings.choices import Checked, OneOf, Range
from aectl.settings.common import ON_BAD, PATH


def _lost_parts(names: Sequence[str], used: Arrangement) -> list[str]:
    """A line for each part whose folder is there and has not a single picture that can be used."""
    lost = set(arrange(names).parts or ()) - set(used.parts or ()) - {None}
    return [
        f"of the folder {part} no picture can be used: that part is drawn from the others" for part in sorted(lost)
    ]


def _check_size(key: str, size: Any) -> None:
    sides = [size, size] if isinstance(size, int) else size
    if sides is None:
        return
    plain = isinstance(sides, list) and len(sides) == 2
    if not plain or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
        ranges.fail(key, size, "give one side, or [height, width], from 1 to 4096")


@dataclass(frozen=True, kw_only=True)
class Folder(Own):
    """A folder of pictures, nested or not, or a zip of one; with `noisy`, another of noisy ones of the same names.

    `size` is n, [height, width], or null where all pictures have one size; `fit` says how the others are brought to
    it, over `background`; or `patches`: `patches` random crops of each picture in an epoch. `on_bad`, `scale` and
    `picture_gb` are as in `aectl encode`.
    """

    name: ClassVar[str] = "folder"
    channels: Literal["auto", 1, 3]
    size: Annotated[Any, Checked(_check_size)]
    fit: Literal["resize", "crop", "pad", "patches"]
    patches: Annotated[int, Range(1, 1_000_000)]
    background: Literal["black", "white"]
    on_bad: Annotated[str, OneOf(ON_BAD)]
    scale: Annotated[Any, Checked(ranges.scale)]
    picture_gb: Annotated[float, Range(0, open_low=True)]
    noisy: str | None = field(default=None, metadata=PATH)

    def check(self) -> None:
        """Patches are cut to a size, and neither they nor pairs are binarized."""
        if self.paired and self.binarize != "none":
            ranges.fail("dataset.binarize", self.binarize, "with dataset.noisy pictures are not binarized; set none")
        if self.fit != "patches":
            return
        if self.size is None:
            ranges.fail(
                "dataset.size", None, "dataset.fit=patches needs the size of a patch, such as dataset.size=64"
            )
        if self.binarize != "none":
            ranges.fail("dataset.binarize", self.binarize, "patches are not binarized; choose another dataset.fit")

    @property
    def paired(self) -> bool:
        """With `noisy`."""
        return self.noisy is not None

    @property
    def words(self) -> str:
        """With the last words of the paths."""
        return super().words + (f" with {Path(self.noisy).name}" if self.paired else "")

    @property
    def form(self) -> Form:
        """What becomes of its pictures."""
        return Form(self.channels, self.size, self.fit, self.background, self.scale, self.picture_gb)

    @property
    def own_scale(self) -> Any:
        """As its pictures are read."""
        return self.scale

    @property
    def own_fit(self) -> tuple[str, int]:
        """As its pictures are fitted; where it cuts patches, others are stretched to the size of one."""
        return "resize" if self.fit == "patches" else self.fit, self.form.grey

    def find(self, root: str | None, memory_gb: float) -> Found:
        """The pictures, or pairs of them, from the cache if they are there, else decoded into it.

        Raises:
            ConfigError: `noisy` is the folder of the clean pictures.
            DataError: there are none; or some cannot be used and `on_bad` is `stop`: each is then listed with its
                reason.
        """
        place = self.place(root)
        source = pairing.pairs(place, self._place_of_noisy(root)) if self.paired else pairing.singles(place)
        hashes, index, values = filling.filled(source.images, self.form, source.roots, memory_gb)
        rows, left_out = filling.rows(source.images, hashes), set(index.bad)
        bad = [(rows[number][0], reason) for number, reason in zip(index.bad, index.reasons, strict=True)]
        bad += source.alone
        total = len(rows) + len(source.alone)
        unusable.settle(bad, total, f"dataset.root={place}", "dataset.on_bad", self.on_bad)
        files = [row for number, row in enumerate(rows) if number not in left_out]
        arranged = arrange([row[0] for row in files])
        notes = [f"{len(files)} {source.words}; {arranged.describe()}", *source.notes]
        if bad:
            notes += _lost_parts([*(row[0] for row in rows), *(name for name, _ in source.alone)], arranged)
        return Found(
            self._stored(values, index, arranged),
            root=place,
            files=files,
            parts=arranged.parts,
            bad=bad,
            notes=[*notes, *index.notes],
        )

    @property
    def wants(self) -> str:
        """Of pairs the folder that holds both."""
        if not self.paired:
            return super().wants
        clean, noisy = (str(Path(*tail)) for tail in self._tails())
        return f"<the folder that holds the clean pictures in {brief(clean, 80)}, the noisy in {brief(noisy, 80)}>"

    def at(self, root: str | None) -> Own:
        """Pairs lie below `root` as they lay below the deepest folder that held both, and nowhere else."""
        if not self.paired:
            return super().at(root)
        clean, noisy = (str(storage.expanded(root).joinpath(*tail)) for tail in self._tails())
        return replace(self, root=clean, noisy=noisy)

    def _tails(self) -> tuple[list[str], list[str]]:
        """The names of the clean pictures' folder, and of the noisy ones', below what holds both; none leads out."""
        first, second = (
            [name for name in re.split(r"[/\\]+", path) if name not in ("", ".", "..") and not name.endswith(":")]
            for path in (self.root, self.noisy)
        )
        same = [one == other for one, other in zip(first, second, strict=False)]
        shared = (*same, False).index(False)
        return first[shared:], second[shared:]

    def _place_of_noisy(self, root: str | None) -> Path:
        """Where the noisy pictures lie: as they lay from the clean ones, also from `root`; else where they lay."""
        noisy = storage.expanded(self.noisy)
        if root is None:
            return noisy
        beside = os.path.relpath(noisy, storage.expanded(self.root))
        moved = Path(os.path.normpath(storage.expanded(root) / beside))
        return moved if moved.exists() else noisy

    def _stored(self, values: np.ndarray, index: cache.Index, arranged: Arrangement) -> Images | Pictures:
        """What the cache holds, with labels: classes in the order of their names, -1 for a picture of none."""
        numbers = arranged.numbers()
        labels = None
        if arranged.classes is not None:
            labels = torch.tensor([numbers.get(name, -1) for name in arranged.classes])
        channels = index.shape[0]
        planes = (2, channels // 2) if self.paired else (channels,)
        pixels = torch.from_numpy(values)
        if self.fit == "patches":
            sizes = torch.tensor(index.sizes).view(-1, 2)
            areas = channels * sizes.prod(1)
            table = torch.cat([(areas.cumsum(0) - areas)[:, None], sizes], dim=1)
            return Pictures(pixels, table, planes, labels)
        mapped = isinstance(values, np.memmap)
        return Images(pixels.unflatten(1, planes), labels, rows=torch.arange(len(pixels)) if mapped else None)

    def prepared(self, images: Images | Pictures) -> TrainImages:
        """Images, or patches of pictures."""
        if self.fit == "patches":
            return Patches(images, self.form.sides, self.patches)
        return super().prepared(images)
