"""Every figure of `aectl report` and of a sweep's table, recomputed from the weights that its jobs have learnt."""

import csv
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Drawn
from linear import Linear, trained
from scipy.stats import norm
from sklearn.decomposition import PCA

from aectl.runs.papers import read_metrics

SIGMA = 0.3
SWEEP = [
    "experiment=smoke", "device=cpu", "threads=1", "network.hidden=[]", "likelihood=gaussian",
    f"likelihood.sigma={SIGMA}", "dataset.synthetic_shape=[1,12,13]", "figures_every=0", "lr=0.01", "latent=2,3",
    "seed=0,1",
]  # fmt: skip


@dataclass
class Reported:
    """A sweep and its report."""

    jobs: list[Linear]
    results: list[dict[str, Any]]  # as they were, before one was made the best
    chosen: int  # the job that was
    rows: list[dict[str, str]]
    page: str
    summary: list[dict[str, str]]
    drawn: Drawn


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def reported(aectl, tmp_path, drawn) -> Reported:
    """Four jobs; the one that is worst on test images is made the best of validation."""
    done = aectl("train", "-m", *SWEEP)
    assert done.status == 0, done.err
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    folders = sorted(path for path in sweep.iterdir() if (path / "result.json").is_file())
    results = [json.loads((path / "result.json").read_text()) for path in folders]
    jobs = [trained(path) for path in folders]
    chosen = int(np.argmax([recon(job)[0] for job in jobs]))
    better = {**results[chosen], "val/recon": -1e3, "val/loss": -1e3}
    (folders[chosen] / "result.json").write_text(json.dumps(better))
    summary = rows_of(sweep / "summary.csv")
    drawn.plots.clear()
    drawn.rows.clear()
    assert aectl("report").status == 0
    (folder,) = (tmp_path / "outputs/report").iterdir()
    page = (folder / "report.md").read_text()
    return Reported(jobs, results, chosen, rows_of(folder / "report.csv"), page, summary, drawn)


def recon(run: Linear) -> tuple[float, float]:
    """E[−log p(x|z)] on test images, and its standard deviation for one draw an image."""
    x, rng = run.images["test"], np.random.default_rng(0)
    z = run.mu(x) + np.exp(run.logvar(x) / 2) * rng.standard_normal((300, len(x), len(run.weights["W"])))
    each = -norm.logpdf(x, run.decode(z), SIGMA).sum(2)
    return each.mean(), math.sqrt(each.var(0).sum()) / len(x)


def test_the_report(reported):
    check_rows(reported)
    check_table(reported)
    check_plots(reported)
    titles = [title for _, title in reported.drawn.rows]
    assert len(titles) == 1
    assert f"job {reported.chosen}," in titles[0], "the best is chosen on validation images"
    check_sweep_table(reported)


def check_rows(reported: Reported) -> None:
    """A row for each run, on test images; PCA is fitted to the training images."""
    for row, run, result in zip(reported.rows, reported.jobs, reported.results, strict=True):
        x, latent = run.images["test"], len(run.weights["W"])
        mu, logvar = run.mu(x), run.logvar(x)
        expected, sd = recon(run)
        assert float(row["recon"]) == pytest.approx(expected, abs=5 * sd)
        q = torch.distributions.Normal(torch.from_numpy(mu), torch.from_numpy(np.exp(logvar / 2)))
        kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum(1).mean().item()
        assert float(row["kl"]) == pytest.approx(kl, rel=1e-4)
        assert float(row["elbo"]) == pytest.approx(-float(row["recon"]) - float(row["kl"]), rel=1e-6)
        errors = np.square(run.decode(mu).clip(0, 1) - x).mean(1)
        assert float(row["psnr"]) == pytest.approx((-10 * np.log10(errors)).mean(), abs=1e-3)
        assert float(row["sse"]) == pytest.approx(np.square(run.decode(mu) - x).sum(1).mean(), rel=1e-4)
        theirs = PCA(latent, svd_solver="full").fit(run.images["train"])
        residual = x - theirs.inverse_transform(theirs.transform(x))
        assert float(row["pca_sse"]) == pytest.approx(np.square(residual).sum(1).mean(), rel=1e-5)
        assert int(float(row["active_units"])) == (mu.var(0) > 0.01).sum()
        assert float(row["seconds"]) == pytest.approx(result["seconds"])
        assert (row["latent"], row["seed"]) == (str(latent), str(run.config.seed))


def over_seeds(reported: Reported, name: str) -> list[tuple[float, float]]:
    """Mean and the sample's standard deviation of two seeds, for 2 and for 3 latents."""
    values = [float(row[name]) for row in reported.rows]
    return [(statistics.mean(pair), abs(pair[0] - pair[1]) / math.sqrt(2)) for pair in (values[:2], values[2:])]


def check_table(reported: Reported) -> None:
    page = reported.page.partition("Runs that ended")[0]
    lines = [line.split("|")[1:-1] for line in page.splitlines() if line.startswith("|")]
    header, rows = [cell.strip() for cell in lines[0]], [[cell.strip() for cell in line] for line in lines[2:]]
    names = {"recon": "recon", "KL": "kl", "ELBO": "elbo", "squared error": "sse", "PSNR (dB)": "psnr"}
    for title, name in names.items():
        column = header.index(title)
        for row, (mean, sd) in zip(rows, over_seeds(reported, name), strict=True):
            shown = [float(word) for word in row[column].split(" ± ")]
            assert shown == [pytest.approx(mean, abs=6e-3), pytest.approx(sd, abs=6e-3)]
    assert [row[header.index("latent")] for row in rows] == ["2", "3"]


def check_plots(reported: Reported) -> None:
    latents = [2, 3]
    for title, name in (
        ("reconstruction against", "sse"),
        ("ELBO against", "elbo"),
        ("active units", "active_units"),
    ):
        axes = reported.drawn.plot(title)
        assert axes.get_xlabel() == "latent size"
        line, sd = first_line(axes)
        means = over_seeds(reported, name)
        np.testing.assert_allclose(line, [[size, mean] for size, (mean, _) in zip(latents, means, strict=True)])
        if any(sd for _, sd in means):
            np.testing.assert_allclose(sd, [sd for _, sd in means], atol=1e-9)
    pca = reported.drawn.plot("reconstruction against").containers[1]
    assert pca.get_label() == "PCA"
    np.testing.assert_allclose(pca.lines[0].get_xydata()[:, 1], [mean for mean, _ in over_seeds(reported, "pca_sse")])

    axes = reported.drawn.plot("rate and distortion")
    assert axes.get_xlabel().startswith("KL")
    assert axes.get_ylabel().startswith("reconstruction")
    line, sd = first_line(axes)
    rates, distortions = over_seeds(reported, "kl"), over_seeds(reported, "recon")
    np.testing.assert_allclose(line, [[kl, at] for (kl, _), (at, _) in zip(rates, distortions, strict=True)])
    np.testing.assert_allclose(sd, [sd for _, sd in distortions])
    assert [text.get_text() for text in axes.texts] == ["2", "3"]

    axes = reported.drawn.plot("objective by epoch")
    losses = [[record["val/loss"] for record in read_metrics(run.path)] for run in reported.jobs]
    for container, pair in zip(axes.containers, (losses[:2], losses[2:]), strict=True):
        points = container.lines[0].get_xydata()
        np.testing.assert_allclose(points, np.stack([[1, 2], np.mean(pair, axis=0)], axis=1))


def first_line(axes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points of the first line of a plot, and half the length of the bar at each."""
    line, _, bars = axes.containers[0].lines
    half = np.array([np.ptp(segment[:, 1]) / 2 for segment in bars[0].get_segments()]) if bars else np.zeros(0)
    return line.get_xydata(), half


def check_sweep_table(reported: Reported) -> None:
    for row, result in zip(reported.summary, reported.results, strict=True):
        assert row["status"].startswith("completed")  # these learn little, which it may say as well
        for name in ("train/loss", "val/loss", "val/recon", "val/kl", "val/elbo", "seconds"):
            assert float(row[name]) == pytest.approx(result[name], abs=6e-3), name
        for name in ("val/active_units", "best_epoch"):
            assert int(row[name]) == result[name]
    for run, result in zip(reported.jobs, reported.results, strict=True):
        best = min(read_metrics(run.path), key=lambda record: record["val/loss"])
        assert (result["best_epoch"], result["val/loss"]) == (best["epoch"], best["val/loss"])
