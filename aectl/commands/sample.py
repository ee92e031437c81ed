"""`aectl sample`: codes chosen by a mode, decoded, and written as a grid and one PNG each."""

import logging
import math
from pathlib import Path

import torch
from torch import Tensor

from aectl import storage
from aectl.commands.sampling import CHUNK, MODES, Origin
from aectl.commands.schemas import SampleConfig
from aectl.data.images import to_uint8
from aectl.drawing import grids
from aectl.files.pictures import png
from aectl.machine import devices, memory
from aectl.runs import sanity
from aectl.runs.opening import Run, open_data, open_run, refuse_codeless
from aectl.runs.tracking import Tracker

FROM_PRIOR = ("prior", "grid")  # modes that need no image where there is a prior
SHEET = 40  # bytes that matplotlib takes for a value of a picture

log = logging.getLogger(__name__)


def _settle(run: Run, mode: str, n: int) -> None:
    """Refuse more images than there is memory for, before one is made.

    Raises:
        ConfigError: says how much they would take.
    """
    height, width = run.shape[1:]
    values = math.prod(run.shape)
    # Codes and what is written of them; as floats, and on the sheet, where the mode has them all in one picture.
    each = 3 * 4 * (run.config.latent or 1) + 2 * values
    if mode == "grid":
        each += SHEET * values
    elif mode != "prior":
        each += 4 * 2 * values + 3 * 3 * grids.enlarged(height, width)
    memory.settle(f"n={n}", n * each, "choose a smaller n")


@torch.inference_mode()
def _decoded(run: Run, codes: Tensor) -> Tensor:
    """Images of codes, (M, C, H, W), uint8: as they are written, in a quarter of the memory."""
    images = run.model.decode(codes).cpu()
    sanity.check_picture(images, run)
    return to_uint8(images)


def run_sample(config: SampleConfig, folder: Path) -> None:
    """Draw images from a run into `folder`: `grid.png`, and `images/0000.png` and so on.

    The latter are the decoded images alone, row by row as they stand in `grid.png`, without the originals there.
    """
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    refuse_codeless(run)
    sanity.watch(run)
    needs_data = run.model.prior is None or config.mode not in FROM_PRIOR
    data = open_data(run, config.data.root) if needs_data else None
    log.info("sampling from %s, %s checkpoint, mode=%s", run.title, config.checkpoint, config.mode)
    _settle(run, config.mode, config.n)
    drawn = MODES[config.mode](Origin(run, data, config.n, config.seed, device))
    images = torch.cat([_decoded(run, part.to(device)) for part in drawn.codes.split(CHUNK)])
    sheet = drawn.sheet(images)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index, pixels in enumerate(images):
        storage.replace(folder / "images" / f"{index:04d}.png", png.of_image(pixels.numpy()))
    storage.replace(folder / "grid.png", png.of_plot(sheet))
    tracker = Tracker(folder)
    tracker.picture(f"sample_{config.mode}", sheet, run.progress.step)
    tracker.close()
    log.info("%s", drawn.title)
    log.info("%d images: %s (grid.png, images/)", len(images), folder)
