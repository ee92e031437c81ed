"""Batches in their order, each with the random numbers of its step."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from aectl.images import Images
from aectl.patches import Patches

AHEAD = 2  # batches that are fetched before they are asked for

Batch = tuple[Tensor, torch.Generator]


def feed(
    images: Images | Patches, order: Tensor, size: int, rng_of: Callable[[int], torch.Generator]
) -> Iterator[Batch]:
    """X of (B, C, H, W) and the generator it was drawn with, for `size` images of `order` after another.

    The generator of the n-th batch is `rng_of(n)`, on the device where x is to be. Images that do not lie there, such
    as those of a mapped file, are fetched by a thread while the batches before them are being used.
    """
    starts = range(0, len(order), size)

    def fetch(n: int) -> Batch:
        rng = rng_of(n)
        return images.batch(order[n * size : (n + 1) * size], rng), rng

    if images.at_hand(order.device):
        yield from map(fetch, range(len(starts)))
        return
    with ThreadPoolExecutor(1) as pool:
        coming: deque[Future[Batch]] = deque()
        for n in range(len(starts)):
            coming.append(pool.submit(fetch, n))
            if len(coming) > AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
