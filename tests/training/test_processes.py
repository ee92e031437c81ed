import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SMALL

from aectl.errors import ConfigError
from aectl.training import session
from aectl.training.processes import World
from configs import train_config

RUN = [*SMALL, "figures_every=0", "dataset.synthetic_size=331", "latent=3", "seed=5"]  # a last batch of 11 images


def launched(folder: Path, *args: str) -> subprocess.CompletedProcess:
    """`torchrun -m aectl train ...` on this machine."""
    folder.mkdir(exist_ok=True)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = {**os.environ, "AECTL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*launcher, "-m", "aectl", *args],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def records(folder: Path) -> list[dict[str, float]]:
    """The epochs of the one run below `folder`."""
    (run,) = (folder / "outputs/train").iterdir()
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def agree(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        for name in ("train/loss", "train/recon", "train/kl", "val/loss", "val/recon", "val/kl"):
            assert a[name] == pytest.approx(b[name], rel=2e-5), name


def test_a_batch_is_shared_out_whole():
    for size, total in ((2, 32), (3, 32), (4, 3), (2, 1)):
        shares = [World(rank, size).share(total, torch.device("cpu")) for rank in range(size)]
        images = torch.arange(total)
        counted = [image for share in shares for image in images[share.rows].tolist()[: share.count]]
        assert counted == list(range(total))
        assert all(len(images[share.rows]) for share in shares), "none computes nothing"
        means = [images[share.rows].double().mean() * share.weight for share in shares]
        assert sum(means) / size == pytest.approx((total - 1) / 2)


@pytest.mark.slow
def test_one_process_then_two_then_one_train_as_one_does(aectl, tmp_path, monkeypatch):
    settings = (*RUN, "noise=gaussian", "grad_clip=5")
    assert aectl("train", *settings, "epochs=3").status == 0
    where = tmp_path / "shared"
    where.mkdir()
    monkeypatch.chdir(where)
    assert aectl("train", *settings, "epochs=1").status == 0
    done = launched(where, "train", "resume=latest", "epochs=2")
    assert done.returncode == 0, done.stderr
    assert "processes 1 → 2" in done.stdout + done.stderr
    assert done.stdout.count("epoch 2/2  ") == 1, "the first alone speaks"
    (run,) = (where / "outputs/train").iterdir()
    assert len(list(run.glob("events*"))) == 2, "one of each command"
    assert (run / "train.log").read_text().count("epoch 2/2  ") == 1
    assert "processes 2 → 1" in aectl("train", "resume=latest", "epochs=3").out
    agree(records(where), records(tmp_path))


@pytest.mark.slow
def test_an_interrupted_run_of_several_processes_is_saved(aectl, tmp_path):
    """The signal reaches one process, and they stop together."""
    code = (
        "import os, signal, torch\n"
        "from aectl.training import loop\n"
        "refresh = loop._refresh\n"
        "def stop(bar, session):\n"
        "    if session.progress.step == 50 and not session.world.first:\n"
        "        loop._refresh = refresh\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    refresh(bar, session)\n"
        "loop._refresh = stop\n"
        "from aectl.cli import main\n"
        "main.main()\n"
    )
    (tmp_path / "stopped").mkdir()
    script = tmp_path / "stopped/script.py"
    script.write_text(code)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    env = {**os.environ, "AECTL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(script), "train", *RUN, "epochs=40"]
    done = subprocess.run(
        command, cwd=script.parent, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    (run,) = (tmp_path / "stopped/outputs/train").iterdir()
    assert (run / "checkpoints/step-00000050").is_dir(), done.stderr


@pytest.mark.slow
def test_what_several_processes_cannot_do_is_said_once(tmp_path):
    done = launched(tmp_path, "train", *RUN, "model=vae", "objective.free_bits=0.5")
    assert done.returncode != 0
    assert sum(line.startswith(("aectl:", "aectl (")) for line in done.stderr.splitlines()) == 1, done.stderr
    assert "objective.free_bits=0.5: goes by a whole batch" in done.stderr


def test_what_is_for_a_single_process_is_refused(aectl, monkeypatch):
    with pytest.raises(ConfigError, match="execution=graph: is for a single process"):
        session._refuse_apart(train_config(execution="graph"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for command in (("eval",), ("train", "-m", "latent=2,3")):
        refused = aectl(*command)
        assert (refused.status, "under torchrun there is a single `aectl train`" in refused.err) == (2, True)
