"""Batches in their order, each with the random numbers of its step."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from aectl.data.images import Pair, TrainImages

AHEAD = 2  # batches that are fetched before they are asked for

Batch = tuple[Pair, torch.Generator]


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
