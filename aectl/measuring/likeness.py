"""How like its reference a picture is before and after it was cleaned, whatever files hold the three."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import torch

from aectl.files.pictures import fitting
from aectl.files.pictures.reading import Picture
from aectl.measuring import metrics


@dataclass(frozen=True)
class Likeness:
    """PSNR (dB) and SSIM of a picture as it was and as it is, against its reference."""

    psnr_before: float
    psnr_after: float
    ssim_before: float
    ssim_after: float

    @property
    def gain(self) -> float:
        """By how much the PSNR rose, in dB."""
        return self.psnr_after - self.psnr_before

    def __str__(self) -> str:
        psnr = f"PSNR {self.psnr_before:.2f} → {self.psnr_after:.2f} dB"
        return f"{psnr}, SSIM {self.ssim_before:.4f} → {self.ssim_after:.4f}"

    @property
    def with_gain(self) -> str:
        """The same with what was gained."""
        return str(self).replace(" dB", f" dB ({self.gain:+.2f})")


def mean(of: Sequence[Likeness]) -> Likeness:
    """Each figure's mean."""
    return Likeness(*np.mean([astuple(one) for one in of], axis=0).tolist())


def measure(before: Sequence[Picture], after: Sequence[Picture], reference: Sequence[Picture]) -> Likeness:
    """Means over pages, of which each of the three has as many."""
    return mean([_of_a_page(*pages) for pages in zip(before, after, reference, strict=True)])


def _of_a_page(before: Picture, after: Picture, reference: Picture) -> Likeness:
    """A colour reference of a grey picture counts as grey."""
    channels = len(fitting.colours(before))
    found = []
    expected = torch.from_numpy(_channels(reference, channels))[None]
    for measured in (metrics.psnr, metrics.ssim):
        for picture in (before, after):
            found.append(measured(torch.from_numpy(_channels(picture, channels))[None], expected).item())
    return Likeness(*found)


def _channels(picture: Picture, channels: int) -> np.ndarray:
    values = fitting.colours(picture)
    values = values.astype(np.float32) / 255 if values.dtype == np.uint8 else values
    if len(values) == channels:
        return values
    return np.tensordot(fitting.LUMA, values, 1)[None] if channels == 1 else np.repeat(values, 3, axis=0)
