"""Every figure that training prints, writes and puts into TensorBoard, of a run that does not move.

Its weights are given (`linear.py`) and its learning rate is next to nothing, so that each epoch must give what NumPy
makes of the weights. The runs are gone on with, since the weights are put in place after their first epoch.
"""

import json
import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from linear import D, Linear, noise_blur, plant, planted, spread_codes
from scipy.stats import norm

from aectl.data.datasets.synthetic import Synthetic
from aectl.models.autoencoder import Ae
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.runs.papers import read_metrics

STILL = 1e-30
# Training sees batches of 32 and of 13.
DATASET = Synthetic(val_size=60, test_size=20, split_seed=3, synthetic_size=125, synthetic_shape=[1, 12, 13])
SIGMA = 0.3
PARTS = ("train", "val")


def gone_on(aectl, run: Linear, epochs: int = 3) -> tuple[list[dict], str]:
    """Records of the epochs after the first, and what was printed."""
    done = aectl("train", f"resume={run.path}", f"epochs={epochs}")
    assert done.status == 0, done.err
    records = read_metrics(run.path)
    assert [record["epoch"] for record in records] == list(range(1, epochs + 1))
    return records[1:], done.out


def kl(run: Linear, part: str) -> np.ndarray:
    """KL of each image's latents, (N, K)."""
    mu, logvar = run.mu(run.seen(part)), run.logvar(run.seen(part))
    q = torch.distributions.Normal(torch.from_numpy(mu), torch.from_numpy(np.exp(logvar / 2)))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).numpy()


def recon(run: Linear, part: str) -> tuple[float, float]:
    """E[−log p(x|z)] over z, on average over images, and its standard deviation for one draw an image."""
    rng, x, seen = np.random.default_rng(0), run.images[part], run.seen(part)
    z = run.mu(seen) + np.exp(run.logvar(seen) / 2) * rng.standard_normal((400, len(x), len(run.weights["W"])))
    each = -norm.logpdf(x, run.decode(z), SIGMA).sum(2)
    return each.mean(), math.sqrt(each.var(0).sum()) / len(x)


def errors(run: Linear, part: str) -> tuple[float, float]:
    """MSE per pixel and PSNR of reconstructions from the mean of the code, means over images."""
    x, x_hat = run.images[part], run.decode(run.mu(run.seen(part)))
    each = np.square(np.clip(x_hat, 0, 1) - x).mean(1)
    return np.square(x_hat - x).mean(), (-10 * np.log10(each)).mean()


def test_an_epochs_figures_are_means_over_its_images(aectl, tmp_path):
    run = planted(tmp_path / "run", spread_codes(), dataset=DATASET, noise=noise_blur(), kl_weight=0.5, lr=STILL)
    began = time.perf_counter()
    records, shown = gone_on(aectl, run)
    elapsed = time.perf_counter() - began
    for record in records:
        for part in PARTS:
            expected, sd = recon(run, part)
            divergence = kl(run, part).sum(1).mean()
            assert record[f"{part}/recon"] == pytest.approx(expected, abs=5 * sd)
            assert record[f"{part}/kl"] == pytest.approx(divergence, rel=1e-5)
            assert record[f"{part}/loss"] == pytest.approx(record[f"{part}/recon"] + 0.5 * divergence, rel=1e-6)
            assert record[f"{part}/elbo"] == pytest.approx(-record[f"{part}/recon"] - divergence, rel=1e-6)
        assert record["val/active_units"] == (run.mu(run.images["val"]).var(0) > 0.01).sum() == 3
        assert (record["lr"], record["kl_weight"]) == (STILL, 0.5)
        line = next(line for line in shown.splitlines() if line.startswith(f"epoch {record['epoch']}/3"))
        for part in PARTS:
            words = " ".join(f"{name} {record[f'{part}/{name}']:>6.2f}" for name in ("loss", "recon", "kl"))
            assert f"{part} {words}" in line
        mse, psnr = errors(run, "val")
        assert record["val/mse"] == pytest.approx(mse, rel=1e-5)
        assert record["val/psnr"] == pytest.approx(psnr, rel=1e-5)
        assert f"kl {record['val/kl']:>6.2f} psnr {psnr:5.2f} dB" in line
        assert "train/mse" not in record, "which would be that of codes that are drawn"
        assert "mse" not in line
    # What is random in training is fresh in each epoch, in validation it is the same.
    assert records[0]["train/recon"] != records[1]["train/recon"]
    assert records[0]["val/recon"] == pytest.approx(records[1]["val/recon"], rel=1e-7)

    result = json.loads((run.path / "result.json").read_text())
    seconds = sum(45 / record["images_per_s"] for record in read_metrics(run.path))
    assert result["seconds"] == pytest.approx(seconds, abs=2e-3)
    assert 0 < sum(45 / record["images_per_s"] for record in records) < elapsed
    check_closing_line(run, records, shown)
    check_tensorboard(run, records)


def check_closing_line(run: Linear, records: list[dict], shown: str) -> None:
    """Nats per image, and the squared error per pixel that the reconstruction term comes from."""
    (line,) = [line for line in shown.splitlines() if line.startswith("best epoch")]
    best = min(read_metrics(run.path), key=lambda record: record["val/loss"])
    assert f"best epoch {best['epoch']}:" in line
    for part in PARTS:
        figures = re.search(
            rf"{part} recon (-?[\d.]+) \(squared error ([\d.]+) per pixel\), KL ([\d.]+), ELBO (-?[\d.]+)", line
        ).groups()
        nats, error, divergence, elbo = map(float, figures)
        names = (f"{part}/recon", f"{part}/kl", f"{part}/elbo")
        assert [nats, divergence, elbo] == [round(best[name], 2) for name in names]
        squared = 2 * SIGMA**2 * (best[f"{part}/recon"] / D - math.log(SIGMA) - 0.5 * math.log(2 * math.pi))
        assert error == pytest.approx(squared, abs=6e-5)
    assert line.endswith(f", PSNR {best['val/psnr']:.2f} dB"), "of validation, the only one that has been decoded"


def check_tensorboard(run: Linear, records: list[dict]) -> None:
    """Curves are the records, validation beside training; KL of each latent in its place; the projector's codes."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events, validation = EventAccumulator(str(run.path)), EventAccumulator(str(run.path / "validation"))
    events.Reload()
    validation.Reload()
    known = set(events.Tags()["scalars"]) | set(validation.Tags()["scalars"])
    for record in records:
        for key in set(record) - {"epoch", "step"}:
            part, _, name = key.rpartition("/")
            (tag,) = {f"{group}/{name}" for group in ("epoch", "measures", "training")} & known
            points = {event.step: event.value for event in (validation if part == "val" else events).Scalars(tag)}
            assert points[record["step"]] == pytest.approx(record[key], rel=1e-6), key
        for index, value in enumerate(kl(run, "val").mean(0)):
            points = {event.step: event.value for event in events.Scalars(f"latent_kl/{index:02d}")}
            assert points[record["step"]] == pytest.approx(value, rel=1e-5)
    (codes,) = run.path.glob("*/codes*/tensors.tsv")
    rows = [[float(value) for value in row.split("\t")] for row in codes.read_text().splitlines()]
    np.testing.assert_allclose(np.array(rows)[:, :4], run.mu(run.images["val"]), atol=1e-4)
    labels = codes.with_name("metadata.tsv").read_text().split()
    assert labels == [str(label) for label in run.labels["val"]]


def test_the_loss_has_the_weight_of_its_step_and_validation_the_full_one(aectl, tmp_path):
    """Codes that are the same for each image, hence one KL, the loss of which grows with the warm-up."""
    weights = spread_codes()
    weights["A"], weights["L"] = 0 * weights["A"], 0 * weights["L"]
    weights["a"] = np.array([1.0, -2.0, 0.5, 0.0])
    run = planted(tmp_path / "run", weights, dataset=DATASET, kl_weight=2.0, kl_warmup=4.0, lr=STILL)
    constant = kl(run, "train").sum(1)
    assert constant.std() < 1e-9
    records, _ = gone_on(aectl, run)
    for record, steps in zip(records, ((2, 3), (4, 5)), strict=True):  # of 8 in the warm-up
        first, second = (2.0 * step / 8 for step in steps)
        mean = (32 * first + 13 * second) / 45
        assert record["train/loss"] - record["train/recon"] == pytest.approx(mean * constant[0], rel=1e-3)
        assert record["val/loss"] - record["val/recon"] == pytest.approx(2.0 * constant[0], rel=1e-3)
        assert record["kl_weight"] == pytest.approx(second)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_closing_line_has_the_error_per_pixel(aectl, tmp_path, likelihood):
    """Of an autoencoder, in which nothing is drawn."""
    weights = spread_codes(posterior=False)
    if likelihood == "bernoulli":
        weights["W"], weights["b"] = 4 * weights["W"], np.full(D, -2.0)
    scored = LIKELIHOODS.read({"name": likelihood, "sigma": SIGMA if likelihood == "gaussian" else None})
    run = planted(tmp_path / "run", weights, dataset=DATASET, model=Ae(), likelihood=scored, lr=STILL)
    records, shown = gone_on(aectl, run, epochs=2)
    assert "best epoch 2:" in shown, "whose figures are in the line"
    for part in PARTS:
        x, x_hat = run.images[part], run.decode(run.mu(run.images[part]))
        if likelihood == "bernoulli":
            error, name = -(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat)).mean(), "BCE"
            nats = error * D
        else:
            error, name = np.square(x - x_hat).mean(), "squared error"
            nats = -norm.logpdf(x, x_hat, SIGMA).sum(1).mean()
        assert records[0][f"{part}/recon"] == pytest.approx(nats, rel=1e-5)
        assert f"{part} recon {nats:.2f} ({name} {error:.4f} per pixel)" in shown
        assert not {f"{part}/kl", f"{part}/elbo", "kl_weight"} & set(records[0]), "it has no prior"
    assert records[0]["val/mse"] == pytest.approx(errors(run, "val")[0], rel=1e-5)
    mse = [f"mse {errors(run, part)[0]:.4f}" for part in PARTS]
    (line,) = [line for line in shown.splitlines() if line.startswith("epoch 2/2")]
    if likelihood == "gaussian":  # whose nats are a squared error and a constant
        assert records[0]["train/mse"] == pytest.approx(errors(run, "train")[0], rel=1e-4)
        errors_said = [f" {word}" for word in mse]
    else:
        assert "train/mse" not in records[0]
        errors_said = ["", ""]
    form = r"epoch 2/2  train loss +\S+{}  val loss +\S+{} psnr +\S+ dB  \S+ images/s"
    assert re.fullmatch(form.format(*errors_said), line)


def test_the_objective_is_the_least_of_validation(aectl, tmp_path):
    """The weights that are put in are worse than those that the first epoch has learnt."""
    weights = spread_codes(posterior=False)
    run = planted(tmp_path / "run", weights, dataset=DATASET, model=Ae(), lr=STILL)
    first = read_metrics(run.path)[0]
    spoiled = {**weights, "b": weights["b"] + 3.0}
    for path in sorted((run.path / "checkpoints").iterdir()):
        plant(path, spoiled)
    records, shown = gone_on(aectl, run)
    assert records[0]["val/loss"] > first["val/loss"] + 1
    result = json.loads((run.path / "result.json").read_text())
    assert (result["objective"], result["best_epoch"]) == (first["val/loss"], 1)
    assert [result[name] for name in ("val/loss", "train/loss")] == [first["val/loss"], first["train/loss"]]
    assert "best epoch 1:" in shown


@pytest.mark.parametrize(
    "settings",
    [
        ("model=ae", "likelihood=gaussian"),
        ("model=dae", "noise=masking"),
        ("model=vae", "likelihood=continuous_bernoulli", "noise=gaussian"),
        ("model=vae", "prior=vamp", "objective=tc"),
        ("model=iwae", "network=conv"),
        ("model=dae", "network=unet", "likelihood=gaussian"),
    ],
    ids=" ".join,
)
def test_an_epochs_errors_are_those_that_eval_gives_of_its_checkpoint(aectl, only_run, settings):
    """Which decodes anew whatever it measures."""
    size = "network.channels=[4,6]" if {"network=conv", "network=unet"} & set(settings) else "network.hidden=[8]"
    data = ("dataset=synthetic", "dataset.synthetic_size=120", "dataset.val_size=30", "dataset.test_size=30")
    done = aectl("train", *data, *settings, size, "epochs=1", "device=cpu", "threads=1", "figures_every=0")
    assert done.status == 0, done.err
    (record,) = read_metrics(only_run())
    assert aectl("eval", "run=latest", "split=val", "device=cpu", "threads=1", "hydra.run.dir=measured").status == 0
    measured = json.loads(Path("measured/metrics.json").read_text())
    for name in ("mse", "psnr"):
        assert record[f"val/{name}"] == pytest.approx(measured[name], rel=1e-6), name
    assert ("train/mse" in record) == ("likelihood=gaussian" in settings)
    result = json.loads((only_run() / "result.json").read_text())
    assert result["val/psnr"] == record["val/psnr"]
