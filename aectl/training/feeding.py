"""Batches in their order, each with the random numbers of its step."""

import functools
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from aectl.data.images import Pair, TrainImages
from aectl.rng import generator
from aectl.runs.config import TrainConfig
from aectl.runs.records import Progress

AHEAD = 2  # batches that are fetched before they are asked for

Batch = tuple[Pair, torch.Generator]


def rest_of_epoch(
    images: TrainImages, config: TrainConfig, progress: Progress, device: torch.device
) -> Iterator[Batch]:
    """What is left of the epoch in which a run stands; its order goes by seed and epoch, draws by seed and step."""
    order = torch.randperm(len(images), generator=generator("cpu", config.seed, "order", progress.epoch))
    rng_of = functools.partial(_rng_of, device, config.seed, progress.step)
    return feed(images, order[progress.batch * config.batch_size :], config.batch_size, device, rng_of)


def _rng_of(device: torch.device, seed: int, first: int, n: int) -> torch.Generator:
    """What is random in the n-th step after the `first`."""
    return generator(device, seed, "step", first + n)


def feed(
    images: TrainImages, order: Tensor, size: int, device: torch.device, rng_of: Callable[[int], torch.Generator]
) -> Iterator[Batch]:
    """Batches on `device`, each with the generator it was drawn with, for `size` images of `order` after another.

    The generator of the n-th batch is `rng_of(n)`, on that device. Images that do not lie there, such as those of a
    mapped file, are fetched by a thread while the batches before them are being used.
    """
    batches = range(math.ceil(len(order) / size))
    near = images.at_hand(device)
    order = order.to(device) if near else order

    def fetch(n: int) -> Batch:
        rng = rng_of(n)
        return images.batch(order[n * size : (n + 1) * size], rng), rng

    if near:
        yield from map(fetch, batches)
        return
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Batch]] = deque()
        for n in batches:
            coming.append(pool.submit(fetch, n))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
