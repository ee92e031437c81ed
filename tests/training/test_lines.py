"""What stands beside the bar and in an epoch's line."""

import io
import os

import pytest
import torch

from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli
from aectl.models.likelihoods.gaussian import Normal
from aectl.models.networks.mlp import Mlp
from aectl.models.table import build_model
from aectl.training import bar, lines
from configs import train_config

PIXELS = 120


def model_of(kind, likelihood):
    model = build_model(train_config(network=Mlp(hidden=[4]), model=kind), (1, 10, 12))
    model.likelihood = likelihood
    return model


def test_the_bar_shows_the_error_that_the_nats_come_from_and_the_psnr_of_the_last_epoch():
    x, x_hat = torch.rand(8, 1, 10, 12), torch.rand(8, 1, 10, 12)
    recon = Normal(0.5).neg_log_prob(x, x_hat).mean().item()
    mse = (x - x_hat).square().mean().item()
    values = {"loss": recon, "recon": recon}
    assert lines.beside_bar(values, model_of(Ae(), Normal(0.5)), PIXELS, {}) == f"mse {mse:.4f}, loss {recon:.2f}"
    values = {"loss": 150.0, "recon": 140.0, "kl": 10.0}
    found = lines.beside_bar(values, model_of(Vae(posterior="std"), Bernoulli()), PIXELS, {"val/psnr": 16.834})
    assert found == "loss 150.00, recon 140.00, kl 10.00, val psnr 16.83 dB"


def test_lines_of_different_epochs_stand_below_each_other_and_stay_short_where_a_run_explodes():
    model = model_of(Vae(posterior="std"), Bernoulli())

    def line(epoch: int, nats: float) -> str:
        figures = {f"{part}/{name}": nats for part in ("train", "val") for name in ("loss", "recon", "kl")}
        return lines.of_epoch({"epoch": epoch, **figures, "val/psnr": 9.5, "images_per_s": 15_000.0}, 20, model)

    assert line(3, 150.126) == (
        "epoch  3/20  train loss 150.13 recon 150.13 kl 150.13  val loss 150.13 recon 150.13 kl 150.13 psnr  9.50 dB"
        "  15,000 images/s"
    )
    assert len({len(line(epoch, nats)) for epoch, nats in ((1, 999.99), (9, 0.5), (20, -12.0))}) == 1
    assert "recon 1.23e+30 " in line(3, 1.234e30)
    assert "recon    nan " in line(3, float("nan"))


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2


@pytest.mark.parametrize("columns", [57, 81])
def test_a_narrow_window_has_room_for_the_figures(columns, monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("os.get_terminal_size", lambda fd: os.terminal_size((columns, 24)))
    with bar.Bar(100, 0, shown=True) as shown:
        shown.show(30, "epoch 1/3", "mse 0.0468, loss 738.81")
        shown.refresh()
        last = screen.getvalue().rpartition("\r")[2]
    assert last.startswith("epoch 1/3  30%|")
    assert last.endswith(", mse 0.0468, loss 738.81")
    assert len(last) < columns


def test_nobody_watches_the_bar_of_another_process(monkeypatch):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    with bar.Bar(100, 0, shown=False) as shown:
        shown.show(30, "epoch 1/3", "mse 0.0468")
    assert screen.getvalue() == ""
