"""What a command would take is known before it is taken; where memory is refused all the same, nothing is lost."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from albums import own
from conftest import SMALL
from PIL import Image

from aectl.data.datasets import filling
from aectl.data.split import build_dataset
from aectl.drawing import grids
from aectl.errors import MemoryShortError
from aectl.files.pictures import decoding
from aectl.machine import memory
from aectl.measuring import scoring
from aectl.models import footprint
from aectl.runs import checkpoint, layout
from aectl.training import keeping, loop, step
from configs import of

MIB = 2**20
SHAPE = (1, 28, 28)

MEASURE = """
import sys
import torch
from configs import of
from aectl.models import footprint
from aectl.models.table import build_model
from aectl.rng import generator
from aectl.training.adam import Adam
from aectl.training.step import step
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096
def work(images):
    eps = model.draw(images, generator("cpu", 1))
    step(model, loss, adam, (torch.rand(images, 1, 28, 28),) * 2 + (eps, None), 1.0, 1e-3)
images = int(sys.argv[1])
config = of("train", *sys.argv[2:])
loss, laid_out = config.objective.on(images, images), footprint.laid_out(config, (1, 28, 28))
expected = footprint.of_step(laid_out, loss, images, (1, 28, 28))
model = build_model(config, (1, 28, 28)).train()
adam = Adam(dict(model.named_parameters()), config.adam)
work(2)
before = rss()
work(images)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # rusage has the parent's too
print(expected, int(peak.split()[1]) * 1024 - before)
"""
KINDS = {
    "mlp": (6000, "model=vae"), "conv": (700, "model=vae", "network=conv"),
    "iwae": (32, "model=iwae", "objective.samples=1000"), "tc": (2000, "model=vae", "objective=tc"),
    "unet": (256, "model=dae", "network=unet", "likelihood=gaussian", "likelihood.mean=identity"),
}  # fmt: skip


def measured(images: int, *words: str) -> tuple[int, int]:
    """What a step was expected to take, and took, in a process of its own."""
    import os

    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(images), *words], capture_output=True, text=True, env=env, check=True
    )
    expected, took = map(int, done.stdout.split())
    return expected, took


@pytest.mark.parametrize(
    "kind", ["conv", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "conv")]
)
def test_a_step_takes_what_it_was_expected_to_within_a_factor_of_two(kind):
    expected, took = measured(*KINDS[kind])
    assert took > 60 * MIB
    assert expected / 2 < took < 2 * expected


@pytest.mark.parametrize("kind", ["mlp", "conv", "iwae", "tc"])
def test_what_is_quickly_said_is_never_below(kind):
    images, *words = KINDS[kind]
    config = of("train", *words)
    model = footprint.laid_out(config, SHAPE)
    least = footprint.might_take(model.train(), images, SHAPE)
    assert least >= footprint.of_step(model, config.objective.on(images, images), images, SHAPE)


@pytest.mark.parametrize(
    ("settings", "says"),
    [(("model=iwae", "objective.samples=100000"), "batch_size=32 objective.samples=100000 with network.hidden="),
     (("network.hidden=[8000,8000]",), "network.hidden=[8000, 8000] latent="),
     (("dataset.synthetic_size=1000000", "dataset.synthetic_shape=[3,200,200]"), "dataset.synthetic_size=1000000: "),
     (("network=conv", "batch_size=9999", "dataset.synthetic_size=3000"), "batch_size=9999 with network.")],
)  # fmt: skip
def test_training_that_cannot_fit_is_refused_before_it_is_begun(aectl, monkeypatch, tmp_path, settings, says):
    def begun(*given):
        pytest.fail("a step was begun")  # which would take all the memory of this machine

    monkeypatch.setattr(loop, "rest_of_epoch", begun)
    monkeypatch.setattr(memory, "free", lambda: 100 * MIB)
    done = aectl("train", *SMALL, *settings)
    assert done.status == 2, done.err
    line = done.err.strip().splitlines()[-1]
    assert line.startswith(f"aectl: {says}")
    assert "iB of memory, and 100 MiB are free; choose" in line
    assert not list(tmp_path.glob("outputs/train/*/checkpoints/*"))


def test_draws_of_many_images_are_scored_a_few_at_a_time(monkeypatch):
    """Each image by itself gives what all of them give."""
    config = of("train", "model=iwae", "objective.samples=7")
    torch.manual_seed(0)
    data = build_dataset(of("train", *SMALL).dataset, None)
    from aectl.models.table import build_model

    model = build_model(config, data.val.shape).eval()
    loss = config.objective.on(10, 10)
    found = []
    for at_once in (scoring.AT_ONCE, 7 * 28 * 28):
        monkeypatch.setattr(scoring, "AT_ONCE", at_once)
        found.append(scoring.score(model, loss, data.val, config.noise, 1.0, torch.device("cpu")))
    torch.testing.assert_close(found[0].terms.recon, found[1].terms.recon, rtol=1e-5, atol=1e-3)
    assert found[0].loss == pytest.approx(found[1].loss, rel=1e-5)


def test_more_samples_than_a_sheet_has_room_for_are_written_all_the_same(aectl, autoencoder, tmp_path, monkeypatch):
    monkeypatch.setattr(grids, "LARGEST", 10 * grids.enlarged(12, 10))
    titles, grid = [], grids.grid
    monkeypatch.setattr(
        grids, "grid", lambda images, title: (titles.append((len(images), title)), grid(images, title))[1]
    )
    assert aectl("sample", f"run={autoencoder}", "n=512", "hydra.run.dir=s").status == 0
    assert len(list((tmp_path / "s/images").iterdir())) == 512
    ((shown, title),) = titles
    assert (shown, title.endswith("; the first 10")) == (10, True)


@pytest.mark.parametrize("mode", ["grid", "interpolate"])
def test_more_samples_than_there_is_memory_for_are_refused(aectl, autoencoder, monkeypatch, tmp_path, mode):
    monkeypatch.setattr(memory, "free", lambda: 70 * MIB)
    done = aectl("sample", f"run={autoencoder}", f"mode={mode}", "n=100000", "hydra.run.dir=s")
    assert done.status == 2
    assert done.err.startswith("aectl: n=100000: would take ")
    assert not (tmp_path / "s/images").exists()


# ------------------------------------------------------------------- where it is refused all the same


def test_memory_that_is_refused_in_a_step_ends_the_run_in_one_line_and_it_can_go_on(aectl, monkeypatch, tmp_path):
    taken, real = 0, step.step

    def refuse(*given: object) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return torch.empty(2**52) if taken == 40 else real(*given)

    monkeypatch.setattr(step, "step", refuse)
    done = aectl("train", *SMALL, "epochs=30", "hydra.run.dir=r")
    assert done.status == 7, done.err
    line = done.err.strip().splitlines()[-1]
    assert line.startswith("aectl: memory: 16 PiB of memory were refused, and ")
    assert line.endswith("then go on: aectl train resume=r; what was saved is whole")
    assert line.removeprefix("aectl: ") in (tmp_path / "r/train.log").read_text()
    for path in checkpoint.listing(layout.checkpoints_of(tmp_path / "r")):
        checkpoint.verify(path)
    monkeypatch.setattr(step, "step", real)
    assert aectl("train", "resume=r", "epochs=3").status == 0


def test_memory_that_is_refused_to_the_thread_that_saves_is_told(aectl, monkeypatch, tmp_path):
    saves, real = 0, keeping._write

    def refuse(*given: object) -> None:
        nonlocal saves
        saves += 1
        if saves == 2:
            raise MemoryError
        real(*given)

    monkeypatch.setattr(keeping, "_write", refuse)
    done = aectl("train", *SMALL, "epochs=3", "hydra.run.dir=r")
    assert done.status == 7
    assert "memory was refused" in done.err.strip().splitlines()[-1]
    assert "Traceback" not in done.err
    (only,) = checkpoint.listing(layout.checkpoints_of(tmp_path / "r"))
    checkpoint.verify(only)


def test_memory_is_asked_for_before_tensors_are_made_bytes(monkeypatch):
    """safetensors, which would print lines of its own and panic, is not asked at all."""
    monkeypatch.setattr(checkpoint.safetensors.torch, "save", None)
    monkeypatch.setattr(checkpoint, "_on_cpu", lambda tensors: tensors)  # which would take it first
    large = torch.zeros(1).expand(2**48)
    with pytest.raises(RuntimeError, match="memory"):
        checkpoint.to_bytes({"a": large})


def test_a_checkpoint_that_is_made_bytes_without_memory_is_not_called_damaged(aectl, monkeypatch, tmp_path):
    """It is not passed over for an older one either."""
    assert aectl("train", *SMALL, "epochs=1", "hydra.run.dir=r").status == 0

    def refuse(data: bytes) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1024 bytes.")

    monkeypatch.setattr(checkpoint, "from_bytes", refuse)
    assert aectl("train", "resume=r", "epochs=2").status == 4
    monkeypatch.setattr(memory, "free", lambda: memory.SHORT - 1)
    done = aectl("train", "resume=r", "epochs=2")
    assert (done.status, "1 KiB of memory were refused" in done.err) == (7, True)


def test_a_job_of_a_sweep_that_gets_no_memory_fails_alone(aectl, monkeypatch, tmp_path):
    real = step.step

    def refuse(model: torch.nn.Module, *given: object) -> torch.Tensor:
        if model.latent == 3:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
            )
        return real(model, *given)

    monkeypatch.setattr(step, "step", refuse)
    done = aectl("train", "-m", *SMALL, "epochs=1", "latent=3,2", "hydra.sweep.dir=s")
    assert done.status == 7
    results = [json.loads(path.read_text()) for path in sorted((tmp_path / "s").glob("*/result.json"))]
    assert [one["status"] for one in results] == ["failed", "completed"]
    assert results[0]["error"].startswith("memory: 0.0967 KiB of memory were refused")


def test_a_thread_that_decodes_without_memory_leaves_no_picture_out(tmp_path, monkeypatch):
    """Neither is the picture called bad, nor does the cache remember it so."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(6):
        Image.fromarray(np.full((8, 8), 40 * index, np.uint8)).save(folder / f"{index}.png")
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))
    real = decoding.decode

    def refuse(data: bytes, reading: object, name: str) -> object:
        if name == "4.png":
            raise MemoryShortError("4.png: a picture would take 9 GiB of memory")
        return real(data, reading, name)

    monkeypatch.setattr(decoding, "decode", refuse)
    with pytest.raises(MemoryShortError, match=r"4\.png"):
        build_dataset(own(folder, on_bad="skip"), None)
    monkeypatch.setattr(decoding, "decode", real)
    assert sum(build_dataset(own(folder, on_bad="skip"), None).sizes().values()) == 6


def test_results_that_nobody_has_taken_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(filling, "PILE", 10 * MIB)
    lock, made, taken, most = threading.Lock(), 0, 0, 0

    def work(item: int) -> np.ndarray:
        nonlocal made, most
        with lock:
            made += 1
            most = max(most, made - taken)
        return np.empty(MIB, np.uint8)

    with ThreadPoolExecutor(4) as pool:
        for expected, (item, _) in enumerate(filling._in_order(pool, work, list(range(100)), "testing")):
            assert item == expected
            if item < 3:
                time.sleep(0.1)  # long enough for all of them
            with lock:
                taken += 1
    assert made == 100
    assert most <= 10 + 4 + 1
