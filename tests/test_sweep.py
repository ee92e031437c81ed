import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import SMALL
from hydra.errors import MissingConfigException

from aectl import cli, messages, sweep
from aectl.config import TrainConfig
from aectl.errors import OtherSweepError

SWEEP = ("train", "-m", *SMALL, "epochs=1", "latent=2,3", "model=ae,vae")


def only_sweep(root: Path) -> Path:
    (folder,) = (root / "outputs/multirun").iterdir()
    return folder


def figures(folder: Path) -> dict[str, tuple[str, float | None]]:
    return {job["job"]: (job["status"], job.get("val/loss")) for job in sweep.read_jobs(folder)}


def aside(*args: str, cwd: Path, **more) -> subprocess.Popen:
    """The command in a process of its own."""
    env = {**os.environ, "AECTL_CACHE": str(cwd / "cache")}
    return subprocess.Popen(
        [sys.executable, "-m", "aectl", *args], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, **more,
    )  # fmt: skip


def test_a_sweep_goes_on_with_what_is_missing_alone(aectl, tmp_path):
    assert aectl(*SWEEP).status == 0
    folder = only_sweep(tmp_path)
    before = figures(folder)
    shutil.rmtree(folder / "1_vae-latent2")
    (folder / "2_ae-latent3/result.json").unlink()
    written = (folder / "0_ae-latent2/result.json").stat().st_mtime_ns
    assert [status for status, _ in figures(folder).values()] == ["completed", "interrupted", "completed"]

    again = aectl(*SWEEP, f"sweep.resume={folder}")
    assert again.status == 0, again.err
    assert figures(folder) == before
    assert (folder / "0_ae-latent2/result.json").stat().st_mtime_ns == written
    assert "sweep.resume=" not in (folder / "summary.md").read_text()
    assert only_sweep(tmp_path) == folder


def test_an_interrupted_job_is_resumed_not_begun_again(aectl, tmp_path):
    folder = tmp_path / "my sweep"
    assert aectl("train", "-m", *SMALL, "epochs=2", "latent=2,3", f"hydra.sweep.dir={folder}").status == 0
    before = figures(folder)
    job = folder / "1_vae-latent3"
    (job / "result.json").unlink()
    shutil.rmtree(sorted(job.glob("checkpoints/step-*"))[-1])
    assert aectl("train", "-m", *SMALL, "epochs=2", "latent=2,3", f"sweep.resume={folder}").status == 0
    assert figures(folder) == before
    assert len((job / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_sweep_is_not_gone_on_with_by_another_command(aectl, tmp_path):
    assert aectl("train", "-m", *SMALL, "epochs=1", "latent=2,3").status == 0
    folder = only_sweep(tmp_path)
    refused = aectl("train", "-m", *SMALL, "epochs=1", "latent=2,3", "lr=0.5", f"sweep.resume={folder}")
    assert refused.status == 2
    assert "was begun with lr=0.001, not 0.5" in refused.err
    assert {status for status, _ in figures(folder).values()} == {"completed"}, "what was there is kept"
    for arguments in (("-m", "latent=2,3", "sweep.resume=nowhere"), (f"sweep.resume={folder}",)):
        refused = aectl("train", *SMALL, *arguments)
        assert refused.status == 2
        assert "sweep.resume=" in refused.err
        assert len(refused.err.strip().splitlines()) == 1


def test_nothing_is_begun_where_nothing_was_saved(tmp_path):
    assert sweep.begun(tmp_path / "none", TrainConfig()) is None
    (tmp_path / "checkpoints/step-00000001").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text("latent: 7")
    with pytest.raises(OtherSweepError, match="repeat the command"):
        sweep.begun(tmp_path, TrainConfig())


def test_jobs_side_by_side_give_what_they_give_one_after_another(aectl, tmp_path):
    command = ("train", "-m", *SMALL, "epochs=1", "latent=2,3", "network.hidden=[8],[0]")
    one_by_one = aectl(*command)
    assert one_by_one.status == 2
    expected = figures(only_sweep(tmp_path))
    assert [status for status, _ in expected.values()] == ["completed", "failed"] * 2

    (tmp_path / "apart").mkdir()
    process = aside(*command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", cwd=tmp_path / "apart")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert figures(only_sweep(tmp_path / "apart")) == expected
    assert "jobs failed, the first: network.hidden" in err
    assert len(err.strip().splitlines()) == 1, err


def test_a_sweep_on_several_cores_runs_side_by_side_and_says_what_ended(tmp_path):
    process = aside(*SWEEP, cwd=tmp_path)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    if len(os.sched_getaffinity(0)) > 1:
        assert out.startswith("4 jobs, ")
        assert out.count(": val/loss ") == 4
    assert "| completed |" in out


def test_ctrl_c_ends_a_sweep_and_it_can_be_gone_on_with(tmp_path):
    command = ("train", "-m", *SMALL, "epochs=2000", "latent=2,3", "hydra.sweep.dir=here", "checkpoint_every=1000")
    process = aside(*command, cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("here/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "sweep.resume=here" in out
    assert "interrupted" in out


@pytest.mark.parametrize(
    ("overrides", "cores", "expected"),
    [(["latent=2,3,4"], 2, (2, 3)), (["latent=2,3", "seed=range(5)"], 64, (10, 10)), (["latent=2"], 2, (1, 1)),
     (["latent=2,3", "threads=2"], 4, (2, 2)), (["latent=2,3", "threads=1,2"], 4, (1, 0)),
     (["latent=2,3", "hydra/launcher=basic"], 4, (1, 0)), (["latent=2,3", "hydra/sweeper=optuna"], 4, (1, 0)),
     (["latent=2,3"], 1, (1, 2))],
)  # fmt: skip
def test_as_many_jobs_side_by_side_as_there_are_cores_for(monkeypatch, overrides, cores, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(cores))
    assert cli._side_by_side([*overrides, "device=cpu"]) == expected


def test_the_result_holds_what_a_sweeper_minimises(aectl, only_run):
    aectl("train", *SMALL)
    result = json.loads((only_run() / "result.json").read_text())
    assert result["objective"] == result["val/loss"]


def test_optuna_minimises_the_objective(tmp_path):
    settings = ("hydra.sweeper.n_trials=3", "hydra.sweeper.sampler.seed=0", "lr=tag(log,interval(1e-4,1e-2))")
    process = aside("train", "-m", *SMALL, "epochs=1", "hydra/sweeper=optuna", *settings, cwd=tmp_path)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    folder = only_sweep(tmp_path)
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    jobs = sweep.read_jobs(folder)
    assert found["best_value"] == pytest.approx(min(job["objective"] for job in jobs))
    assert len({job["objective"] for job in jobs}) == 3


def test_submitit_runs_jobs_elsewhere(tmp_path):
    process = aside(
        "train", "-m", *SMALL, "epochs=1", "latent=2,3", "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=1", cwd=tmp_path,
    )  # fmt: skip
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert [status for status, _ in figures(only_sweep(tmp_path)).values()] == ["completed"] * 2


@pytest.mark.parametrize("launcher", ["submitit_slurm", "ray"])
def test_launchers_of_clusters_are_composed(aectl, launcher):
    shown = aectl("train", "latent=3", f"hydra/launcher={launcher}", "--cfg", "hydra")
    assert shown.status == 0, shown.err
    assert f"hydra/launcher: {launcher}" in shown.out


def test_a_plugin_that_is_not_there_is_named_with_its_package():
    error = MissingConfigException("no", "hydra/launcher/ray", ["basic", "joblib"])
    assert messages.explain(error) == (2, "hydra/launcher=ray: is not installed; pip install hydra-ray-launcher")
