"""Advice that fits the run, and that helps when it is followed; what a run is compared with at its end."""

import functools
import json
import math
import operator
import re

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aectl.cli.composing import composed
from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.images import Images
from aectl.errors import DivergedError
from aectl.measuring import advice
from aectl.measuring.baselines import constant_recon
from aectl.measuring.scoring import batches
from aectl.models.autoencoder import WIDEST, Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli
from aectl.models.likelihoods.gaussian import Gaussian, Normal
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.models.objectives import Elbo
from aectl.models.table import build_model
from aectl.runs.config import TrainConfig
from aectl.runs.sweeps import table
from aectl.settings import common, typed
from aectl.training import loop, standing
from configs import train_config


def small(**changes) -> TrainConfig:
    given = {
        "dataset": Synthetic(val_size=40, test_size=40, synthetic_size=240, synthetic_shape=[1, 10, 12]),
        "network": Mlp(hidden=[16]), "model": Vae(posterior="logvar"), "batch_size": 8, "epochs": 3,
        "device": "cpu", "threads": 1, "figures_every": 0,
    }  # fmt: skip
    return train_config(**{**given, **changes})


def at(config: TrainConfig, key: str):
    for part in key.split("."):
        config = getattr(config, part)
    return config


@st.composite
def configurations(draw) -> TrainConfig:
    prior = draw(st.booleans())
    clip = draw(st.sampled_from([None, [-6.0, 2.0], [-30.0, 20.0]]))
    model = Vae(posterior=draw(st.sampled_from(["logvar", "std", "std_raw"])), logvar_clip=clip) if prior else Ae()
    gaussian = draw(st.booleans())
    sigma = draw(st.sampled_from([0.001, 0.05, 1.0])) if gaussian else None
    return small(
        model=model, lr=draw(st.sampled_from([1e-5, 1e-3, 0.05, 30.0])), epochs=draw(st.integers(1, 9)),
        kl_weight=draw(st.sampled_from([0.0, 1.0, 1e3])), kl_warmup=draw(st.sampled_from([0.0, 1.0])),
        objective=Elbo(free_bits=draw(st.sampled_from([0.0, 1000.0]))),
        grad_clip=draw(st.sampled_from([None, 0.5, 1.0, 5.0])),
        precision=draw(st.sampled_from(["float32", "bf16"])),
        likelihood=(
            Gaussian(sigma=sigma, learn=draw(st.booleans())) if gaussian else Bernoulli()
        ),
        noise=draw(st.sampled_from([noises.Clean(), noises.Gaussian(sigma=0.5, clip=False)])),
    )  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(configurations(), st.lists(st.none() | st.floats(0, 1e9), max_size=4), st.sampled_from([None, 0, 2]))
def test_no_advice_says_what_is_so_already_or_cannot_be(config, recon, active):
    for tips in (advice.against_divergence(config), advice.against_not_learning(config, recon, active)):
        assert 1 <= len(tips) <= 3
        assert len(set(tips)) == len(tips)
        assert not (any("smaller lr" in tip for tip in tips) and any("larger lr" in tip for tip in tips))
        for tip in tips:
            if match := re.fullmatch(r"(a smaller|a larger|more) ([a-z_.]+) than (.*)", tip):
                assert float(match[3]) == at(config, match[2]) > 0
                continue
            key, _, value = tip.partition("=")
            wanted = json.loads(value) if value[0] in "[0123456789tf" and value != "float32" else value
            assert at(config, key) != wanted
            plain = typed.to_dict(config)
            *groups, last = key.split(".")
            functools.reduce(operator.getitem, groups, plain)[last] = wanted
            common.check(typed.from_dict(TrainConfig, plain, ""))
            assert "kl" not in key or config.kl_weight > 0


def test_the_likeliest_cause_comes_first_and_lr_only_where_it_is_high_or_nothing_else_is_left():
    first = [advice.against_divergence(small(**one))[0] for one in (
        {"lr": 0.05}, {"kl_weight": 100.0}, {"model": Vae(posterior="std_raw")}, {},
        {"model": Vae(posterior="logvar", logvar_clip=[-30, 20])}, {"model": Vae(posterior="std")},
        {"model": Vae(posterior="logvar", logvar_clip=[-20, 5])}, {"model": Ae(), "grad_clip": 1.0})]  # fmt: skip
    assert first == ["a smaller lr than 0.05", "a smaller kl_weight than 100", "model.posterior=logvar",
                     "model.logvar_clip=[-20,5]", "model.logvar_clip=[-20,5]", "grad_clip=1",
                     "grad_clip=1", "a smaller lr than 0.001"]  # fmt: skip
    assert advice.words(["a", "b", "c"]) == "train it anew with a, b or c"
    assert advice.against_not_learning(small(kl_weight=9.0), [5, 6], 0) == [
        "a smaller kl_weight than 9",
        "kl_warmup=1",
    ]
    assert advice.against_not_learning(small(), [6, 5], 2) == ["more epochs than 3"]


def test_the_limits_that_are_advised_are_the_default():
    assert composed("train").model.logvar_clip == list(WIDEST)


def test_advice_that_is_followed_ends_the_divergence(tmp_path):
    with pytest.raises(DivergedError) as diverged:
        loop.train(small(lr=30.0), tmp_path / "1")
    assert "posterior=logvar" not in str(diverged.value)
    assert "train it anew with a smaller lr than 30, model.logvar_clip=[-20,5] or grad_clip=1" in str(diverged.value)
    assert "no epoch had ended, and the untrained start is in" in str(diverged.value)
    loop.train(small(lr=0.01, epochs=12), tmp_path / "2")
    assert json.loads((tmp_path / "2/result.json").read_text())["learnt"]
    assert math.isfinite(
        loop.train(small(lr=1.0, model=Vae(posterior="logvar", logvar_clip=[-20, 5])), tmp_path / "3")
    )


@pytest.mark.parametrize(
    ("changes", "learnt", "words"),
    [({"model": Ae(), "lr": 100.0}, False, "it diverged: recon came to .*a smaller lr than 100"),
     ({"lr": 1e-5, "epochs": 1}, False, "it has not learnt: .*; train it anew with more epochs than 1"),
     ({"kl_weight": 1e4, "lr": 0.01}, False, "it has not learnt: .*a smaller kl_weight than 10000"),
     ({"network": Unet(channels=[4], blocks=1), "noise": noises.Gaussian(sigma=0.5),
       "model": Ae(), "likelihood": Gaussian(sigma=1.0), "epochs": 1, "lr": 1e-6},
      False, "it has not learnt: .*; train it anew with more epochs than 1"),
     ({"model": Ae(), "lr": 0.01, "epochs": 12}, True, None)],
)  # fmt: skip
def test_a_run_that_is_no_better_than_the_mean_image_says_so(tmp_path, caplog, changes, learnt, words):
    caplog.set_level("INFO")
    loop.train(small(**changes), tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["learnt"] == learnt == (result["val/recon"] < result["mean_image_recon"])
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("it ")]
    assert len(said) == (not learnt)
    exploded = "it diverged" in caplog.text
    assert len(re.findall(r"epoch 1: it explodes: recon .*a smaller lr than 100", caplog.text)) == exploded
    assert caplog.text.count("explodes") == exploded, "which is said once, at the epoch that shows it"
    assert words is None or re.match(words, said[0])
    _, ((_, status, *_),) = table([{"job": "0", "folder": tmp_path, "overrides": [], **result}])
    assert status == ("completed" if learnt else "completed, not learnt")


def test_a_run_that_diverges_after_its_best_epoch_says_so(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    real = loop._note_best

    def worse(*args):
        record = args[-1]
        if record["epoch"] == 12:
            record["val/recon"] = record["val/loss"] = 1e9
        return real(*args)

    monkeypatch.setattr(loop, "_note_best", worse)
    loop.train(small(lr=0.01, epochs=12), tmp_path)
    assert re.search(r"it diverged after its best epoch, \d+: recon came to 1e\+09, worse than", caplog.text)
    assert re.findall(r"epoch (\d+): it explodes: recon (\S+) is worse than", caplog.text) == [("12", "1e+09")]


def test_where_no_validation_loss_is_finite_the_run_diverged(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "_note_best", lambda *args: False)
    with pytest.raises(DivergedError, match="the validation loss is not finite in any epoch; train it anew with"):
        loop.train(small(epochs=1), tmp_path)


def test_what_constant_reconstructions_cost():
    pixels = torch.randint(0, 256, (30, 2, 3, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images, x = Images(pixels, None), pixels.double().numpy().reshape(30, -1) / 255
    mean = x.mean(0)
    flat = np.broadcast_to(mean, x.shape)
    target = images.mean()
    grey = -(x * np.log(mean) + (1 - x) * np.log1p(-mean)).sum(1).mean()
    assert constant_recon(Bernoulli(), Bernoulli().inverse_mean(target), images) == pytest.approx(grey, rel=1e-5)
    for fixed in (Normal(0.3), Normal(0.3, bounded=True)):
        expected = -stats.norm(mean, 0.3).logpdf(x).sum(1).mean()
        assert constant_recon(fixed, fixed.inverse_mean(target), images) == pytest.approx(expected, rel=1e-5)
    best = math.sqrt(sklearn.metrics.mean_squared_error(x, flat))
    expected = -stats.norm(mean, best).logpdf(x).sum(1).mean()
    learned = Normal(7.0, learn=True)
    assert constant_recon(learned, learned.inverse_mean(target), images) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("network", [Mlp(hidden=[4]), Unet(channels=[4, 8], blocks=1)], ids=["mlp", "unet"])
def test_recon_before_the_first_step_does_not_go_by_a_sigma_that_was_learnt(network):
    """An autoencoder then decodes zeros, a u-net its noisy input; σ is the root of their mean squared error."""
    pixels = torch.randint(0, 256, (25, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images, noise = Images(pixels, None), noises.Gaussian(sigma=0.5, clip=False)
    likelihood = Gaussian(sigma=0.2, learn=True)
    config = train_config(network=network, model=Ae(), likelihood=likelihood, noise=noise, seed=3)
    model = build_model(config, (1, 8, 8))
    ((x, x_noisy, _),) = batches(images, noise, torch.device("cpu"), 3)
    error = (x if isinstance(network, Mlp) else x - x_noisy).double().numpy()
    expected = -stats.norm(0, math.sqrt((error**2).mean())).logpdf(error).sum() / 25
    mean_image = constant_recon(model.likelihood, images.mean(), images)
    at_first = -stats.norm(0, 0.2).logpdf(error).sum() / 25
    for log_sigma in (math.log(0.2), -4.0):
        with torch.no_grad():
            model.likelihood.log_sigma.fill_(log_sigma)
        found = standing.bounds_of(model, config, images, images, torch.device("cpu"))
        assert found.mean_image == pytest.approx(mean_image, rel=1e-5)
        assert found.far == pytest.approx(mean_image + 2 * max(0, expected - mean_image), rel=1e-5)
        assert found.start == pytest.approx(at_first, rel=1e-5)


def test_a_kl_that_costs_nothing_is_not_blamed():
    settings = {"model": Vae(posterior="logvar"), "kl_weight": 10.0, "lr": 1e-6}
    assert "a smaller kl_weight than 10" in advice.against_not_learning(train_config(**settings), [5, 4], 0)
    free = advice.against_not_learning(train_config(**settings, objective=Elbo(free_bits=1000.0)), [5, 4], 0)
    assert free == ["more epochs than 20", "a larger lr than 1e-06"]
