import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aectl.losses import Bernoulli, Gaussian, Terms, kl_to_standard_normal, kl_weight_at, per_pixel_weight


def test_kl_equals_torch_distributions():
    rng = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(2, 100, 7, generator=rng, dtype=torch.float64) * 2
    ours = kl_to_standard_normal(mu, logvar)
    normal = torch.distributions.Normal
    theirs = torch.distributions.kl_divergence(
        normal(mu, (0.5 * logvar).exp()), normal(torch.zeros_like(mu), torch.ones_like(mu))
    )
    torch.testing.assert_close(ours, theirs)


@given(st.floats(-50, 50), st.floats(-20, 20))
def test_kl_is_never_negative_and_zero_only_at_the_prior(mu, logvar):
    kl = kl_to_standard_normal(torch.tensor(mu).double(), torch.tensor(logvar).double()).item()
    assert kl >= -1e-12
    if abs(mu) > 1e-3 or abs(logvar) > 1e-3:
        assert kl > 0


def test_bernoulli_is_the_cross_entropy_summed_over_pixels():
    rng = torch.Generator().manual_seed(1)
    x = torch.rand(5, 2, 3, 4, generator=rng, dtype=torch.float64)
    logits = torch.randn(5, 2, 3, 4, generator=rng, dtype=torch.float64)
    p = 1 / (1 + (-logits).exp())
    expected = -(x * p.log() + (1 - x) * (1 - p).log()).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli().neg_log_prob(x, logits), expected)


def test_bernoulli_sums_to_one_over_all_binary_images():
    logits = torch.tensor([[[[0.3, -2.0, 5.0]]]], dtype=torch.float64)
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3).double().view(-1, 1, 1, 3)
    total = (-Bernoulli().neg_log_prob(images, logits.expand_as(images))).exp().sum()
    assert total.item() == pytest.approx(1)


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_integrates_to_one(sigma):
    grid = torch.linspace(-40, 40, 200_001, dtype=torch.float64)
    density = (-Gaussian(sigma).neg_log_prob(grid.view(-1, 1, 1, 1), torch.full((grid.numel(), 1, 1, 1), 0.4))).exp()
    assert torch.trapezoid(density, grid).item() == pytest.approx(1, abs=1e-6)


def test_gaussian_keeps_its_constant():
    x, mean = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    expected = 0.5 * 4 + 4 * 0.5 * math.log(2 * math.pi)  # ½·SSE + D/2·log 2π at σ = 1
    torch.testing.assert_close(Gaussian(1.0).neg_log_prob(x, mean), torch.full((3,), expected))


def test_terms_average_over_images_and_sum_over_latents():
    terms = Terms(recon=torch.tensor([1.0, 3.0]), kl=torch.tensor([[1.0, 2.0], [3.0, 4.0]]), beta=0.5)
    loss, recon, kl = terms.means()
    assert (recon.item(), kl.item(), loss.item()) == (2.0, 5.0, 4.5)


def test_warm_up_is_linear_then_constant():
    weights = [kl_weight_at(step, 10, 4.0, 2.0) for step in range(25)]
    np.testing.assert_allclose(weights[:20], np.linspace(0, 4, 21)[:20])
    assert weights[20:] == [4.0] * 5
    assert kl_weight_at(0, 10, 4.0, 0) == 4.0


def test_the_lectures_weight():
    assert per_pixel_weight(3.92, (1, 28, 28)) == pytest.approx(0.005)
