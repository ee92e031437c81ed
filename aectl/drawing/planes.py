"""Codes over the plane of two latents: a square of them to decode, first row on top."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from aectl.models.priors import Prior

CELLS = 20  # images along the side of a square of square ones
FEW, MANY = 1, 60  # along a side, whatever their shape
MARGIN = 0.03  # of the side, left around the codes
TAIL = 0.01  # of the prior that may lie outside, to either side

Limits = tuple[float, float, float, float]  # least and most of the first latent, least and most of the second


@dataclass(frozen=True)
class Plane:
    """Codes over a plane.

    Attributes:
        z: (rows·columns, K), row by row from the top left.
        across: the first latent's value in each column, from left to right.
        down: the second's in each row, from top to bottom.
    """

    z: Tensor
    across: list[float]
    down: list[float]


def quantiles(side: int, prior: Prior, dims: tuple[int, int] = (0, 1)) -> Plane:
    """Side² codes at the prior's quantiles (i + ½)/side: of N(0, I) each cell has equal probability.

    Hence the steps are unequal. The other latents are at their medians.
    """
    across, up = prior.quantiles(shares(side))[:, list(dims)].float().unbind(1)
    return _crossed(across, up, middle(None, prior), dims)


def shares(side: int) -> Tensor:
    """(i + ½)/side, (side,), float64: the middles of as many equal parts of a probability."""
    return (torch.arange(side, dtype=torch.float64) + 0.5) / side


def spanned(side: int, codes: Tensor, dims: tuple[int, int]) -> Plane:
    """Side² codes in equal steps from the 1st to the 99th percentile of `codes` (N, K), the others at their means."""
    ends = torch.quantile(codes[:, list(dims)].float(), torch.tensor([0.01, 0.99]), dim=0)
    across, up = (torch.linspace(ends[0, axis].item(), ends[1, axis].item(), side) for axis in (0, 1))
    return _crossed(across, up, middle(codes, None), dims)


def even(codes: Tensor, prior: Prior | None, dims: tuple[int, int], limits: Limits, shape: tuple[int, int]) -> Plane:
    """The middles of `shape` (rows, columns) equal cells between the limits.

    The other latents are at the prior's medians, without one at the means of `codes` (N, K).
    """
    (rows, columns), (left, right, bottom, top) = shape, limits
    across, up = left + (right - left) * shares(columns), bottom + (top - bottom) * shares(rows)
    return _crossed(across.float(), up.float(), middle(codes, prior), dims)


def square(codes: Tensor, prior: Prior | None, dims: tuple[int, int]) -> Limits:
    """A square that has all of the codes (N, K) in it, and of a prior all but 1% at each end of both latents."""
    seen = codes[:, list(dims)].double()
    seen = seen[seen.isfinite().all(1)]
    if prior is not None:
        ends = prior.quantiles(torch.tensor([TAIL, 1 - TAIL]))[:, list(dims)].double()
        seen = torch.cat([seen, ends])
    low, high = (seen.amin(0), seen.amax(0)) if len(seen) else torch.zeros(2, 2)
    half = (high - low).max().item() * (0.5 + MARGIN) or 0.5
    x, y = ((low + high) / 2).tolist()
    return x - half, x + half, y - half, y + half


def cells(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of images of that size that fill a square."""
    ratio = math.sqrt(height / width)
    rows, columns = (min(MANY, max(FEW, round(CELLS * one))) for one in (1 / ratio, ratio))
    return rows, columns


def widest(codes: Tensor) -> tuple[int, int]:
    """The two latents whose codes (N, K ≥ 2) vary most, in order of their index."""
    first, second = sorted(codes.var(0, correction=0).topk(2).indices.tolist())
    return first, second


def middle(codes: Tensor | None, prior: Prior | None) -> Tensor:
    """Where latents are that do not vary, (K,): at the prior's medians, without one at the means of the codes."""
    return codes.float().mean(0) if prior is None else prior.quantiles(torch.tensor([0.5]))[0].float()


def _crossed(across: Tensor, up: Tensor, others: Tensor, dims: tuple[int, int]) -> Plane:
    z = others.repeat(len(up) * len(across), 1)
    z[:, dims[0]] = across.repeat(len(up))
    z[:, dims[1]] = up.flip(0).repeat_interleave(len(across))
    return Plane(z, across.tolist(), up.flip(0).tolist())
