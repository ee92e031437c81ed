"""The decoder for a browser: a dense one as its weights, every other as pictures made beforehand."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor

from aectl.data.images import to_uint8
from aectl.drawing.explorer.numbers import of_sprite, packed
from aectl.drawing.explorer.subject import Subject
from aectl.files.pictures.sprites import QUALITIES, sprite, thumbnails
from aectl.models.networks.layers import SLOPE
from aectl.models.networks.mlp import MLPDecoder

SIDES = (25, 20, 16, 12, 8)  # cells along an axis of the grid
LINE = 101  # cells where there is one latent
TOLERANCE = 0.5 / 255  # by which rounded weights may change a pixel


def linears(decoder: torch.nn.Module) -> list[torch.nn.Linear]:
    """The dense layers of a decoder."""
    return [layer for layer in decoder if isinstance(layer, torch.nn.Linear)]


def size_of(subject: Subject) -> int | None:
    """How many numbers the browser needs to decode by itself; None where it cannot."""
    model = subject.model
    if not isinstance(model.decoder, MLPDecoder) or not model.likelihood.link:
        return None
    return sum(layer.weight.numel() + layer.bias.numel() for layer in linears(model.decoder))


def dense(subject: Subject) -> dict[str, Any]:
    """The weights, layer by layer, float16 where that changes no pixel by more than half a grey level."""
    layers = linears(subject.model.decoder)
    values = torch.cat([part.detach().cpu().flatten() for layer in layers for part in (layer.weight, layer.bias)])
    kind = "float16" if rounding(subject) <= TOLERANCE else "float32"
    return {
        "kind": "dense", "sizes": [[layer.in_features, layer.out_features] for layer in layers],
        "activation": subject.config.network.activation, "slope": SLOPE, "link": subject.model.likelihood.link,
        "precision": kind, "weights": packed(values, kind),
    }  # fmt: skip


@torch.inference_mode()
def rounding(subject: Subject) -> float:
    """By how much float16 weights change a pixel of the shown images' reconstructions, at most."""
    decoder, codes = subject.model.decoder, subject.code.mu.float()[:200].to(subject.device)
    exact = {name: value.clone() for name, value in decoder.state_dict().items()}
    before = subject.model.decode(codes)
    rounded = {name: value.half().float() for name, value in exact.items()}
    after = subject.model.likelihood.mean(torch.func.functional_call(decoder, rounded, codes))
    change = (after.clamp(0, 1) - before.clamp(0, 1)).abs().max().item()
    return math.inf if math.isnan(change) else change


def grids(subject: Subject, room: int) -> dict[str, Any]:
    """Pictures over planes of two latents, those that carry most first, in `room` letters at most."""
    if subject.model.latent == 1:
        return {"kind": "grid", "grids": [_grid(subject, (0, 0), LINE, 1, room)]}
    pairs = sorted(itertools.combinations(range(min(4, subject.model.latent)), 2), key=sum)
    axes = [tuple(sorted((subject.order[first], subject.order[second]))) for first, second in pairs]
    found = [_square(subject, axes[0], room)]
    each = len(found[0]["sprite"]["src"])
    for pair in axes[1:]:
        if (len(found) + 1) * each < room:
            found.append(_grid(subject, pair, found[0]["across"], found[0]["up"], each))
    return {"kind": "grid", "grids": found}


def _square(subject: Subject, axes: tuple[int, int], room: int) -> dict[str, Any]:
    """The finest grid that fits in `room`, else the coarsest."""
    grid: dict[str, Any] = {}
    for side in SIDES:
        grid = _grid(subject, axes, side, side, room)
        if len(grid["sprite"]["src"]) <= room:
            break
    return grid


def _grid(subject: Subject, axes: tuple[int, int], across: int, up: int, room: int) -> dict[str, Any]:
    """A PNG, or a JPEG where that would take more than `room`; the first row has the second latent's least value."""
    z, _ = cells(subject, axes, across, up)
    pictures = thumbnails(to_uint8(subject.decoded(z)).numpy())
    found = of_sprite(sprite(pictures, across))
    if len(found["src"]) > room:
        found = of_sprite(sprite(pictures, across, QUALITIES[0]))
    return {"axes": list(axes), "across": across, "up": up, "sprite": found}


def cells(subject: Subject, axes: tuple[int, int], across: int, up: int) -> tuple[Tensor, Tensor]:
    """Codes of a grid's cells, (up·across, K), and what they have on its two axes; the others are in the middle."""
    z = subject.middle.repeat(up * across, 1)
    ends = subject.ranges
    first = torch.linspace(*ends[axes[0]].tolist(), across)
    z[:, axes[0]] = first.repeat(up)
    if up > 1:
        z[:, axes[1]] = torch.linspace(*ends[axes[1]].tolist(), up).repeat_interleave(across)
    return z, z[:, list(axes)]
