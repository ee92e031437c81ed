"""What torchrun says in the environment, and what anybody else may say there."""

import pytest

from aectl import torchrun
from aectl.cli import conduct
from aectl.errors import ConfigError

GOOD = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "29500"}
WRONG = [
    {"WORLD_SIZE": "x"}, {"WORLD_SIZE": "0"}, {"WORLD_SIZE": "-1"}, {"WORLD_SIZE": "1.5"}, {"WORLD_SIZE": "1_0"},
    {"WORLD_SIZE": " 2"}, {"WORLD_SIZE": "9" * 40}, {"WORLD_SIZE": "٣"}, {"RANK": ""}, {"RANK": "4"}, {"RANK": "x"},
    {"RANK": "-1"}, {"LOCAL_RANK": ""}, {"LOCAL_RANK": "x"}, {"MASTER_ADDR": ""}, {"MASTER_PORT": ""},
    {"MASTER_PORT": "0"}, {"MASTER_PORT": "65536"}, {"MASTER_PORT": "http"},
]  # fmt: skip


@pytest.fixture
def environment(monkeypatch):
    def put(**values: str) -> None:
        for name in GOOD:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def test_what_torchrun_says_is_taken(environment):
    environment(**GOOD)
    assert torchrun.started() == torchrun.Started(3, 4, 1)
    assert conduct.follows()


@pytest.mark.parametrize("values", [{}, {"WORLD_SIZE": ""}, {"WORLD_SIZE": "1"}, {"RANK": "2"}, {"RANK": "x"}])
def test_one_process_needs_nothing_and_speaks_for_itself(environment, values):
    environment(**values)
    assert torchrun.started() == torchrun.Started()
    assert not conduct.follows()


@pytest.mark.parametrize("values", WRONG)
def test_half_of_it_is_refused_in_one_line_by_every_process(environment, aectl, values):
    environment(**{**GOOD, **values})
    refused = aectl("train")
    assert refused.status == ConfigError.exit_code
    assert refused.err.count("\n") == 1
    assert next(iter(values)) in refused.err
    assert "torchrun -m aectl train" in refused.err


def test_others_that_cannot_be_met_are_an_error_of_the_environment(environment, monkeypatch):
    import torch

    from aectl.training import processes

    def refused(backend: str) -> None:
        raise RuntimeError("The server socket has failed to listen on any local network address.")

    environment(**GOOD)
    monkeypatch.setattr(torch.distributed, "init_process_group", refused)
    with pytest.raises(ConfigError, match="MASTER_ADDR and MASTER_PORT: no other process"):
        processes.join("text")
