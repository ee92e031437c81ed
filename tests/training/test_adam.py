import pytest
import torch
from torch import nn

from aectl.runs.schema import AdamConfig
from aectl.training.adam import Adam

SETTINGS = AdamConfig(beta1=0.8, beta2=0.99, eps=1e-6, weight_decay=0.1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))


def set_gradients(model: nn.Module, step: int) -> None:
    rng = torch.Generator().manual_seed(step)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=rng)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_it_moves_as_the_optimizer_of_pytorch(weight_decay):
    ours, theirs = network(), network()
    settings = AdamConfig(0.8, 0.99, 1e-6, weight_decay)
    adam = Adam(dict(ours.named_parameters()), settings)
    groups = [
        {"params": [one for one in theirs.parameters() if one.dim() > 1], "weight_decay": weight_decay},
        {"params": [one for one in theirs.parameters() if one.dim() == 1], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(groups, lr=1.0, betas=(0.8, 0.99), eps=1e-6)
    for step in range(5):
        lr = 0.1 / (step + 1)
        for group in reference.param_groups:
            group["lr"] = lr
        for model in (ours, theirs):
            set_gradients(model, step)
        adam.step(lr)
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    for (name, state), parameter in zip(adam.state.items(), theirs.parameters(), strict=True):
        for key, value in state.items():
            torch.testing.assert_close(value, reference.state[parameter][key], msg=f"{name} {key}")


def test_its_state_is_changed_in_place():
    """A recorded step reads and writes where the state was when it was recorded."""
    model = network()
    adam = Adam(dict(model.named_parameters()), SETTINGS)
    before = [value.data_ptr() for state in adam.state.values() for value in state.values()]
    set_gradients(model, 0)
    adam.step(0.1)
    assert [value.data_ptr() for state in adam.state.values() for value in state.values()] == before
    assert all(state["step"] == 1 for state in adam.state.values())


def test_what_is_not_finite_moves_nothing():
    model = network()
    adam = Adam(dict(model.named_parameters()), SETTINGS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    set_gradients(model, 0)
    adam.step(0.1, found_inf=torch.ones(()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(not value.any() for state in adam.state.values() for value in state.values())
    adam.step(0.1, found_inf=torch.zeros(()))
    assert not any(torch.equal(value, before[name]) for name, value in model.state_dict().items())
