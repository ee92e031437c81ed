"""What TensorBoard finds in a run."""

import itertools
import re

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from aectl.runs.tracking import Tracker


@pytest.mark.parametrize("latent", [1, 2, 3, 5])
def test_the_projector_gets_the_three_columns_that_its_pca_needs(tmp_path, latent):
    codes = torch.randn(12, latent, generator=torch.Generator().manual_seed(0))
    tracker = Tracker(tmp_path)
    tracker.embedding(codes, torch.arange(12), torch.rand(12, 1, 4, 4), 7)
    tracker.close()
    (path,) = tmp_path.glob("*/codes/tensors.tsv")
    found = np.loadtxt(path, delimiter="\t")
    assert found.shape == (12, max(3, latent))
    np.testing.assert_allclose(found[:, :latent], codes.numpy(), rtol=1e-6)
    assert not found[:, latent:].any()
    assert "codes" in (tmp_path / "projector_config.pbtxt").read_text()


RECORD = {
    "train/loss": 5.0, "train/recon": 4.0, "train/kl": 1.0, "train/elbo": -5.0, "val/loss": 6.0, "val/recon": 4.5,
    "val/kl": 1.5, "val/elbo": -6.0, "val/active_units": 2, "val/mse": 0.1, "val/psnr": 10.0, "lr": 0.1,
    "kl_weight": 1.0, "images_per_s": 9.0,
}  # fmt: skip


def tell(folder, epochs, since=0, **changes) -> None:
    """An epoch is ten steps."""
    tracker = Tracker(folder, since)
    for epoch in epochs:
        tracker.epoch({"epoch": epoch, "step": 10 * epoch, **RECORD, **changes})
        tracker.latent_kl(torch.ones(2), 10 * epoch)
    tracker.picture("curves", np.zeros((4, 4, 3), np.uint8), 10 * epochs[-1])
    tracker.hparams({"latent": 2}, {"1 val loss": 6.0})
    tracker.close()


def seen(folder):
    """TensorBoard's runs by name."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    return runs


def shown(tags) -> list[str]:
    """In the order of TensorBoard's page, where a slash, an underscore and a digit come before everything else."""
    return sorted(tags, key=lambda tag: [(not re.match("[/_0-9]", char), char) for char in tag])


def test_training_and_validation_are_in_one_chart_and_curves_come_first(tmp_path):
    tell(tmp_path / "run", [1, 2])
    runs = seen(tmp_path)
    assert set(runs.Runs()) == {"run", "run/validation"}
    for name, own in (("loss", 6.0), ("recon", 4.5), ("kl", 1.5)):
        charts = {run: runs.Scalars(run, f"epoch/{name}") for run in ("run", "run/validation")}
        assert [point.step for point in charts["run"]] == [10, 20]
        assert [point.value for point in charts["run"]] == [RECORD[f"train/{name}"]] * 2
        assert [point.value for point in charts["run/validation"]] == [own, own]
    kinds = ("scalars", "images", "distributions")
    tags = {tag for run in runs.Runs().values() for kind in kinds for tag in run[kind]}
    assert not [tag for tag in tags if tag.startswith(("train/", "val/"))], "or there would be two charts"
    groups = [group for group, _ in itertools.groupby(shown(tags), key=lambda tag: tag.partition("/")[0])]
    assert groups == ["epoch", "epoch (best)", "latent_kl", "measures", "pictures", "training"]


def test_what_lies_behind_the_step_where_a_run_goes_on_is_forgotten_in_both_curves(tmp_path):
    tell(tmp_path, [1, 2, 3])
    tell(tmp_path, [2, 3, 4], since=10, **{"train/loss": 50.0, "val/loss": 60.0})
    runs = seen(tmp_path)
    for run, values in ((".", [5, 50, 50, 50]), ("validation", [6, 60, 60, 60])):
        points = runs.Scalars(run, "epoch/loss")
        assert [(point.step, point.value) for point in points] == list(zip((10, 20, 30, 40), values, strict=True))


def test_what_is_no_number_leaves_a_gap_and_what_has_no_validation_has_no_folder_of_it(tmp_path):
    tracker = Tracker(tmp_path, 0)
    tracker.epoch({"epoch": 1, "step": 10, "train/loss": 1.0, "lr": None})
    tracker.close()
    assert not (tmp_path / "validation").exists()
    assert set(seen(tmp_path).Runs()["."]["scalars"]) == {"epoch/loss"}


@pytest.mark.parametrize("group", ["measured by eval", "measured by denoise"])
def test_what_is_measured_once_comes_after_the_curves(tmp_path, group):
    tell(tmp_path / "run", [1, 2])
    tracker = Tracker(tmp_path / "other")
    tracker.scalars(group, {"mse": 0.5})
    tracker.close()
    runs = seen(tmp_path)
    (point,) = runs.Scalars("other", f"{group}/mse")
    assert point.value == 0.5
    tags = shown({tag for run in runs.Runs().values() for tag in run["scalars"]})
    assert tags.index(f"{group}/mse") > tags.index("epoch/loss")
