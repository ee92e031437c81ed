"""`hydra/launcher=batched`: runs that take their steps together are the runs that each of them is by itself."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import SMALL

from aectl import storage
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, locks, sweeps
from aectl.training import batched, crew
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

BATCHED = ("hydra/launcher=batched", "hydra.launcher.n_jobs=1")
SETTINGS = (*SMALL, "dataset.synthetic_size=300", "dataset.val_size=60", "dataset.test_size=40", "epochs=3")


@pytest.fixture
def sweep(aectl, tmp_path):
    """A sweep in a folder of that name, without pictures: its exit code, and the folder."""

    def run(name: str, *args: str) -> tuple[int, Path]:
        given = args if any(one.startswith("hydra/launcher") for one in args) else (*BATCHED, *args)
        done = aectl("train", "-m", *SETTINGS, f"hydra.sweep.dir={name}", *given)
        return done.status, tmp_path / name

    return run


def records(folder: Path) -> list[dict[str, float]]:
    """Every figure of every epoch of every job, but the seconds."""
    found = []
    for job in layout.jobs_of(folder):
        lines = (job / "metrics.jsonl").read_text().splitlines() if (job / "metrics.jsonl").exists() else []
        found += [{key: v for key, v in json.loads(line).items() if key != "images_per_s"} for line in lines]
    return found


def weights(folder: Path) -> list[dict[str, torch.Tensor]]:
    return [checkpoint.newest(layout.checkpoints_of(job))[0].model for job in layout.jobs_of(folder)]


def assert_same(left: Path, right: Path, rtol: float) -> None:
    ours, theirs = records(left), records(right)
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, rel=rtol)
    for one, other in zip(weights(left), weights(right), strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    "swept",
    [("seed=0,1", "lr=1e-3,2e-2"), ("noise=gaussian", "noise.sigma=0.1,0.5", "model=ae", "seed=3"),
     ("grad_clip=1,10", "adam.weight_decay=0.1"), ("schedule=cosine", "kl_warmup=0,2", "dataset.binarize=dynamic"),
     ("epochs=2,3",)],
)  # fmt: skip
def test_jobs_batched_are_jobs_one_after_another(sweep, monkeypatch, swept):
    crews = []
    monkeypatch.setattr(batched, "Crew", lambda given: crews.append(len(given)) or crew.Crew(given))
    status, together = sweep("together", *swept)
    assert status == 0
    assert crews[0] == len(layout.jobs_of(together)) > 1
    _, apart = sweep("apart", *swept, "hydra/launcher=basic")
    assert_same(together, apart, 2e-4)
    assert [job["best_epoch"] for job in sweeps.read_jobs(together)] == [
        job["best_epoch"] for job in sweeps.read_jobs(apart)
    ]


def stop_at(monkeypatch, step: int) -> None:
    """Ctrl-C while that step of the crew is made."""
    real = crew.Crew.step

    def stopping(self, batches):
        real(self, batches)
        if self.sessions[0].progress.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(crew.Crew, "step", stopping)


def test_a_batch_that_is_stopped_and_gone_on_with_is_one_that_was_not_to_the_last_bit(sweep, monkeypatch):
    _, whole = sweep("whole", "lr=1e-3,2e-2")
    with monkeypatch.context() as patched:
        stop_at(patched, 5)
        status, stopped = sweep("stopped", "lr=1e-3,2e-2")
    assert status == 130
    kept = [layout.step_of(path) for job in layout.jobs_of(stopped) for path in layout.checkpoints_seen(job)]
    assert set(kept) == {0, 5}
    assert all(job["status"] == "interrupted" for job in sweeps.read_jobs(stopped))
    log = (layout.jobs_of(stopped)[0] / "train.log").read_text()
    assert "stopped at step 5; go on: aectl train resume=" in log
    status, _ = sweep("stopped", "lr=1e-3,2e-2", "sweep.resume=stopped")
    assert status == 0
    assert_same(whole, stopped, 0)
    assert "resuming elsewhere" not in (layout.jobs_of(stopped)[0] / "train.log").read_text()


def test_jobs_that_stand_at_different_steps_are_gone_on_with(sweep, monkeypatch):
    _, whole = sweep("whole", "seed=0,1")
    with monkeypatch.context() as patched:
        stop_at(patched, 9)
        sweep("stopped", "seed=0,1")
    newest = checkpoint.listing(layout.checkpoints_of(layout.jobs_of(whole.parent / "stopped")[1]))[0]
    assert layout.step_of(newest) == 9
    shutil.rmtree(newest)
    status, stopped = sweep("stopped", "seed=0,1", "sweep.resume=stopped")
    assert status == 0
    assert_same(whole, stopped, 2e-4)


def test_a_batched_job_resumed_by_itself_says_that_it_is_not_exact(sweep, aectl, monkeypatch):
    with monkeypatch.context() as patched:
        stop_at(patched, 5)
        _, folder = sweep("stopped", "seed=0,1")
    done = aectl("train", f"resume={layout.jobs_of(folder)[0]}")
    assert done.status == 0
    assert "resuming elsewhere than before (batched True → False): not exact to the last bit" in done.out


def test_a_job_that_diverges_leaves_word_and_the_others_to_go_on(sweep):
    status, folder = sweep("some", "seed=0,1", "lr=1e-3,1e30")
    assert status == 5
    jobs = sweeps.read_jobs(folder)
    assert [job["status"] for job in jobs] == ["completed", "failed"] * 2
    assert "is not finite in step 2" in jobs[1]["error"]
    assert (jobs[1]["folder"] / "train.log").read_text().splitlines()[-1].endswith(jobs[1]["error"])
    _, fine = sweep("fine", "seed=0,1", "lr=1e-3")
    expected = [job["objective"] for job in sweeps.read_jobs(fine)]
    assert [jobs[0]["objective"], jobs[2]["objective"]] == pytest.approx(expected, rel=1e-5)


def test_a_job_whose_disk_refuses_fails_alone(sweep, monkeypatch):
    real = storage.append

    def refusing(path, line):
        if path.parent.name.startswith("1_") and '"epoch": 2' in line:
            raise OSError(28, "No space left on device", str(path))
        return real(path, line)

    monkeypatch.setattr(storage, "append", refusing)
    status, folder = sweep("some", "seed=0,1,2")
    assert status == 6
    assert [job["status"] for job in sweeps.read_jobs(folder)] == ["completed", "failed", "completed"]
    for n, job in enumerate(layout.jobs_of(folder)):
        assert ("No space left" in (job / "train.log").read_text()) == (n == 1)
        with locks.locked(job):  # nobody holds it any more
            pass


def test_a_job_that_stops_early_leaves_the_others_to_go_on(sweep):
    status, folder = sweep("some", "seed=0", "lr=1e-3,1e-12", "early_stop=2", "epochs=8")
    assert status == 0
    epochs = [job["epochs"] for job in sweeps.read_jobs(folder)]
    assert epochs == [8, 3]
    _, apart = sweep("apart", "seed=0", "lr=1e-3,1e-12", "early_stop=2", "epochs=8", "hydra/launcher=basic")
    assert [job["epochs"] for job in sweeps.read_jobs(apart)] == epochs


def test_jobs_that_cannot_be_batched_are_trained_one_after_another(sweep, monkeypatch):
    monkeypatch.setattr(batched, "Crew", None)
    swept = ("seed=0,1", "objective=iwae", "objective.samples=2", "epochs=1")
    status, folder = sweep("some", *swept)
    assert status == 0
    _, apart = sweep("apart", *swept, "hydra/launcher=basic")
    assert_same(folder, apart, 0)


def test_jobs_of_several_forms_make_several_crews(sweep, monkeypatch):
    crews = []
    monkeypatch.setattr(batched, "Crew", lambda given: crews.append(len(given)) or crew.Crew(given))
    assert sweep("some", "latent=2,3", "seed=0,1,2", "epochs=1")[0] == 0
    assert crews == [3, 3]


def test_a_wrong_setting_or_missing_images_fail_job_by_job(sweep):
    status, folder = sweep("some", "seed=0,1", "dataset.val_size=10,400")
    assert status == 3
    assert [job["status"] for job in sweeps.read_jobs(folder)] == ["completed"] * 2 + ["failed"] * 2
    assert sweep("wrong", "seed=0,1", "lr=1e-3,-1")[0] == 2


def test_large_models_are_batched_only_on_request():
    config = train_config(network=Mlp(hidden=[16]))
    assert batched.fits(config, (1, 4, 4), always=False)
    assert not batched.fits(config, (3, 200, 200), always=False)
    assert batched.fits(config, (3, 200, 200), always=True)


def test_what_each_job_says_stands_in_its_own_log(sweep):
    _, folder = sweep("some", "seed=0,1,2")
    for job in layout.jobs_of(folder):
        lines = (job / "train.log").read_text()
        assert lines.count("takes every step together with 2 other jobs of its sweep") == 1
        assert lines.count("epoch 2/3") == 1
        assert lines.count(f"curves, pictures and checkpoints: some/{job.name}") == 1
