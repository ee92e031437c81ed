"""Weights that are finite and yet make no picture: every command that writes what a network gives says so."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from aectl.errors import CheckpointError
from aectl.runs import checkpoint, sanity

pytestmark = pytest.mark.usefixtures("without_pictures")


def spoilt(run: Path, path: Path, change) -> Path:
    """A copy of a checkpoint whose weights a function changes in place."""
    (path / "checkpoints").mkdir(parents=True)
    saved = checkpoint.load(next((run / "checkpoints").glob("step-*")) if run.name == "run" else run)
    model = {name: tensor.clone() for name, tensor in saved.model.items()}
    change(model)
    return checkpoint.save(path / "checkpoints", 0, model, saved.config, saved.trainer, saved.state)


def huge(model: dict[str, torch.Tensor]) -> None:
    for tensor in model.values():
        tensor.fill_(1e38)


def one_bias(model: dict[str, torch.Tensor]) -> None:
    """The last layer alone: what comes out is finite, and white."""
    last_bias(model).fill_(1e38)


def overshooting(model: dict[str, torch.Tensor]) -> None:
    last_bias(model).fill_(1000)


def first_layer(model: dict[str, torch.Tensor]) -> None:
    next(tensor for name, tensor in sorted(model.items()) if "enter" in name or "encoder" in name).fill_(1e38)


def last_bias(model: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the U-net, or of the decoder."""
    names = [name for name in sorted(model) if "leave.bias" in name or name.startswith("decoder")]
    return model[[name for name in names if name.endswith("bias")][-1]]


@pytest.fixture
def pictures(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)).save(
        tmp_path / "in/a.png"
    )
    return tmp_path / "in"


@pytest.mark.parametrize("change", [huge, one_bias, overshooting, first_layer])
@pytest.mark.parametrize("which", ["identity", "autoencoder"])
def test_no_picture_is_written_over_by_what_is_none(aectl, request, tmp_path, pictures, change, which):
    run = spoilt(request.getfixturevalue(which), tmp_path / "run", change)
    shutil.copytree(pictures, tmp_path / "out")
    before = (tmp_path / "out/a.png").read_bytes()
    refused = aectl("denoise", f"run={run}", "input=in", "output=out", "overwrite=true", "device=cpu")
    assert refused.status == 4
    assert "its network gives" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert (tmp_path / "out/a.png").read_bytes() == before


@pytest.mark.parametrize("change", [huge, first_layer])
def test_neither_codes_nor_samples_nor_decoded_pictures_come_from_such_weights(
    aectl, autoencoder, tmp_path, pictures, change
):
    run = spoilt(autoencoder, tmp_path / "run", change)
    good = aectl("encode", f"run={autoencoder}", "input=in", "output=codes.csv")
    assert good.status == 0, good.err
    for command in (["encode", "input=in", "output=new.csv"], ["sample", "n=4"], ["denoise"],
                    ["decode", "input=codes.csv", "output=new"]):  # fmt: skip
        if command[0] == "decode" and change is first_layer:
            continue  # it is the encoder's
        refused = aectl(command[0], f"run={run}", *command[1:])
        assert refused.status == 4, command
        assert "its network gives" in refused.err
    assert not list(tmp_path.glob("new*"))


def test_a_picture_mostly_far_from_its_range_is_none():
    """Finite and small, but clipped it would be white, or black, and nothing else."""
    run = SimpleNamespace(path="r")
    picture = np.linspace(-0.4, 1.4, 300, dtype=np.float32).reshape(3, 10, 10)
    for values in (picture, torch.from_numpy(picture), np.zeros((0, 3))):
        sanity.check_picture(values, run)
    for shift in (3, -3):
        for values in (picture + np.float32(shift), torch.from_numpy(picture + np.float32(shift))):
            with pytest.raises(CheckpointError, match=r"values outside -0\.5 to 1\.5 in 100% of a picture"):
                sanity.check_picture(values, run)
