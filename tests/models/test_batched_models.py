import pytest
import torch

from aectl.models.autoencoder import Ae, Vae
from aectl.models.batched import BatchedLinear, BatchedTerms, _Dense, batched, can_be_batched
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.models.objectives import Elbo, Iwae
from aectl.models.priors import MixturePrior
from aectl.models.table import build_model
from configs import train_config

SHAPE = (1, 4, 5)
N = 6  # images of each model


def models(**changes):
    config = train_config(**{"network": Mlp(hidden=[7, 5]), **changes})
    torch.manual_seed(0)
    return config, [build_model(config, SHAPE) for _ in range(3)]


@pytest.mark.parametrize(
    "changes",
    [{"model": Ae()}, {"model": Vae(posterior="logvar")}, {"model": Vae(posterior="std", logvar_clip=[-6, 2])},
     {"model": Vae(posterior="logvar"), "likelihood": Gaussian(sigma=0.5, mean="identity")},
     {"model": Vae(posterior="logvar"), "network": Mlp(hidden=[7], activation="gated")}],
)  # fmt: skip
def test_loss_and_gradients_are_those_of_each_model_by_itself(changes):
    config, each = models(**changes)
    x, eps, betas = torch.rand(3 * N, *SHAPE), torch.randn(1, 3 * N, config.latent), [0.5, 1.0, 4.0]
    eps = None if config.model.name == "ae" else eps
    expected = []
    for n, model in enumerate(each):
        rows = slice(n * N, (n + 1) * N)
        loss = config.objective(model(x[rows], x[rows], None if eps is None else eps[:, rows]), betas[n])
        loss.backward()
        expected.append((loss.detach(), {name: one.grad for name, one in model.named_parameters()}))

    together = batched(each)
    terms = BatchedTerms(**vars(together(x, x, eps)), models=3)
    losses = config.objective(terms, torch.tensor(betas))
    losses.sum().backward()
    assert losses.shape == (3,)
    for n, (loss, gradients) in enumerate(expected):
        torch.testing.assert_close(losses[n].detach(), loss)
        for name, stack in together.named_parameters():
            torch.testing.assert_close(stack.grad[n], gradients[name], msg=lambda text, name=name: f"{name}: {text}")


def test_the_derivative_of_dense_layers_side_by_side_is_that_of_differences():
    torch.manual_seed(0)
    shapes = ((2, 3, 4), (2, 5, 4), (2, 5))
    given = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(_Dense.apply, given)
    assert torch.autograd.gradcheck(_Dense.apply, (given[0].detach(), *given[1:]))


def test_what_moves_the_stack_moves_the_models_and_the_other_way_round():
    _, each = models()
    together = batched(each)
    before = each[1].encoder[1].weight.detach().clone()
    with torch.no_grad():
        together.encoder[1].weight[1] += 1
        each[2].encoder[1].bias.fill_(3)
    torch.testing.assert_close(each[1].encoder[1].weight.detach(), before + 1)
    assert together.encoder[1].bias[2].eq(3).all()
    assert not together.encoder[1].bias[1].eq(3).any()


def test_each_row_has_the_weights_of_its_model():
    layers = [torch.nn.Linear(2, 1) for _ in range(2)]
    for factor, layer in zip((1.0, 10.0), layers, strict=True):
        torch.nn.init.constant_(layer.weight, factor)
        torch.nn.init.constant_(layer.bias, -factor)
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 2.0]])
    assert BatchedLinear(layers)(rows).flatten().tolist() == [0, 1, 0, 10]


@pytest.mark.parametrize(
    ("changes", "can"),
    [({}, True), ({"model": Ae()}, True), ({"network": Conv(channels=[4], hidden=[8])}, False),
     ({"objective": Iwae(samples=2)}, False), ({"objective": Elbo(free_bits=0.1)}, False),
     ({"prior": MixturePrior(components=3)}, False),
     ({"likelihood": Gaussian(sigma=0.5, mean="identity", learn=True)}, False)],
)  # fmt: skip
def test_which_models_can_be_batched(changes, can):
    config = train_config(**{"network": Mlp(hidden=[7]), "model": Vae(posterior="logvar"), **changes})
    assert can_be_batched(build_model(config, (1, 8, 8)), config.objective) is can
