import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl.config import ModelConfig, NetworkConfig, TrainConfig
from aectl.models import build_model
from aectl.networks import MLPEncoder, build_network, count_parameters


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 37), st.integers(2, 37), st.integers(1, 5), st.integers(0, 4))
def test_conv_restores_any_size(channels, height, width, latent, depth):
    config = NetworkConfig("conv", hidden=[6], channels=[4, 5, 6, 7][: depth + 1])
    encoder, decoder = build_network(config, (channels, height, width), 2 * latent, latent)
    x = torch.zeros(2, channels, height, width)
    features = encoder(x)
    assert features.shape == (2, 2 * latent)
    assert decoder(features[:, :latent]).shape == x.shape


def test_mlp_is_the_lectures_by_default():
    encoder = MLPEncoder((1, 28, 28), [300, 300], 2)
    linear = [layer for layer in encoder if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(784, 300), (300, 300), (300, 2)]
    assert count_parameters(encoder) == 784 * 300 + 300 + 300 * 300 + 300 + 300 * 2 + 2


def test_a_callers_widths_are_left_alone():
    hidden = [5, 7, 9]
    build_network(NetworkConfig("mlp", hidden=hidden), (1, 4, 4), 2, 2)
    assert hidden == [5, 7, 9]


@pytest.mark.parametrize("posterior", ["logvar", "std"])
def test_gradients_reach_every_weight_and_both_posteriors_give_a_positive_std(posterior):
    model = build_model(TrainConfig(model=ModelConfig("vae", posterior)), (1, 6, 5))
    x = torch.rand(8, 1, 6, 5)
    code = model.encode(x)
    assert code.mu.shape == code.logvar.shape == (8, 2)
    terms, _ = model.terms(x, x, 1.0, torch.Generator().manual_seed(0))
    terms.means()[0].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_extreme_stds_stay_finite():
    model = build_model(TrainConfig(model=ModelConfig("vae", "std")), (1, 6, 5))
    with torch.no_grad():
        model.encoder[-1].bias[2:] = -1e4  # softplus underflows to 0
    code = model.encode(torch.rand(3, 1, 6, 5))
    assert torch.isfinite(code.kl()).all()


def test_samples_of_a_code_have_its_moments():
    model = build_model(TrainConfig(model=ModelConfig("vae", "logvar")), (1, 4, 4))
    code = model.encode(torch.rand(1, 1, 4, 4))
    wide = type(code)(code.mu.expand(50_000, -1), code.logvar.expand(50_000, -1))
    z = wide.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), code.mu[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), (0.5 * code.logvar[0]).exp(), atol=0.02, rtol=0)


def test_an_ae_has_a_point_for_a_code_and_no_kl():
    model = build_model(TrainConfig(model=ModelConfig("ae")), (1, 4, 4))
    code = model.encode(torch.rand(3, 1, 4, 4))
    assert torch.equal(code.sample(torch.Generator()), code.mu)
    assert code.kl().abs().sum() == 0
