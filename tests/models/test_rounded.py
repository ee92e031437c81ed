"""A codec's rate and loss are what the papers define, and it trains."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic

from aectl.data.datasets.synthetic import Synthetic
from aectl.errors import ConfigError
from aectl.models.autoencoder import Ae
from aectl.models.factorised import Factorised
from aectl.models.likelihoods.bernoulli import Bernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.strided import Strided
from aectl.models.objectives import Elbo, Rate
from aectl.models.priors import MixturePrior
from aectl.models.rounded import RoundedChoice
from aectl.models.table import build_model
from aectl.runs import opening
from aectl.training import loop
from configs import train_config

CHOICES = {
    "model": RoundedChoice(), "network": Strided(patch=4, channels=[8, 6], blocks=1), "objective": Rate(weight=0.02),
    "likelihood": Gaussian(sigma=1.0), "latent": 5,
}  # fmt: skip
CPU = torch.device("cpu")


def built(shape=(3, 16, 24), **changes):
    torch.manual_seed(0)
    return build_model(train_config(**{**CHOICES, **changes}), shape)


def test_the_prior_is_scipys_logistics_and_sums_to_one():
    torch.manual_seed(0)
    prior = Factorised(2)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    means, log_scales, logits = (30.0 * one.detach().double().numpy() for one in prior.parameters())
    weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    k = np.arange(-60, 61)
    upper, lower = (
        (weights[:, None] * logistic.cdf(k[:, None] + half, means[:, None], np.exp(log_scales)[:, None])).sum(-1)
        for half in (0.5, -0.5)
    )
    ours = (
        prior.neg_log_prob(torch.from_numpy(np.stack([k, k])).float()[None, :, None])[0, :, 0]
        .detach()
        .double()
        .numpy()
    )
    np.testing.assert_allclose(np.exp(-ours), upper - lower, rtol=2e-3, atol=1e-7)
    assert np.exp(-ours).sum(-1) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(prior.cumulative(k + 0.5), upper, rtol=1e-9)


def test_the_loss_is_lambda_times_the_error_and_the_bits_per_pixel():
    """λ·255²·MSE + bits per pixel, times H·W·ln 2, but for a constant: differences of two pictures tell."""
    model, objective = built().eval(), CHOICES["objective"]
    losses, by_hand = [], []
    for seed in (0, 1):
        x = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            terms = model.terms(x, x, None)
            losses.append(objective(terms, 1.0).item())
            mse = (model.reconstruct(x) - x).square().mean().item()
            code = model.analysed(x).round()
            bits = model.density.neg_log_prob(code).sum().item() / math.log(2) / 2
        pixels = 16 * 24
        by_hand.append(pixels * math.log(2) * (0.02 * 255**2 * mse + bits / pixels))
    assert losses[0] - losses[1] == pytest.approx(by_hand[0] - by_hand[1], rel=1e-3)


def test_training_sees_noise_of_half_a_step_and_evaluation_whole_numbers():
    model = built()
    noise = model.train().draw(7, torch.Generator().manual_seed(0))
    assert noise.shape == (1, 7, 5, 2, 3)
    assert -0.5 <= noise.min() < -0.45
    assert 0.45 < noise.max() <= 0.5
    assert model.eval().draw(7, torch.Generator()) is None
    x = torch.rand(2, 3, 16, 24)
    assert model.terms(x, x, None).costs["rate"].shape == (2, 5)


def test_every_weight_learns():
    model = built().train()
    x = torch.rand(4, 3, 16, 24)
    for _ in range(2):  # the last layers of residual blocks start at zero, and let nothing through at first
        terms = model.terms(x, x, model.draw(4, torch.Generator().manual_seed(0)))
        model.zero_grad()
        CHOICES["objective"](terms, 1.0).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(1e-7 * parameter.grad)
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("size", [(1, 1), (9, 16), (33, 20)])
def test_pictures_of_any_size_go_through(size):
    model = built().eval()
    assert model.reconstruct(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_it_begins_as_a_codec_that_gives_pictures_back():
    """The DCT of blocks, rounded: before the first step the error is about that of rounding."""
    weight = 0.02
    network = Strided(patch=8, channels=[192], blocks=1)
    model = built((3, 32, 32), network=network, latent=192, objective=Rate(weight=weight)).eval()
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    error = (model.reconstruct(x) - x).square().mean().item()
    assert error == pytest.approx(Rate(weight=weight).sigma(3) ** 2, rel=0.1)


REFUSED = {
    "network": {"network": Mlp(hidden=[4])}, "objective": {"objective": Elbo()},
    "likelihood": {"likelihood": Bernoulli()}, "likelihood.sigma": {"likelihood": Gaussian(sigma=0.5)},
    "likelihood.learn": {"likelihood": Gaussian(sigma=1.0, learn=True)},
    "prior": {"prior": MixturePrior(components=3)}, "network.name": {"model": Ae(), "objective": Elbo()},
    "objective.name": {"model": Ae(), "network": Mlp(hidden=[4])},
}  # fmt: skip


@pytest.mark.parametrize("says", REFUSED)
def test_parts_that_do_not_go_together_are_refused_by_name(says):
    with pytest.raises(ConfigError, match=says):
        train_config(**{**CHOICES, **REFUSED[says]}).check()


def test_it_trains_and_is_opened_again(tmp_path):
    data = Synthetic(val_size=20, test_size=20, synthetic_size=120, synthetic_shape=[1, 16, 16])
    config = train_config(
        **CHOICES, dataset=data, epochs=3, figures_every=0, threads=1, device="cpu", batch_size=20, lr=1e-3
    )
    loop.train(config, tmp_path / "run")
    run = opening.open_run(str(tmp_path / "run"), "last", CPU)
    metrics = [line for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines() if "val/rate" in line]
    assert len(metrics) == 3
    assert run.model.rounds
