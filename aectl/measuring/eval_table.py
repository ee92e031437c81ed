"""An evaluation's figures as lines on the screen: name, value ± standard error over images, unit."""

from collections.abc import Iterator
from typing import Any

from aectl.measuring.importance import ENOUGH, MANY

UNITS = {
    "nll": "nats per image", "grey_bce_bound": "nats per image", "se_images": "nats", "se_draws": "nats",
    "scarce": f"of the images have fewer than {ENOUGH} effective draws",
    "bits_per_dim": "bits per value", "sigma": "on [0, 1] pixels",
    "loss": "nats per image", "recon": "nats per image", "kl": "nats per image",
    "elbo": "nats per image, higher is better", "recon_floor": "nats per image", "mse": "per pixel",
    "sse": "per image", "psnr": "dB", "pca_mse": "per pixel", "mean_image_mse": "per pixel",
    "psnr_noisy": "dB", "psnr_median": "dB", "psnr_denoised": "dB",
}  # fmt: skip
BOUNDS = ("nll", "grey_bce_bound")
ELSEWHERE = ("robustness", "standard_errors")  # tables of their own, and what stands beside the figures


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The figures under the names that `metrics.json` gives them, then PSNR by kind and strength of noise."""
    errors = found.get("standard_errors", {})
    width = max(map(len, found))
    for name, value in found.items():
        if name not in ELSEWHERE:
            error = f" ± {errors[name]:.4f}" if name in errors else ""
            words = (f"{_shown(value)}{error}", _unit(name), _beside(name, found))
            yield f"  {name.ljust(width)}  {' '.join(word for word in words if word)}"
    yield from _robustness(found.get("robustness", []))


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _unit(name: str) -> str:
    """The unit of a figure, or of what belongs to one of the bounds."""
    for bound in BOUNDS:
        name = name.removeprefix(f"{bound}_")
    return UNITS.get(name, "")


def _beside(name: str, found: dict[str, Any]) -> str:
    """How many draws carry a bound: without that its standard errors cannot be read."""
    if name not in BOUNDS:
        return ""
    few = ", too few" if found[f"{name}_scarce"] >= MANY else ""
    return f"({found[f'{name}_effective_samples']:.1f} effective draws of {found[f'{name}_samples']:,}{few})"


def _robustness(table: list[dict[str, Any]]) -> Iterator[str]:
    columns = ("noisy", "median", "nl_means", "model")
    if table:
        yield "  PSNR (dB)".ljust(28) + "".join(column.rjust(10) for column in columns)
    for row in table:
        figures = "".join(("-" if row[name] is None else f"{row[name]:.2f}").rjust(10) for name in columns)
        yield f"  {row['noise']} {row['strength']:g}".ljust(28) + figures
