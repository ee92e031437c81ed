import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl.data import noise as noises
from aectl.data.datasets.digits import Digits
from aectl.machine.devices import choose
from aectl.models.autoencoder import Ae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.unet import UNet, Unet
from aectl.runs.opening import open_run
from aectl.training import loop
from configs import train_config


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(1, 33), st.integers(1, 33), st.integers(1, 4), st.integers(1, 2))
def test_any_size_goes_in_and_comes_out_unchanged_before_training(colours, height, width, levels, blocks):
    network = UNet(colours, [4, 6, 8, 10][:levels], blocks, "relu")
    x = torch.rand(2, colours, height, width)
    assert torch.equal(network(x), x)
    assert network.features(x).shape == (2, [4, 6, 8, 10][levels - 1])


def test_the_middle_of_a_picture_does_not_feel_what_is_far_away():
    """Fully convolutional: a picture can be denoised in tiles that overlap by the reach of the network."""
    network = UNet(1, [4, 6], 1, "relu")
    torch.nn.init.normal_(network.leave.weight)
    x = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(network(x)[..., 16:32, 16:32], network(x[..., :48, :48])[..., 16:32, 16:32])


@pytest.mark.parametrize(("widths", "blocks"), [([3], 1), ([3, 4], 2), ([3, 4, 5], 1), ([3, 4, 5, 6], 1)])
def test_the_reach_is_how_far_a_pixel_is_felt(widths, blocks):
    network = UNet(1, widths, blocks, "tanh").double()  # smooth, so that nothing is switched off
    torch.nn.init.normal_(network.leave.weight)
    side = 2 * network.reach + 64
    x = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    felt = 0
    for place in range(side // 2, side // 2 + network.multiple):
        (gradient,) = torch.autograd.grad(network(x)[0, 0, place, place], x)
        rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
        felt = max(felt, int((rows - place).abs().max()))
    assert felt <= network.reach <= felt + network.multiple + 2


def test_a_unet_learns_to_denoise_and_can_be_opened(tmp_path):
    config = train_config(
        dataset=Digits(val_size=100, test_size=100), noise=noises.Gaussian(sigma=0.3),
        network=Unet(channels=[8, 16], blocks=1),
        model=Ae(), likelihood=Gaussian(sigma=1.0), epochs=4, lr=3e-3,
    )  # fmt: skip
    loop.train(config, tmp_path)
    run = open_run(str(tmp_path), "best", choose("cpu"))
    assert run.model.latent is None
    x = torch.rand(3, 1, 8, 8)
    assert run.model.reconstruct(x).shape == x.shape
    assert run.model.codes(x).shape == (3, 16)
    assert (tmp_path / "figures/reconstructions.png").is_file()
    assert not (tmp_path / "figures/prior_samples.png").exists()


@pytest.mark.parametrize(
    ("overrides", "key"),
    [(["model=vae"], "network.name"), (["model=dae", "likelihood=bernoulli"], "network.name"),
     (["model=dae", "network.hidden=[3]"], "network.hidden"),
     (["model=dae", "network.output_bias=data_mean"], "network.output_bias")],
)  # fmt: skip
def test_what_a_unet_cannot_be_is_refused(aectl, overrides, key):
    refused = aectl("train", "network=unet", *overrides)
    assert refused.status == 2
    assert key in refused.err
