"""A run's figures in words: beside the bar, when an epoch ends, and when all is done."""

from typing import Any

from aectl.models.base import Model

PARTS = ("train", "val")


def nats(value: float) -> str:
    """Nats per image; short also where they have grown beyond all bounds."""
    return f"{value:.3g}" if abs(value) >= 1e7 else f"{value:.2f}"


def per_pixel(value: float) -> str:
    """An error per pixel, which is mostly below 1."""
    return f"{value:.3g}" if abs(value) >= 1e4 else f"{value:.4f}"


def names_of(model: Model) -> tuple[str, ...]:
    """The figures in nats that tell a run apart: without costs the loss is the reconstruction."""
    return model.figures if model.costs else ("loss",)


def beside_bar(values: dict[str, float], model: Model, pixels: int, latest: dict[str, Any]) -> str:
    """The epoch so far: error per pixel where that follows, nats per image, and the `latest` epoch's PSNR."""
    error = model.likelihood.squared_error(values["recon"] / pixels)
    parts = [] if error is None else [f"mse {per_pixel(error)}"]
    parts += [f"{name} {nats(values[name])}" for name in names_of(model)]
    if latest.get("val/psnr") is not None:
        parts.append(f"val psnr {latest['val/psnr']:.2f} dB")
    return ", ".join(parts)


def of_epoch(record: dict[str, Any], epochs: int, model: Model) -> str:
    """An epoch's line, in which the figures stand below those of the epoch before."""
    parts = [f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}"]
    for part in PARTS:
        if f"{part}/loss" not in record:
            continue
        words = [f"{name} {nats(record[f'{part}/{name}']):>6}" for name in names_of(model)]
        if "train/mse" in record:
            words.append(f"mse {per_pixel(record[f'{part}/mse'])}")
        if f"{part}/psnr" in record:
            words.append(f"psnr {record[f'{part}/psnr']:5.2f} dB")
        parts.append(f"{part} {' '.join(words)}")
    return "  ".join(parts) + f"  {record['images_per_s']:,.0f} images/s"


def of_best(record: dict[str, Any], model: Model, pixels: int) -> str:
    """Training and validation in nats per image, and in the units that courses print: an error per pixel, PSNR."""
    texts = []
    for part in PARTS:
        recon = record.get(f"{part}/recon")
        if recon is None:
            continue
        text = f"{part} recon {nats(recon)} ({model.likelihood.per_pixel(recon / pixels)})"
        for name in (*model.costs, "elbo") if model.costs else ():
            if record.get(f"{part}/{name}") is not None:
                text += f", {name.upper()} {nats(record[f'{part}/{name}'])}"
        if record.get(f"{part}/psnr") is not None:
            text += f", PSNR {record[f'{part}/psnr']:.2f} dB"
        texts.append(text)
    return "; ".join(texts)
