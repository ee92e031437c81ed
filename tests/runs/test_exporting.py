"""What is written of a network does what torch does, whatever the network is made of."""

import io
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from aectl.errors import ConfigError
from aectl.models import objectives, priors
from aectl.models.autoencoder import Ae, Vae
from aectl.models.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.models.parts import Part, tensors
from aectl.models.table import build_model
from aectl.runs import exporting
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

GAUSSIAN = Gaussian(sigma=1.0)
BOUNDED = Gaussian(sigma=0.1, learn=True, mean="sigmoid")
CB = ContinuousBernoulli()
BERNOULLI = Bernoulli()
LOGVAR, STD = Vae(posterior="logvar", logvar_clip=[-0.2, 0.1]), Vae(posterior="std")
IWAE = objectives.Iwae(samples=3)
MIXTURE, VAMP = priors.MixturePrior(components=4), priors.VampPrior(components=4)
SCALE = 3.0  # of weights beyond their first values, so that activations and clips have something to do

# Every kind of model, network, activation, likelihood and prior, in few exports.
CODED = {
    "ae-mlp-leaky": ((1, 6, 5), Ae(), Mlp(hidden=[9]), GAUSSIAN),
    "vae-mlp-gated-clip-vamp": ((1, 7, 6), LOGVAR, Mlp(hidden=[9, 8], activation="gated"), BERNOULLI, VAMP),
    "vae-std-conv-group-silu-colour": (
        (3, 9, 6), STD, Conv(channels=[4, 8], hidden=[6], norm="group", activation="silu"), BOUNDED, MIXTURE,
    ),
    "iwae-conv-output-gated": (
        (1, 8, 7), STD, Conv(channels=[4, 6], hidden=[5], output_conv=True, activation="gated", blocks=1), CB, IWAE,
    ),
}  # fmt: skip
# The rest of the activations, in networks beside each other.
REST = ("relu", "elu", "gelu", "tanh", "sigmoid")


def built(shape, *choices):
    """A model of these choices with strong weights, and 64 pictures."""
    torch.manual_seed(0)
    model = build_model(train_config(latent=3, **{choice.group: choice for choice in choices}), shape)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(SCALE if weight.dim() > 1 else 1)
    return model.eval().requires_grad_(False), torch.rand(64, *shape)


def through_file(part, given, kind="onnx"):
    """What the file of a part gives for a batch of 64, and of one picture or code."""
    file = exporting.FORMATS[kind]
    data = file.write(part, torch.zeros_like(given[:2]))
    function = file.read(data, part)
    return function(given), function(given[:1])


def assert_same(found, expected):
    both, alone = found
    for one, first, wanted in zip(both, alone, expected, strict=True):
        wanted = wanted.numpy()
        scale = max(1, np.abs(wanted).max())
        np.testing.assert_allclose(one.numpy(), wanted, rtol=0, atol=1e-5 * scale)
        np.testing.assert_allclose(first.numpy(), wanted[:1], rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", CODED)
def test_onnx_has_the_code_and_the_picture_of_every_kind_of_model(name):
    model, x = built(*CODED[name])
    code = model.encode(x)
    expected = [code.mu] if code.logvar is None else [code.mu, code.logvar]
    parts = model.parts()
    assert parts["encoder"].gives == (("z",) if code.logvar is None else ("mu", "logvar"))
    assert_same(through_file(parts["encoder"], x), expected)
    assert_same(through_file(parts["decoder"], code.mu), [model.decode(code.mu)])
    if model.logvar_clip is not None:
        assert [code.logvar.min(), code.logvar.max()] == pytest.approx([-0.2, 0.1])


def test_onnx_has_every_other_activation():
    torch.manual_seed(0)
    networks = [Mlp(hidden=[6], activation=name).build((1, 4, 4), 3, 3)[0] for name in REST]
    part = Part(
        lambda x: tuple(network(5 * x) for network in networks),
        "x",
        [f"from_{name}" for name in REST],
        all=nn.ModuleList(networks),
    )
    x = torch.randn(64, 1, 4, 4)
    assert_same(through_file(part.requires_grad_(False), x), part(x))


def unet(activation="relu", norm="none", channels=(4, 6), colours=1):
    network = Unet(channels=list(channels), blocks=1, activation=activation, norm=norm)
    model, x = built((colours, 8, 12), Ae(), network, GAUSSIAN)
    nn.init.normal_(model.network.leave.weight, std=0.05)  # which starts at zero
    return model, x


def assert_takes_any_multiple(function, model, colours):
    multiple = model.network.multiple
    for count, height, width in ((64, 8, 12), (1, 8, 12), (3, 2 * multiple, 7 * multiple), (1, 40, 16)):
        given = torch.rand(count, colours, height, width)
        np.testing.assert_allclose(function(given)[0], model.reconstruct(given), rtol=0, atol=1e-5)


def test_a_unet_in_onnx_takes_pictures_of_any_multiple_and_names_what_is_free():
    import onnxruntime

    model, x = unet(activation="gated", norm="group", channels=(2, 4), colours=3)
    data = exporting.FORMATS["onnx"].write(model.parts()["denoiser"], torch.zeros_like(x[:2]))
    assert_takes_any_multiple(exporting.FORMATS["onnx"].read(data, model.parts()["denoiser"]), model, 3)
    session = onnxruntime.InferenceSession(data)
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("x_noisy", ["N", 3, "2*H", "2*W"], "tensor(float)")
    assert (found.name, found.shape) == ("x_hat", ["N", 3, "2*H", "2*W"])


@pytest.mark.parametrize("channels", [(4, 6), (4,)])
def test_a_unet_in_pt2_takes_pictures_of_any_multiple(channels):
    model, x = unet(channels=channels)
    part = model.parts()["denoiser"]
    data = exporting.FORMATS["pt2"].write(part, torch.zeros_like(x[:2]))
    assert_takes_any_multiple(exporting.FORMATS["pt2"].read(data, part), model, 1)


@pytest.mark.parametrize("kind", ["pt2", "safetensors"])
def test_torchs_own_files_give_its_own_numbers(kind):
    model, x = built(*CODED["vae-std-conv-group-silu-colour"])
    code, part = model.encode(x), model.parts()["denoiser"]
    expected = model.decode(code.mu)
    fresh, _ = built(*CODED["vae-std-conv-group-silu-colour"])
    nn.init.zeros_(fresh.decoder[0].weight)
    data = exporting.FORMATS[kind].write(part, torch.zeros_like(x[:2]))
    (found,) = exporting.FORMATS[kind].read(data, fresh.parts()["denoiser"])(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_part_has_its_own_weights_and_no_others():
    model, x = built(*CODED["vae-mlp-gated-clip-vamp"])
    names = {name: set(part.state_dict()) for name, part in model.parts().items()}
    assert names["encoder"] == {name for name in model.state_dict() if name.startswith("encoder.")}
    assert names["decoder"] == {name for name in model.state_dict() if name.startswith("decoder.")}
    assert names["denoiser"] == names["encoder"] | names["decoder"]
    data = exporting.FORMATS["pt2"].write(model.parts()["encoder"], x[:2])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        stored = sum(file.file_size for file in archive.infolist() if "/weights/weight_" in file.filename)
    assert stored == sum(weight.nbytes for weight in model.encoder.parameters())


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_says_nothing_of_this_machine_and_nothing_is_said_on_the_way(kind, capfd, caplog):
    model, x = built((1, 4, 4), Ae(), Mlp(hidden=[4]), GAUSSIAN)
    caplog.set_level("INFO")  # as the command has it
    data = exporting.FORMATS[kind].write(model.parts()["encoder"], x[:2])
    assert b"aectl/models" not in data
    assert b".py" not in data.replace(b".pytorch", b"")
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_a_network_that_is_no_graph_is_refused_in_words():
    def branching(x):
        return x if x.sum().item() > 0 else -x

    for kind in ("onnx", "pt2"):
        with pytest.raises(ConfigError, match=f"format={kind}: the network cannot be written as a graph") as caught:
            exporting.FORMATS[kind].write(Part(branching, "x", ["z"]), torch.zeros(2, 3))
        assert "use format=safetensors" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_onnx_that_would_be_too_large_is_refused_before_the_work(monkeypatch):
    model, x = built(*CODED["ae-mlp-leaky"])
    monkeypatch.setattr(exporting, "MAX_ONNX", 1000)
    with pytest.raises(ConfigError, match="at most 2 GiB"):
        exporting.FORMATS["onnx"].write(model.parts()["encoder"], x[:2])


def test_a_part_gives_tensors_alone_or_several():
    one = torch.zeros(2)
    assert tensors(one) == (one,)
    assert tensors((one, one)) == (one, one)
