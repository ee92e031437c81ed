"""A data set: images, split by a seed, or as a run has split them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from aectl.data.datasets.base import Dataset, Found
from aectl.data.images import Split
from aectl.errors import ConfigError, DataError

Manifest = Mapping[str, Sequence[Sequence[str]]]
Parts = dict[str, torch.Tensor]  # indices of each


def build_dataset(
    dataset: Dataset,
    root: str | None,
    *,
    fresh: bool = False,
    memory_gb: float = 4.0,
    manifest: Manifest | None = None,
) -> Split:
    """The data set, split and binarized; with `fresh`, dynamic training images are left to draw.

    Validation is taken out of the training part. Where a set has no official test part, that is taken out first.
    Both draws are stratified by label and depend on `split_seed` alone, so runs with other seeds share them. Files of
    the same content are never in two parts. With a `manifest` (see `Split`) the parts are the pictures that it names,
    wherever they lie now and whatever has come to them. `root` and `memory_gb` are as in `Dataset.find`.

    Raises:
        ConfigError: a size is given for a part that the folders hold already.
        DataError: the files are missing and cannot be downloaded, or are damaged; or too few images remain.
    """
    found = dataset.find(root, memory_gb)
    index, notes = _drawn(found, dataset) if manifest is None else _named(found, manifest)
    stored = {name: found.images[rows] for name, rows in index.items()}
    if found.test is not None:
        stored["test"] = found.test
    parts = {name: dataset.prepared(images) for name, images in stored.items()}
    # What is drawn afresh for training is drawn once for everything else.
    parts = {
        name: part if fresh and name == "train" else part.drawn_once(dataset.split_seed, name)
        for name, part in parts.items()
    }
    named = None
    if found.files:
        named = {name: [found.files[i] for i in rows.tolist()] for name, rows in index.items()}
    return Split(**parts, manifest=named, bad=found.bad, notes=[*found.notes, *notes])


def _drawn(found: Found, dataset: Dataset) -> tuple[Parts, list[str]]:
    """Indices of each part of `found.images`, official or drawn from the seed, and what there is to say of them."""
    content = _contents(found.files) if found.files else np.arange(len(found.images))
    parts, notes = _by_folders(found, content, dataset)
    rest = parts.pop("train", np.zeros(0, dtype=int))
    if not len(rest):
        why = "; ".join(["", *notes])
        raise DataError(f"dataset.root={found.root}: has no picture to train on beside the parts val and test{why}")
    if copies := len(rest) - len(np.unique(content[rest])):
        notes.append(f"equal to others, and drawn together with them: {copies} pictures")
    labels = None if found.images.labels is None else found.images.labels.numpy()
    tenth = max(1, len(rest) // 10)
    for name, seed in (("test", dataset.split_seed), ("val", dataset.split_seed + 1)):
        if name == "val":  # the test part keeps every label
            rest = _of_labels(rest, labels, dataset)
        if name in parts or name not in dataset.drawn:
            continue
        size = tenth if dataset.drawn[name] is None else dataset.drawn[name]
        taken = _taken(content[rest], None if labels is None else labels[rest], size, seed)
        if size >= len(rest) or taken.all():
            raise DataError(
                f"dataset.{name}_size={size}: no training image is left of {len(rest)}; choose a smaller size"
            )
        parts[name], rest = rest[taken], rest[~taken]
    parts["val"] = _of_labels(parts["val"], labels, dataset)
    return {name: torch.from_numpy(rows) for name, rows in {"train": rest, **parts}.items()}, notes


def _of_labels(rows: np.ndarray, labels: np.ndarray | None, dataset: Dataset) -> np.ndarray:
    """Those of `rows` whose images have one of `dataset.labels`; without these, all.

    Raises:
        ConfigError: there are no labels, or not all of these.
    """
    if dataset.labels is None:
        return rows
    found = [] if labels is None else np.unique(labels[labels >= 0]).tolist()
    if lost := set(dataset.labels) - set(found):
        known = f"it has {', '.join(map(str, found))}" if found else "it has no labels"
        raise ConfigError(f"dataset.labels={dataset.labels}: {dataset.words} has no label {min(lost)} ({known})")
    return rows[np.isin(labels[rows], dataset.labels)]


def _by_folders(found: Found, content: np.ndarray, dataset: Dataset) -> tuple[dict[str, np.ndarray], list[str]]:
    """Indices of the parts that folders say, without what is equal to a picture of a part that measures more."""
    if found.parts is None:
        return {"train": np.arange(len(found.images))}, []
    parts: dict[str, np.ndarray] = {}
    known, equal = np.zeros(0, dtype=int), 0
    for name in ("test", "val", "train"):
        rows = np.flatnonzero([part == name for part in found.parts])
        if not len(rows):
            continue
        size = dataset.drawn.get(name)
        if size is not None:
            raise ConfigError(
                f"dataset.{name}_size={size}: dataset.root={found.root} has a folder for this part; set "
                f"dataset.{name}_size=null to take it, or give the folder of the training part as dataset.root"
            )
        seen = np.isin(content[rows], known)
        parts[name], equal = rows[~seen], equal + seen.sum()
        known = np.append(known, content[rows])
    return parts, [f"left out, since an official part for measuring has the same: {equal} pictures"] if equal else []


def _contents(files: Sequence[Sequence[str]]) -> np.ndarray:
    """For each image the first that has a file of the same content as it, or as one that has, and so on, (N,)."""
    first = list(range(len(files)))
    holder: dict[str, int] = {}  # of a content, by its hash

    def root(index: int) -> int:
        while first[index] != index:
            index = first[index]
        return index

    for index, row in enumerate(files):
        for digest in row[1::2]:
            low, high = sorted((root(holder.setdefault(digest, index)), root(index)))
            first[high] = low
    return np.array([root(index) for index in range(len(files))])


def _taken(content: np.ndarray, labels: np.ndarray | None, size: int, seed: int) -> np.ndarray:
    """Which of the images to take, (N,), bool: about `size`, all or none of those with the same `content`."""
    _, first, group, weights = np.unique(content, return_index=True, return_inverse=True, return_counts=True)
    labels = None if labels is None else labels[first]
    return np.isin(group, stratified(labels, len(first), size, seed, weights))


def _named(found: Found, manifest: Manifest) -> tuple[Parts, list[str]]:
    """Indices of the pictures of each part of a manifest, by their content, and what there is to say of the others.

    Raises:
        DataError: one is not there, or there are more than there are pictures.
    """
    place = {tuple(row[1::2]): index for index, row in enumerate(found.files)}
    exact = {tuple(row): index for index, row in enumerate(found.files)}
    lost = [row[0] for part in manifest.values() for row in part if tuple(row[1::2]) not in place]
    if lost:
        raise DataError(
            f"{len(lost)} of the run's pictures are not there any more, or have changed, the first is {lost[0]}; say "
            f"where they are with data.root=<folder>"
        )
    named = sum(map(len, manifest.values()))
    if named > len(found.files):  # as a file could that names one picture under a million names
        raise DataError(
            f"the run's split.json names {named} pictures, and there are {len(found.files)}; say where they are with "
            f"data.root=<folder>"
        )
    parts = {
        part: torch.tensor([exact.get(tuple(row), place[tuple(row[1::2])]) for row in rows], dtype=torch.long)
        for part, rows in manifest.items()
    }
    others = len(place) - len({tuple(row[1::2]) for rows in manifest.values() for row in rows})
    return parts, ["the parts are those of the run's split.json" + (f"; in none of them: {others}" if others else "")]


def stratified(
    labels: np.ndarray | None, n: int, size: int, seed: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Indices of `size` of `n` items, each label in its share (within one item), drawn from `seed`.

    An item of weight w counts as w, and is left out where it would be too many, unless nothing else could be taken.
    """
    rng = np.random.default_rng(seed)
    weights = np.ones(n, dtype=int) if weights is None else weights
    if labels is None:
        picked = _filled(rng.permutation(n), weights, size)
    else:
        values, place = np.unique(labels, return_inverse=True)
        share = np.bincount(place, weights) * (size / weights.sum())
        quota = np.floor(share).astype(int)
        # The largest remainders get the items that rounding down left over.
        quota[np.argsort(quota - share, kind="stable")[: size - quota.sum()]] += 1
        picked = [
            index
            for value, k in zip(values, quota, strict=True)
            for index in _filled(rng.permutation(np.flatnonzero(labels == value)), weights, k)
        ]
    return np.array(picked or [weights.argmin()] if size else [], dtype=int)


def _filled(order: np.ndarray, weights: np.ndarray, room: int) -> list[int]:
    """The first of `order` whose weights fit into `room` together."""
    picked = []
    for index in order:
        if not room:
            break
        if weights[index] <= room:
            picked.append(index)
            room -= weights[index]
    return picked
