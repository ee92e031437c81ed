"""The oddest and the most usual pictures of a set, each above its reconstruction and where that errs."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from aectl.drawing import grids


def sheet(
    x: Tensor,
    x_hat: Tensor,
    scores: Sequence[float],
    oddest: Sequence[int],
    usual: Sequence[int],
    run: str,
    measure: str,
) -> np.ndarray:
    """Two blocks of three rows, pictures, reconstructions and errors, as RGB, (H, W, 3) uint8.

    Args:
        x: pictures, (N, C, H, W) in [0, 1].
        x_hat: their reconstructions.
        scores: how odd each is.
        oddest: places in `x`, the oddest first.
        usual: the most usual first.
        run: to which they are odd.
        measure: what a score is, with its unit.
    """
    errors = (x_hat - x).abs().mean(1, keepdim=True).expand_as(x)
    errors = errors / errors.max().clamp_min(1e-6)
    blocks = []
    for words, chosen in (("oddest", oddest), ("most usual", usual)):
        rows = {name: values[list(chosen)] for name, values in
                (("picture", x), ("reconstruction", x_hat.clamp(0, 1)), ("error", errors))}  # fmt: skip
        heads = [f"{scores[index]:.4g}" for index in chosen]
        blocks.append(grids.labelled(list(rows.items()), f"{run}: the {words}, each below its {measure}", heads))
    width = max(block.shape[1] for block in blocks)
    padded = [np.pad(block, ((0, 8), (0, width - block.shape[1]), (0, 0)), constant_values=255) for block in blocks]
    return np.concatenate(padded)
