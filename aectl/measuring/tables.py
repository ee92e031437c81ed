"""Groups and runs of a sweep as the rows and columns of a table."""

import math
from collections.abc import Sequence
from typing import Any

from aectl.measuring.comparison import Group, Measured

UNITS = {
    "recon": "recon", "kl": "KL", "rate": "rate", "elbo": "ELBO", "sse": "squared error", "pca_sse": "PCA's",
    "psnr": "PSNR (dB)", "bpp": "bits per pixel of files", "file_psnr": "PSNR of files (dB)",
    "file_ssim": "SSIM of files", "bits_per_dim": "bits/dim of file", "active_units": "active units",
    "seconds": "seconds",
}  # fmt: skip
DIGITS = {"active_units": 1, "seconds": 1, "bpp": 3, "file_ssim": 4, "bits_per_dim": 3}  # of others 2
CONSTANT = ("pca_sse",)  # no run's own, so seeds do not move it

Rows = tuple[list[str], list[list[Any]]]


def table(groups: Sequence[Group]) -> Rows:
    """Header and rows, a row for each group: its settings, how many seeds, each figure as mean ± sd over them."""
    keys = list(dict.fromkeys(key for group in groups for key in group.settings))
    shown = [name for name in UNITS if any(group.has(name) for group in groups)]
    rows = [
        [*(group.settings.get(key, "") for key in keys), str(group.seeds),
         *(cell(group, name) if group.has(name) else "" for name in shown)]
        for group in groups
    ]  # fmt: skip
    return [*keys, "seeds", *(UNITS[name] for name in shown)], rows


def cell(group: Group, name: str) -> str:
    """A figure as mean ± standard deviation over the seeds, as the mean alone where there is one."""
    mean, sd = group.mean(name), group.sd(name)
    digits = DIGITS.get(name, 2)
    if name == "active_units" and sd is None:
        digits = 0
    if 0 < abs(mean) < 0.1:  # two digits that say something
        digits = max(digits, 1 - math.floor(math.log10(abs(mean))))
    return f"{mean:.{digits}f}" if sd is None or name in CONSTANT else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def records(runs: Sequence[Measured]) -> Rows:
    """Header and rows, a row for each run, with full precision."""
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    rows = [
        [run.job, *(run.settings.get(key, "") for key in keys), *(run.figures.get(name, "") for name in names)]
        for run in runs
    ]
    return ["job", *keys, *names], rows
