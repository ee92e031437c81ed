"""When a run is said to explode; sentences of whole runs are in tests/measuring/test_advice.py."""

import logging
import math
import re

import pytest

from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.training import loop
from aectl.training.standing import Alarm, Bounds
from configs import train_config

BOUNDS = Bounds(mean_image=100.0, far=300.0, start=200.0, words="BCE 0.1000 per pixel")
CONFIG = train_config(lr=0.1)


def epochs(*recons: float | None) -> list[dict]:
    return [{"epoch": place, "val/loss": recon, "val/recon": recon} for place, recon in enumerate(recons, 1)]


@pytest.mark.parametrize(
    ("recons", "at"),
    [
        ((180, 120, 99, 101, 98), None),  # a wobble at the mean image
        ((290, 250, 150), None),  # worse than untrained, but not beyond what a first epoch may be
        ((1101, 1100), 1),
        ((301, 1000, 999), 2),  # far off and growing
        ((1099, 700, 301), None),  # far off and falling
        ((90, 60, 150), 3),  # worse than the mean image by more than it ever was better
        ((90, 60, 139), None),
        ((None, 90), 1),  # not a number
        ((math.nan,), 1),
        ((90, math.inf, math.inf), 2),  # once
    ],
)
def test_it_explodes_where_it_is_far_worse_than_the_mean_image_or_than_before(recons, at):
    alarm = Alarm()
    said = [alarm.look(record, BOUNDS, CONFIG) for record in epochs(*recons)]
    assert [place for place, words in enumerate(said, 1) if words] == ([] if at is None else [at])
    if at is not None:
        begins = rf"epoch {at}: it explodes: recon \S+ is worse than 100.00 \(BCE 0.1000 per pixel\), "
        assert re.match(begins, said[at - 1])
        assert "a smaller lr than 0.1" in said[at - 1]


def test_a_resumed_run_knows_how_good_it_was():
    alarm = Alarm()
    assert alarm.look({"epoch": 3, "val/loss": 1, "val/recon": 150.0}, BOUNDS, CONFIG) is None
    alarm = Alarm()
    alarm.hear(epochs(90, 60))
    assert alarm.look({"epoch": 3, "val/loss": 1, "val/recon": 150.0}, BOUNDS, CONFIG)


def test_a_sigma_that_begins_far_off_takes_epochs_to_fit_and_is_no_explosion():
    bounds = Bounds(mean_image=-40.0, far=300.0, start=2000.0, words="")
    alarm = Alarm()
    assert [alarm.look(record, bounds, CONFIG) for record in epochs(1600, 1000, 400, 40)] == [None] * 4
    assert alarm.look({"epoch": 5, "val/loss": 1, "val/recon": 400.0}, bounds, CONFIG)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": Ae()},
        {"model": Ae(), "likelihood": Gaussian(sigma=7.0, learn=True)},
        {"model": Vae(posterior="std"), "kl_weight": 50.0, "likelihood": Gaussian(sigma=0.01)},
        {"model": Ae(), "lr": 1e-7, "likelihood": Gaussian(sigma=1.0)},
        {"model": Ae(), "network": Unet(channels=[4], blocks=1), "noise": noises.Gaussian(sigma=0.5),
         "likelihood": Gaussian(sigma=1.0)},
        {"dataset": Synthetic(val_size=0, test_size=120, synthetic_size=240, synthetic_shape=[1, 10, 12])},
    ],
)  # fmt: skip
def test_a_first_epoch_raises_no_alarm(tmp_path, caplog, changes):
    caplog.set_level(logging.INFO)
    given = {
        "dataset": Synthetic(val_size=40, test_size=40, synthetic_size=240, synthetic_shape=[1, 10, 12]),
        "network": Mlp(hidden=[16]), "model": Vae(posterior="logvar"), "batch_size": 8, "epochs": 2,
        "device": "cpu", "threads": 1, "figures_every": 0,
    }  # fmt: skip
    loop.train(train_config(**{**given, **changes}), tmp_path)
    assert "explodes" not in caplog.text
