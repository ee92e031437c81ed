"""A checkpoint is written while training goes on: from a copy, and what stops it is told."""

import threading

import pytest
import torch

from aectl.data.datasets.synthetic import Synthetic
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout
from aectl.runs.opening import Progress
from aectl.training import session
from configs import train_config


@pytest.fixture
def run(tmp_path):
    """A run before its first step."""
    digits = Synthetic(synthetic_size=80, synthetic_shape=[1, 8, 8], val_size=20, test_size=20)
    config = train_config(dataset=digits, network=Mlp(hidden=[8]), batch_size=16, device="cpu", threads=1)
    return session.prepare(config, tmp_path / "run", None)


def test_a_checkpoint_has_the_weights_of_its_moment(run, tmp_path, monkeypatch):
    """All weights and moments change before the first byte is written."""
    (tmp_path / "run").mkdir()
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    changed, save = threading.Event(), checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *given: (changed.wait(10), save(*given))[1])
    run.keeper.keep(Progress())
    with torch.no_grad():
        for tensor in (*run.model.parameters(), *(value for of in run.adam.state.values() for value in of.values())):
            tensor.add_(1)
    changed.set()
    run.keeper.settle()
    saved, _ = checkpoint.newest(layout.checkpoints_of(tmp_path / "run"))
    assert all(torch.equal(saved.model[name], value) for name, value in before.items())
    assert not any(value.any() for name, value in saved.trainer.items() if name.startswith("adam/"))


def test_a_disk_that_refuses_ends_the_run_at_the_next_look(run, monkeypatch):
    """Once, as the disk said it; until that is known there is nothing to wait for."""
    refused = threading.Event()

    def refuse(*_: object) -> None:
        refused.wait(10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", refuse)
    run.keeper.keep(Progress())
    run.keeper.look()
    refused.set()
    with pytest.raises(OSError, match="No space left"):
        run.keeper.settle()
    run.keeper.settle()
