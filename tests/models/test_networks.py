import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.conv import Conv
from aectl.models.networks.layers import ACTIVATIONS, count_parameters
from aectl.models.networks.mlp import Mlp, MLPEncoder
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import Elbo
from aectl.models.table import build_model
from configs import train_config


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(2, 37), st.integers(2, 37), st.integers(1, 5), st.integers(0, 4))
def test_conv_restores_any_size(channels, height, width, latent, depth):
    config = Conv(hidden=[6], channels=[4, 5, 6, 7][: depth + 1])
    encoder, decoder = config.build((channels, height, width), 2 * latent, latent)
    x = torch.zeros(2, channels, height, width)
    features = encoder(x)
    assert features.shape == (2, 2 * latent)
    assert decoder(features[:, :latent]).shape == x.shape


def test_mlp_is_the_lectures_by_default():
    encoder = MLPEncoder((1, 28, 28), [300, 300], 2, "leaky_relu")
    linear = [layer for layer in encoder if isinstance(layer, torch.nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in linear] == [(784, 300), (300, 300), (300, 2)]
    assert count_parameters(encoder) == 784 * 300 + 300 + 300 * 300 + 300 + 300 * 2 + 2


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (9, 130)])
@pytest.mark.parametrize("norm", ["none", "group"])
@pytest.mark.parametrize("activation", ["relu", "gated"])
def test_conv_may_have_residual_blocks_and_normalisation_at_any_size(size, norm, activation):
    config = Conv(hidden=[5], channels=[4, 6, 12], blocks=2, norm=norm, activation=activation)
    encoder, decoder = config.build((3, *size), 4, 4)
    x = torch.rand(2, 3, *size)
    assert decoder(encoder(x)).shape == x.shape
    kinds = [type(module).__name__ for module in [*encoder.modules(), *decoder.modules()]]
    assert kinds.count("Residual") == 2 * 3 + 2 * 2
    assert kinds.count("GroupNorm") == (3 + 6 + 2 + 4 if norm == "group" else 0)


def test_with_an_output_convolution_the_decoder_is_that_of_the_keras_example():
    config = Conv(hidden=[16], channels=[32, 64], decoder_hidden=[], output_conv=True)
    _, decoder = config.build((1, 28, 28), 4, 2)
    layers = [layer for layer in decoder.modules() if hasattr(layer, "weight")]
    assert [tuple(layer.weight.shape) for layer in layers] == [
        (64 * 7 * 7, 2), (64, 64, 3, 3), (64, 32, 3, 3), (1, 32, 3, 3),
    ]  # fmt: skip
    assert decoder(torch.zeros(3, 2)).shape == (3, 1, 28, 28)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_every_activation_keeps_shapes_and_a_decoder_may_have_widths_of_its_own(name, activation):
    channels = [4, 6] if name == "conv" else None
    config = NETWORKS.read(
        {"name": name, "hidden": [9], "channels": channels, "decoder_hidden": [5, 7], "activation": activation}
    )
    encoder, decoder = config.build((2, 7, 9), 6, 3)
    assert encoder(torch.rand(4, 2, 7, 9)).shape == (4, 6)
    assert decoder(torch.rand(4, 3)).shape == (4, 2, 7, 9)
    first = next(layer for layer in decoder if isinstance(layer, torch.nn.Linear))
    assert (first.in_features, first.out_features) == (3, 10 if activation == "gated" else 5)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_glorots_weights_have_their_variance_and_no_bias(network):
    channels = [16, 64] if network == "conv" else None
    config = train_config(
        network=NETWORKS.read({"name": network, "hidden": [300], "channels": channels, "init": "glorot"})
    )
    layers = [layer for layer in build_model(config, (1, 28, 28)).modules() if hasattr(layer, "bias")]
    for layer in layers:
        inputs, outputs = torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)
        if layer.weight.numel() > 5000:
            assert layer.weight.var().item() == pytest.approx(2 / (inputs + outputs), rel=0.05)
        assert not layer.bias.any()


def test_glorots_mean_and_log_variance_are_layers_of_their_own():
    network = Mlp(hidden=[100], init="glorot")
    config = train_config(latent=600, model=Vae(posterior="logvar"), network=network)
    last = build_model(config, (1, 28, 28)).encoder[-1]
    for weight in last.weight.chunk(2):
        assert weight.var().item() == pytest.approx(2 / (100 + 600), rel=0.03)


def test_gated_layers_are_h_times_sigmoid_g():
    encoder = MLPEncoder((1, 1, 2), [3], 3, "gated")
    x = torch.rand(5, 1, 1, 2)
    h, g = encoder[1](x.flatten(1)).chunk(2, 1)
    torch.testing.assert_close(encoder(x), encoder[3](h * torch.sigmoid(g)))


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli", "gaussian"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_decoder_can_start_at_the_mean_image(network, likelihood):
    config = train_config(
        network=NETWORKS.read({"name": network, "hidden": [8], "channels": [4] if network == "conv" else None}),
        likelihood=LIKELIHOODS.read({"name": likelihood, "sigma": 1.0 if likelihood == "gaussian" else None}),
    )
    model = build_model(config, (2, 4, 4))
    for layer in [module for module in model.decoder.modules() if hasattr(module, "weight")][-1:]:
        torch.nn.init.zeros_(layer.weight)
    mean = torch.rand(2, 4, 4) * 0.8 + 0.1
    if network == "conv":
        mean = mean.mean((1, 2), keepdim=True).expand(2, 4, 4)
    model.start_at(mean)
    torch.testing.assert_close(model.decode(torch.randn(1, 2))[0], mean)


def test_the_log_variance_can_be_clipped():
    config = train_config(model=Vae(posterior="logvar", logvar_clip=[-1.0, 0.5]))
    model = build_model(config, (1, 4, 4))
    logvar = model.encode(torch.randn(64, 1, 4, 4) * 100).logvar
    assert (logvar.min().item(), logvar.max().item()) == (-1.0, 0.5)


def test_a_callers_widths_are_left_alone():
    hidden = [5, 7, 9]
    Mlp(hidden=hidden).build((1, 4, 4), 2, 2)
    assert hidden == [5, 7, 9]


@pytest.mark.parametrize("posterior", ["logvar", "std", "std_raw"])
def test_gradients_reach_every_weight_whatever_gives_the_std(posterior):
    model = build_model(train_config(model=Vae(posterior=posterior)), (1, 6, 5))
    x = torch.rand(8, 1, 6, 5)
    code = model.encode(x)
    assert code.mu.shape == code.logvar.shape == (8, 2)
    terms = model.terms(x, x, model.draw(len(x), torch.Generator().manual_seed(0)))
    Elbo()(terms, 1.0).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_extreme_stds_stay_finite():
    model = build_model(train_config(model=Vae(posterior="std")), (1, 6, 5))
    with torch.no_grad():
        model.encoder[-1].bias[2:] = -1e4  # softplus underflows to 0
    code = model.encode(torch.rand(3, 1, 6, 5))
    assert torch.isfinite(model.prior.kl(code)).all()


def test_samples_of_a_code_have_its_moments():
    model = build_model(train_config(model=Vae(posterior="logvar")), (1, 4, 4))
    code = model.encode(torch.rand(1, 1, 4, 4))
    wide = type(code)(code.mu.expand(50_000, -1), code.logvar.expand(50_000, -1))
    (z,) = wide.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(z.mean(0), code.mu[0], atol=0.02, rtol=0)
    torch.testing.assert_close(z.std(0), (0.5 * code.logvar[0]).exp(), atol=0.02, rtol=0)


def test_an_ae_has_a_point_for_a_code_and_no_kl():
    model = build_model(train_config(model=Ae()), (1, 4, 4))
    code = model.encode(torch.rand(3, 1, 4, 4))
    assert torch.equal(code.sample(torch.Generator())[0], code.mu)
    assert model.prior is None
    assert model.costs == ()
