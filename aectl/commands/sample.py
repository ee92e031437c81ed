"""`aectl sample`: codes chosen by a mode, decoded, and written as a grid and one PNG each."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from aectl import storage
from aectl.commands.sampling import CHUNK, MODES, Origin, settle
from aectl.commands.schemas import SampleConfig
from aectl.data.images import to_uint8
from aectl.files.pictures import png
from aectl.machine import devices
from aectl.runs import sanity
from aectl.runs.opening import Run, open_data, open_run, refuse_codeless
from aectl.runs.tracking import Tracker

FROM_PRIOR = ("prior", "grid")  # modes that need no image where there is a prior

log = logging.getLogger(__name__)


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
    settle(run, config.mode, config.n)
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
