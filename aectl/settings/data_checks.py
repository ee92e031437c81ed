"""Which data sets a configuration may ask for."""

from aectl.settings.config import BACKGROUNDS, BINARIZATIONS, DATASETS, FITS, ON_BAD, DatasetConfig
from aectl.settings.ranges import choice, fail, number, scale


def check_dataset(dataset: DatasetConfig) -> None:
    """Raise `ConfigError` for the first value out of its range."""
    choice("dataset.name", dataset.name, DATASETS)
    own = dataset.name in ("folder", "array")
    if dataset.val_size is None and not own:
        fail("dataset.val_size", "null", "give the number of validation images; only folder and array take a tenth")
    number("dataset.val_size", dataset.val_size, 0)
    _check_own(dataset, own)
    number("dataset.test_size", dataset.test_size, 0)
    number("dataset.split_seed", dataset.split_seed, 0, 2**63 - 1)
    choice("dataset.binarize", dataset.binarize, BINARIZATIONS)
    if dataset.test_size is not None and dataset.name not in ("mnist5k", "digits", "synthetic", "folder", "array"):
        fail("dataset.test_size", dataset.test_size, f"{dataset.name} has an official test part; leave it null")
    if (dataset.emnist_split is not None) != (dataset.name == "emnist"):
        fail("dataset.emnist_split", dataset.emnist_split, "goes with dataset=emnist, and only with it")
    if dataset.emnist_split is not None:
        splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
        choice("dataset.emnist_split", dataset.emnist_split, splits)
    synthetic = dataset.name == "synthetic"
    for key in ("synthetic_size", "synthetic_shape"):
        if (getattr(dataset, key) is not None) != synthetic:
            fail(f"dataset.{key}", getattr(dataset, key), "goes with dataset=synthetic, and only with it")
    if synthetic:
        number("dataset.synthetic_size", dataset.synthetic_size, 10, 1_000_000)
        shape = dataset.synthetic_shape
        if len(shape) != 3 or shape[0] not in (1, 3) or not all(8 <= side <= 256 for side in shape[1:]):
            fail(
                "dataset.synthetic_shape",
                shape,
                "give [channels, height, width]: 1 or 3, then sides of 8 to 256",
            )


def _check_own(dataset: DatasetConfig, own: bool) -> None:
    """The settings of people's own pictures."""
    if own and dataset.root is None:
        fail("dataset.root", "null", f"dataset={dataset.name} needs dataset.root=<path>")
    if not own and dataset.root is not None:
        fail("dataset.root", dataset.root, "goes with dataset=folder and dataset=array; other sets use data.root")
    folder = dataset.name == "folder"
    for key, choices in (
        ("fit", FITS),
        ("background", BACKGROUNDS),
        ("on_bad", ON_BAD),
        ("channels", ("auto", 1, 3)),
    ):
        value = getattr(dataset, key)
        if folder:
            if value not in choices or type(value) not in (str, int):  # 1.0 and true equal 1
                fail(f"dataset.{key}", value, f"no such choice (choices: {', '.join(map(str, choices))})")
        elif value is not None:
            fail(f"dataset.{key}", value, "goes with dataset=folder, and only with it")
    for key in ("scale", "picture_gb"):
        if not folder and getattr(dataset, key) is not None:
            fail(f"dataset.{key}", getattr(dataset, key), "goes with dataset=folder, and only with it")
    scale("dataset.scale", dataset.scale)
    number("dataset.picture_gb", dataset.picture_gb, 0, open_low=True)
    if folder != (dataset.patches is not None):
        fail("dataset.patches", "null" if dataset.patches is None else dataset.patches, "goes with dataset=folder")
    number("dataset.patches", dataset.patches, 1, 1_000_000)
    if dataset.fit == "patches" and dataset.size is None:
        fail("dataset.size", "null", "dataset.fit=patches needs the size of a patch, such as dataset.size=64")
    if dataset.fit == "patches" and dataset.binarize != "none":
        fail("dataset.binarize", dataset.binarize, "patches are not binarized; choose another dataset.fit")
    sides = dataset.size if isinstance(dataset.size, list) else [dataset.size, dataset.size]
    if dataset.size is None:
        return
    if not folder:
        fail("dataset.size", dataset.size, "goes with dataset=folder, and only with it")
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
        fail("dataset.size", dataset.size, "give one side, or [height, width], from 1 to 4096")
