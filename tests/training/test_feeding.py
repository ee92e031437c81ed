import inspect
import threading

import pytest
import torch

from aectl.data.images import Images, TrainImages
from aectl.data.patches import Patches
from aectl.rng import generator
from aectl.training.feeding import AHEAD, feed

CPU = torch.device("cpu")


def rng_of(n: int) -> torch.Generator:
    return generator("cpu", "test", n)


def images(count: int = 23, mapped: bool = False, dynamic: bool = False) -> Images:
    pixels = torch.randint(256, (count, 1, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Images(pixels, None, dynamic, torch.arange(count) if mapped else None)


@pytest.mark.parametrize("dynamic", [False, True])
def test_images_from_elsewhere_come_in_the_same_batches(dynamic):
    order = torch.randperm(23, generator=torch.Generator().manual_seed(1))
    near, far = images(dynamic=dynamic), images(mapped=True, dynamic=dynamic)
    assert near.at_hand(CPU)
    assert not far.at_hand(CPU)
    there, here = list(feed(far, order, 5, CPU, rng_of)), list(feed(near, order, 5, CPU, rng_of))
    assert [len(x) for (x, _), _ in here] == [5, 5, 5, 5, 3]
    for ((x, _), rng), ((y, _), other), n in zip(here, there, range(5), strict=True):
        assert torch.equal(x, y)
        assert torch.equal(torch.rand(3, generator=rng), torch.rand(3, generator=other)), "drawn as far"
        expected, _ = near.batch(order[5 * n : 5 * n + 5], rng_of(n))
        assert torch.equal(x, expected)


def test_they_are_fetched_ahead_by_another_thread_and_no_further():
    fetched = []

    class Slow(Images):
        def batch(self, index, rng):
            fetched.append(threading.get_ident())
            return super().batch(index, rng)

    far = Slow(*(getattr(images(mapped=True), name) for name in ("stored", "labels", "dynamic", "rows")))
    batches = feed(far, torch.arange(23), 2, CPU, rng_of)
    next(batches)
    batches.close()  # as where training is interrupted; what was begun is waited for
    assert 1 <= len(fetched) <= AHEAD + 1
    assert threading.get_ident() not in fetched


def test_an_error_of_the_thread_reaches_the_loop():
    with pytest.raises(IndexError):
        list(feed(images(mapped=True), torch.tensor([0, 99]), 1, CPU, rng_of))


@pytest.mark.parametrize("kind", [Images, Patches])
def test_what_is_trained_on_has_all_that_training_asks(kind):
    methods = {name for name in vars(TrainImages) if not name.startswith("_")} - {"shape"} | {"__len__"}
    assert methods == {"__len__", "mean", "to", "at_hand", "batch", "drawn_once"}
    for name in methods:
        theirs, asked = (inspect.signature(getattr(one, name)).parameters for one in (kind, TrainImages))
        assert list(theirs) == list(asked)
    assert isinstance(kind.shape, property)
