"""`aectl denoise`: pictures through a trained run, or a measurement on the run's own test split."""

import logging
from pathlib import Path

import torch

from aectl import storage
from aectl.commands.cleaning import DenoiseConfig, clean
from aectl.drawing import views
from aectl.errors import ConfigError
from aectl.machine import devices
from aectl.measuring.evaluation import denoising
from aectl.measuring.scoring import batches
from aectl.runs import sanity, schema
from aectl.runs.opening import Run, open_data, open_run
from aectl.runs.tracking import Tracker

log = logging.getLogger(__name__)


def run_denoise(config: DenoiseConfig, folder: Path) -> float | None:
    """Clean `config.input` into `config.output`, or measure the run on its test split, into `folder`."""
    device = devices.choose(config.device, config.threads)
    run = open_run(config.run, config.checkpoint, device)
    log.info("denoising with %s, %s checkpoint", run.title, config.checkpoint)
    sanity.watch(run)
    if not run.config.corrupts:
        log.warning("note: this run was trained without noise, so it reconstructs rather than denoises")
    if config.input is None:
        return _measure(run, config, folder, device)
    clean(run, config, device)
    return None


def _measure(run: Run, config: DenoiseConfig, folder: Path, device: torch.device) -> float:
    """The table and the picture of the run's noisy test split, its own noise added or given; returns −PSNR."""
    if not run.config.corrupts:
        raise ConfigError(
            "denoise: this run has no noise of its own to measure; give input=<image or folder> output=<folder>, "
            "or train one with model=dae, or from pairs with dataset.noisy=<folder>"
        )
    test = open_data(run, config.data.root).part("test", "give input=<image or folder> output=<folder>")
    corrupt = run.config.noise
    with torch.inference_mode():
        measured = denoising(run.model, batches(test, corrupt, device, config.seed))
    found = {name: values.mean().item() for name, values in measured.items()}
    log.info("%d test images, %s", len(test), run.config.seen)
    log.info("  %-18s %10s %8s", "", "PSNR (dB)", "SSIM")
    for label, name in (("doing nothing", "noisy"), ("3×3 median", "median"), ("this run", "denoised")):
        log.info("  %-18s %10.2f %8.4f", label, found[f"psnr_{name}"], found[f"ssim_{name}"])
    title = f"{schema.caption(run.config)}: test images, {run.config.seen}"
    picture = views.reconstructions(run.model, test, corrupt, device, title)
    tracker = Tracker(folder)
    tracker.scalars("measured by denoise", found)
    tracker.picture("denoised", picture, run.progress.step)
    tracker.close()
    storage.replace(folder / "metrics.json", storage.dump_json(found))
    log.info("metrics.json and figures/denoised.png: %s", folder)
    return -found["psnr_denoised"]
