"""The page itself: what it shows of a subject, within its size."""

import math
from collections.abc import Sequence
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
PROBE = 50  # images, by whose size that of more is judged
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
    code, room = subject.code, room // 2 if len(subject.train) else room
    views = [sprites.thumbnails(subject.shown.pixels.numpy())]
    if with_reconstructions:
        views.append(sprites.thumbnails(to_uint8(subject.decoded(code.mu)).numpy()))
    rows, sprite = _most(views, room, 8 * subject.model.latent)
    labels = subject.shown.labels
    shown = {
        "count": len(rows), "sprite": of_sprite(sprite), "codes": packed(code.mu[rows]),
        "sd": None if code.logvar is None else packed((0.5 * code.logvar[rows]).exp()),
        "labels": None if labels is None else labels[rows].tolist(), "of": subject.of_shown,
    }  # fmt: skip
    if not len(subject.train):
        return {"shown": shown, "train": None}
    rows, sprite = _most([sprites.thumbnails(subject.train.pixels.numpy())], room, 4 * subject.model.latent)
    train = {"count": len(rows), "sprite": of_sprite(sprite), "codes": packed(subject.train_codes[rows])}
    return {"shown": shown, "train": {**train, "of": subject.of_train}}


def _most(views: Sequence[np.ndarray], room: int, code_bytes: int) -> tuple[torch.Tensor, Sprite]:
    """Which of N images, evenly spread, and the file of their `views`, (N, C, H, W) each: as many as fit in `room`.

    It is a JPEG only where not a third of them would fit as PNG.
    """
    total = len(views[0])

    def made(count: int, quality: int | None) -> tuple[torch.Tensor, Sprite, int]:
        rows = torch.linspace(0, total - 1, count).round().long()
        pictures = np.concatenate([view[rows.numpy()] for view in views])
        found = sprites.sprite(pictures, max(1, math.isqrt(len(pictures))), quality)
        return rows, found, _letters(len(found.data)) + count * _letters(code_bytes)

    for quality in (None, *sprites.QUALITIES):
        *_, size = made(min(total, PROBE), quality)
        count = min(total, int(0.9 * room * min(total, PROBE) / size))
        if count >= total / 3 or quality == sprites.QUALITIES[-1]:
            rows, found, size = made(max(1, count), quality)
            if size <= room:
                break
    return rows, found


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
