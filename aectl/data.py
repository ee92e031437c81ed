"""A data set by its configuration: images, split by a seed, or as a run has split them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from aectl.config import DatasetConfig
from aectl.errors import DataError
from aectl.images import Images, Split
from aectl.patches import Patches, Pictures
from aectl.sources import SOURCES, Found, data_root

Manifest = Mapping[str, Sequence[Sequence[str]]]


def build_dataset(
    config: DatasetConfig,
    root: str | None,
    *,
    fresh: bool = False,
    memory_gb: float = 4.0,
    manifest: Manifest | None = None,
) -> Split:
    """The data set that `config` names, split and binarized; with `fresh`, dynamic training images are left to draw.

    Validation is taken out of the training part. Where a set has no official test part, that is taken out first.
    Both draws are stratified by label and depend on `split_seed` alone, so runs with other seeds share them. With a
    `manifest` (see `Split`) the parts are the pictures that it names, wherever they lie now and whatever has come to
    them. `root` is where downloaded sets live; for people's own pictures, where they lie now if not in `config.root`.

    Raises:
        DataError: the files are missing and cannot be downloaded, or are damaged; or too few images remain.
    """
    if config.root is not None and root is not None:
        config = replace(config, root=root)
    found = SOURCES[config.name](config, data_root(root), memory_gb)
    index = _drawn(found, config) if manifest is None else _named(found, manifest)
    parts = {name: found.images[rows] for name, rows in index.items()}
    if found.test is not None:
        parts["test"] = found.test
    if isinstance(found.images, Pictures):
        side = config.size if isinstance(config.size, list) else [config.size, config.size]
        parts = {name: Patches(part, tuple(side), config.patches) for name, part in parts.items()}
    elif config.binarize == "threshold":
        parts = {name: Images((part.pixels > 127).byte() * 255, part.labels) for name, part in parts.items()}
    elif config.binarize == "dynamic":
        parts = {name: replace(part, dynamic=True) for name, part in parts.items()}
    # What is drawn afresh for training is drawn once for everything else.
    parts = {
        name: part if fresh and name == "train" else part.drawn_once(config.split_seed, name)
        for name, part in parts.items()
    }
    named = None
    if found.names:
        named = {name: [[found.names[i], found.hashes[i]] for i in rows.tolist()] for name, rows in index.items()}
    return Split(**parts, manifest=named, bad=found.bad)


def _drawn(found: Found, config: DatasetConfig) -> dict[str, torch.Tensor]:
    """Indices of each part that is not official, drawn from the seed."""
    rest = np.arange(len(found.images))
    labels = None if found.images.labels is None else found.images.labels.numpy()
    parts = {}
    tenth = max(1, len(rest) // 10)
    sizes = [("val", config.val_size, config.split_seed + 1)]
    if found.test is None:
        sizes.insert(0, ("test", config.test_size, config.split_seed))
    for name, given, seed in sizes:
        size = tenth if given is None else given
        if size >= len(rest):
            raise DataError(
                f"dataset.{name}_size={size}: no training image is left of {len(rest)}; choose a smaller size"
            )
        taken = np.zeros(len(rest), dtype=bool)
        taken[stratified(None if labels is None else labels[rest], len(rest), size, seed)] = True
        parts[name], rest = torch.from_numpy(rest[taken]), rest[~taken]
    return {"train": torch.from_numpy(rest), **parts}


def _named(found: Found, manifest: Manifest) -> dict[str, torch.Tensor]:
    """Indices of the pictures of each part of a manifest, by their content.

    Raises:
        DataError: one is not there.
    """
    place = {digest: index for index, digest in enumerate(found.hashes)}
    lost = [name for part in manifest.values() for name, digest in part if digest not in place]
    if lost:
        raise DataError(
            f"{len(lost)} of the run's pictures are not there any more, or have changed, the first is {lost[0]}; say "
            f"where they are with data.root=<folder>"
        )
    return {
        name: torch.tensor([place[digest] for _, digest in part], dtype=torch.long) for name, part in manifest.items()
    }


def stratified(labels: np.ndarray | None, n: int, size: int, seed: int) -> np.ndarray:
    """Indices of `size` of `n` items, each label in its share (within one item), drawn from `seed`."""
    rng = np.random.default_rng(seed)
    if labels is None:
        return rng.permutation(n)[:size]
    values, counts = np.unique(labels, return_counts=True)
    share = counts * (size / n)
    quota = np.floor(share).astype(int)
    # The largest remainders get the items that rounding down left over.
    quota[np.argsort(quota - share, kind="stable")[: size - quota.sum()]] += 1
    picks = [rng.permutation(np.flatnonzero(labels == value))[:k] for value, k in zip(values, quota, strict=True)]
    return np.concatenate(picks)
