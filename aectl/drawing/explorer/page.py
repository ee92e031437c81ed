"""The page itself: what it shows of a subject, within its size."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from aectl.data.images import to_uint8
from aectl.drawing import plots
from aectl.drawing.explorer import decoders, sentences
from aectl.drawing.explorer.numbers import of_sprite, packed
from aectl.drawing.explorer.subject import Subject
from aectl.drawing.pages.filling import embedded, filled
from aectl.files.pictures import sprites
from aectl.files.pictures.sprites import Sprite
from aectl.models.priors import StandardNormal

LIMIT = 3_000_000  # bytes of the page
FRAME = 120_000  # bytes for all but weights, codes and pictures
SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1)  # of the images that could be shown
FEW = 60  # images are the least for which decoding in the browser is worth it
STYLES = ("theme.css", "explorer.css")
SCRIPTS = ("numbers.js", "decoder.js", "space.js", "plane.js", "explorer.js")


def is_small(subject: Subject) -> bool:
    """Whether the browser can decode by itself, so that the page is made in a moment."""
    numbers = decoders.size_of(subject)
    return numbers is not None and _letters(2 * numbers) < LIMIT - FRAME - _least(subject)


def _letters(size: int) -> int:
    """Base64's, for so many bytes."""
    return math.ceil(size / 3) * 4


def _least(subject: Subject) -> int:
    """About what the fewest pictures take, and their codes."""
    return FEW * (_letters(math.prod(subject.shape)) + 4 * _letters(4 * subject.model.latent))


def document(subject: Subject) -> dict[str, Any]:
    """All that the page's script knows."""
    dense = is_small(subject)
    decoder = decoders.dense(subject) if dense else {}
    room = LIMIT - FRAME - len(decoder.get("weights", ""))
    if not dense:
        decoder = decoders.grids(subject, room // 2)
        room -= sum(len(grid["sprite"]["src"]) for grid in decoder["grids"])
    weights, unit = subject.weights
    prior = subject.model.prior
    return {
        "shape": list(subject.shape), "latent": subject.model.latent, "decoder": decoder,
        "order": subject.order, "weights": _rounded(weights), "unit": unit,
        "middle": _rounded(subject.middle, 6), "ranges": [_rounded(row, 6) for row in subject.ranges],
        "prior": None if prior is None else prior.words, "normal": isinstance(prior, StandardNormal),
        "noisy": subject.config.corrupts, "part": subject.part, **_classes(subject),
        **_images(subject, room, with_reconstructions=not dense),
    }  # fmt: skip


def _rounded(values: torch.Tensor, digits: int = 4) -> list[float]:
    return [round(value, digits) for value in values.tolist()]


def _classes(subject: Subject) -> dict[str, Any]:
    """The labels that shown images have, and their colours: those of the plots."""
    if subject.shown.labels is None:
        return {"classes": [], "colours": []}
    found = subject.shown.labels[subject.shown.labels >= 0].unique().tolist()
    return {"classes": found, "colours": plots.label_colours(len(found))}


def _images(subject: Subject, room: int, *, with_reconstructions: bool) -> dict[str, Any]:
    """The shown and the training images with their codes, as many as fit in `room` letters.

    Where the browser cannot decode, the reconstructions stand behind the images in their sprite.
    """
    code, images = subject.code, subject.shown.pixels

    def pictures(rows: torch.Tensor) -> np.ndarray:
        originals = images[rows]
        if not with_reconstructions:
            return originals.numpy()
        return torch.cat([originals, to_uint8(subject.decoded(code.mu[rows]))]).numpy()

    half = room // 2 if len(subject.train) else room
    rows, sprite = _most(pictures, len(images), half, 8 * subject.model.latent)
    labels = subject.shown.labels
    shown = {
        "count": len(rows), "sprite": of_sprite(sprite), "codes": packed(code.mu[rows]),
        "sd": None if code.logvar is None else packed((0.5 * code.logvar[rows]).exp()),
        "labels": None if labels is None else labels[rows].tolist(), "of": subject.of_shown,
    }  # fmt: skip
    if not len(subject.train):
        return {"shown": shown, "train": None}
    train = subject.train.pixels
    rows, sprite = _most(lambda rows: train[rows].numpy(), len(train), half, 4 * subject.model.latent)
    return {
        "shown": shown,
        "train": {
            "count": len(rows),
            "sprite": of_sprite(sprite),
            "codes": packed(subject.train_codes[rows]),
            "of": subject.of_train,
        },
    }


def _most(
    pictures: Callable[[torch.Tensor], np.ndarray], count: int, room: int, code_bytes: int
) -> tuple[torch.Tensor, Sprite]:
    """Which of `count` images, evenly spread, and the file of their `pictures`: the most that fit, in PNG if need be.

    A JPEG is taken only where not even a tenth of them would fit as PNG.
    """
    rows, made = torch.arange(count), None
    for quality, shares in ((None, SHARES), *((quality, SHARES) for quality in sprites.QUALITIES)):
        for share in shares:
            rows = torch.linspace(0, count - 1, max(1, round(share * count))).round().long()
            images = sprites.thumbnails(pictures(rows))
            made = sprites.sprite(images, max(1, math.isqrt(len(images))), quality)
            if _letters(len(made.data)) + len(rows) * _letters(code_bytes) <= room:
                return rows, made
    return rows, made


def explorer(subject: Subject) -> tuple[str, dict[str, Any]]:
    """The page of `subject`, and the document in it.

    Raises:
        ConfigError: its pictures are too large for a page.
    """
    found = document(subject)
    page = filled(
        "explorer.html", STYLES, SCRIPTS, title=sentences.title(subject), facts=sentences.facts(subject, found),
        document=embedded(found), latent=subject.model.latent, is_vae=subject.model.posterior is not None,
        has_labels=bool(found["classes"]), has_train=found["train"] is not None,
        decodes=found["decoder"]["kind"] == "dense", words=sentences.explained(subject, found),
    )  # fmt: skip
    return page, found
