"""bfloat16 is computed where the processor has instructions for it; elsewhere the run says what it did instead."""

import pytest
import torch
import yaml

from aectl.data.datasets.synthetic import Synthetic
from aectl.machine import devices
from aectl.models.autoencoder import Vae
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, sweeps
from aectl.runs.config import TrainConfig
from aectl.training import loop, session
from configs import train_config

CPU = torch.device("cpu")


def small(**changes) -> TrainConfig:
    return train_config(
        dataset=Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=[1, 8, 8]), epochs=1,
        network=Mlp(hidden=[8]), model=Vae(posterior="logvar"), device="cpu", threads=1,
        figures_every=0, **changes,
    )  # fmt: skip


def with_instructions(monkeypatch, *names: str) -> None:
    monkeypatch.setattr(devices, "bf16_instructions", lambda: set(names))


def said(caplog) -> list[str]:
    return [one.getMessage() for one in caplog.records if "bf16" in one.getMessage()]


def computed(folder) -> tuple[str, str, dict]:
    """The precision that config.yaml and the newest checkpoint name, and that checkpoint's weights."""
    saved, _ = checkpoint.newest(layout.checkpoints_of(folder))
    named = yaml.safe_load((folder / "config.yaml").read_text())["precision"]
    return named, saved.config["train"]["precision"], saved.model


def test_the_probe_asks_the_processor(monkeypatch):
    for capabilities, expected in (
        ({"avx512_bf16": True, "amx_bf16": False, "avx2": True}, {"avx512_bf16"}), ({"avx2": True}, set()),
        ({"amx_bf16": True, "avx512_bf16": True}, {"amx_bf16", "avx512_bf16"}),
        ({"neon": True, "bf16": True}, {"bf16"}), ({"neon": True, "bf16": False}, set()),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False)
        assert devices.bf16_instructions() == expected
        assert devices.emulates_bf16(CPU) == (not expected)
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for there in (False, True):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there)
        assert devices.emulates_bf16(CPU) != there


def test_an_old_gpu_emulates_it_too(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert devices.emulates_bf16(torch.device("cuda"))
    assert not devices.emulates_bf16(torch.device("mps"))


def test_where_it_would_be_emulated_a_new_run_is_one_of_float32_and_all_its_files_say_so(
    tmp_path, monkeypatch, caplog
):
    loop.train(small(), tmp_path / "float32")
    with_instructions(monkeypatch)
    loop.train(small(precision="bf16"), tmp_path / "asked")
    (line,) = said(caplog)
    assert line.startswith("note: precision=float32, not bf16")
    assert not any(b"bf16" in path.read_bytes() for path in (tmp_path / "asked").glob("events.*"))
    named, saved, weights = computed(tmp_path / "asked")
    assert (named, saved) == ("float32", "float32")
    expected = computed(tmp_path / "float32")[2]
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    with_instructions(monkeypatch, "amx_bf16")  # it stays so where there are instructions
    loop.train(train_config(resume=str(tmp_path / "asked"), epochs=2), tmp_path, overrides=["epochs=2"])
    assert computed(tmp_path / "asked")[:2] == ("float32", "float32")


def test_where_there_are_instructions_it_is_computed_and_resumed_as_it_was(tmp_path, monkeypatch, caplog):
    for names, words in ((("amx_bf16", "avx512_bf16"), []), (("bf16",), []), (("avx512_bf16",), ["without AMX"])):
        caplog.clear()
        with_instructions(monkeypatch, *names)
        prepared = session.prepare(small(precision="bf16"), tmp_path, None)
        assert prepared.config.precision == "bf16"
        assert len(said(caplog)) == len(words)
        assert all(word in line for word, line in zip(words, said(caplog), strict=True))
    loop.train(small(precision="bf16"), tmp_path / "run")
    assert computed(tmp_path / "run")[:2] == ("bf16", "bf16")
    with_instructions(monkeypatch)
    caplog.clear()
    loop.train(train_config(resume=str(tmp_path / "run"), epochs=2), tmp_path, overrides=["epochs=2"])
    assert computed(tmp_path / "run")[:2] == ("bf16", "bf16")
    assert "a resumed run keeps its own" in said(caplog)[0]


@pytest.mark.parametrize(("began", "asked", "fits"), [("float32", "bf16", True), ("bf16", "float32", False)])
def test_a_sweep_goes_on_with_jobs_that_took_float32_instead(tmp_path, monkeypatch, began, asked, fits):
    with_instructions(monkeypatch, "amx_bf16")
    loop.train(small(precision=began), tmp_path)
    if fits:
        assert sweeps.begun(tmp_path, small(precision=asked))["status"] == "completed"
    else:
        with pytest.raises(sweeps.OtherSweepError, match="begun with precision=bf16"):
            sweeps.begun(tmp_path, small(precision=asked))
