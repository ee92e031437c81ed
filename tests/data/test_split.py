import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import own
from hypothesis import given
from hypothesis import strategies as st

from aectl.data.datasets import synthetic
from aectl.data.datasets.array import Array
from aectl.data.datasets.digits import Digits
from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.datasets.official import data_root
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.images import draw_binary, to_float, to_uint8
from aectl.data.split import build_dataset, stratified
from aectl.errors import DataError


def shapes(**changes) -> Synthetic:
    """300 small shapes, or others."""
    settings = {"synthetic_size": 300, "synthetic_shape": [1, 8, 8], "val_size": 50, "test_size": 40}
    return Synthetic(**{**settings, **changes})


def rows(images) -> set[bytes]:
    return {image.numpy().tobytes() for image in images.pixels}


def test_mnist5k_is_split_4000_500_500_and_stratified():
    split = build_dataset(Mnist5k(val_size=500, test_size=500), None)
    assert split.sizes() == {"train": 4000, "val": 500, "test": 500}
    assert split.train.shape == (1, 28, 28)
    assert split.train.pixels.dtype == torch.uint8
    assert torch.bincount(split.val.labels).tolist() == [50] * 10
    assert not rows(split.train) & rows(split.test)
    assert not rows(split.train) & rows(split.val)


def test_every_image_can_be_one_to_train_on():
    split = build_dataset(shapes(val_size=0, test_size=0), None)
    images, labels, _ = synthetic.draw(300, (1, 8, 8), 0)
    assert split.sizes() == {"train": 300, "val": 0, "test": 0}
    assert np.array_equal(split.train.pixels, images)
    assert np.array_equal(split.train.labels, labels)


def test_digits_use_the_whole_range():
    split = build_dataset(Digits(val_size=100, test_size=100), None)
    assert split.train.shape == (1, 8, 8)
    assert (split.train.pixels.min(), split.train.pixels.max()) == (0, 255)
    assert sum(split.sizes().values()) == 1797


@pytest.mark.parametrize("shape", [[1, 28, 28], [3, 20, 33]])
def test_synthetic_has_its_shape_and_known_factors(shape):
    split = build_dataset(shapes(synthetic_shape=shape), None)
    assert split.sizes() == {"train": 210, "val": 50, "test": 40}
    assert split.train.shape == tuple(shape)
    images, labels, factors = synthetic.draw(200, tuple(shape), 0)
    ink = images.astype(float).sum((1, 2, 3))
    assert set(labels) == {0, 1, 2}
    discs = labels == 0
    # A larger and brighter disc has more ink, and its centre of mass is where its factors say.
    expected = np.pi * factors[discs, 3] ** 2 * factors[discs, 4]
    assert np.corrcoef(ink[discs], expected)[0, 1] > 0.999
    height = shape[1]
    centre = (images.sum(1).sum(2) * (np.arange(height) + 0.5)).sum(1) / images.sum((1, 2, 3)) / min(shape[1:])
    np.testing.assert_allclose(centre[discs], factors[discs, 1], atol=0.01)


def test_shapes_are_drawn_a_few_at_a_time(monkeypatch):
    """The memory is that of the pictures and of a part of them in many bytes a value; the pixels are the same."""
    tracemalloc.start()
    images, labels, factors = synthetic.draw(8000, (1, 16, 16), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes + 3000 * 256 * 40
    monkeypatch.setattr(synthetic, "CHUNK", 8000)
    for found, expected in zip((images, labels, factors), synthetic.draw(8000, (1, 16, 16), 0), strict=True):
        assert np.array_equal(found, expected)


def test_the_split_depends_on_its_own_seed():
    first, again, other = (build_dataset(shapes(split_seed=seed), None) for seed in (0, 0, 1))
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert not torch.equal(first.train.pixels, other.train.pixels)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.data())
def test_stratified_takes_each_label_in_its_share(labels, data):
    labels = np.array(labels)
    size = data.draw(st.integers(0, len(labels)))
    picks = stratified(labels, len(labels), size, seed=1)
    assert len(set(picks)) == len(picks) == size
    for value, count in zip(*np.unique(labels, return_counts=True), strict=True):
        assert abs((labels[picks] == value).sum() - count * size / len(labels)) < 1


def test_pixels_survive_the_round_trip_and_are_clamped():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)
    assert to_uint8(torch.tensor([-0.3, 1.7, 0.5])).tolist() == [0, 255, 128]


def test_validation_may_be_empty_but_training_may_not():
    assert len(build_dataset(shapes(val_size=0), None).val) == 0
    with pytest.raises(DataError, match=r"dataset\.val_size=300"):
        build_dataset(shapes(val_size=300), None)


def test_the_root_is_given_or_from_the_environment_or_a_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("AECTL_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root(None) == tmp_path / "aectl"
    monkeypatch.setenv("AECTL_DATA", "there")
    assert data_root(None) == Path("there")
    assert data_root("here") == Path("here")


def test_threshold_is_at_one_half_and_the_same_each_time():
    grey, binary = (
        build_dataset(Digits(val_size=100, test_size=100, binarize=how), None) for how in ("none", "threshold")
    )
    for part in ("train", "val", "test"):
        expected = (to_float(getattr(grey, part).pixels) >= 0.5).byte() * 255
        assert torch.equal(getattr(binary, part).pixels, expected)


def test_dynamic_binarization_is_fresh_in_training_and_fixed_elsewhere():
    config = Digits(val_size=100, test_size=100, binarize="dynamic")
    grey = build_dataset(Digits(val_size=100, test_size=100), None)
    fresh, fixed, again = (build_dataset(config, None, fresh=how) for how in (True, False, False))
    assert torch.equal(fresh.train.pixels, grey.train.pixels)
    assert fresh.train.dynamic
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(fixed, part).pixels, getattr(again, part).pixels)
        assert set(getattr(fixed, part).pixels.unique().tolist()) == {0, 255}
    assert torch.equal(fresh.val.pixels, fixed.val.pixels)
    index, rng = torch.arange(50), torch.Generator().manual_seed(0)
    (first, _), (second, _) = fresh.train.batch(index, rng), fresh.train.batch(index, rng)
    assert not torch.equal(first, second)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    other = build_dataset(Digits(val_size=100, test_size=100, split_seed=1, binarize="dynamic"), None)
    assert not torch.equal(other.val.pixels, fixed.val.pixels)


def test_binary_draws_have_the_grey_values_as_their_means():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(4000, 1)
    drawn = draw_binary(pixels, torch.Generator().manual_seed(0)).double().mean(0)
    expected = torch.arange(256) / 255
    assert drawn[0] == 0
    assert drawn[255] == 1
    assert ((drawn - expected).abs() < 5 * (expected * (1 - expected) / 4000).sqrt() + 1e-9).all()


def test_the_mean_image():
    images = build_dataset(Digits(val_size=100, test_size=100), None).train
    torch.testing.assert_close(images.mean(), to_float(images.pixels).mean(0))


def array(path: Path) -> Array:
    return Array(root=str(path), val_size=None, test_size=None)


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [("a.csv", b"1,2,3\n4,5,6\n", array, "is no NumPy file; write one with numpy.save"),
     ("a.npy", b"<html>", array, "is no NumPy file"), ("a.npy", b"", array, "is no NumPy file"),
     ("a", None, array, "is a folder; dataset=folder takes those"), ("b", None, array, "no such file"),
     ("a.npz", b"PK", own, "is neither a folder nor a zip; dataset=array takes NumPy files"),
     ("a.csv", b"1,2", own, "is neither a folder nor a zip")],
)  # fmt: skip
def test_what_a_data_set_cannot_be_made_of_is_said_in_words_that_lead_on(tmp_path, name, content, kind, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    elif name == "a":
        path.mkdir()
    with pytest.raises(DataError, match=words) as refused:
        build_dataset(kind(path), None)
    assert "pickle" not in str(refused.value)
