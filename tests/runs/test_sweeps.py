import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from conftest import SMALL
from hydra.errors import MissingConfigException

from aectl.cli import batching, messages, multirun
from aectl.data.datasets.array import Array
from aectl.errors import OtherSweepError
from aectl.machine import load
from aectl.models.autoencoder import Vae
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.runs import schema, sweeps
from aectl.settings import typed
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

SWEEP = ("train", "-m", *SMALL, "epochs=1", "latent=2,3", "model=ae,vae")


def only_sweep(root: Path) -> Path:
    (folder,) = (root / "outputs/multirun").iterdir()
    return folder


def figures(folder: Path) -> dict[str, tuple[str, float | None]]:
    return {job["job"]: (job["status"], job.get("val/loss")) for job in sweeps.read_jobs(folder)}


def test_a_sweep_goes_on_with_what_is_missing_alone(aectl, tmp_path):
    assert aectl(*SWEEP).status == 0
    folder = only_sweep(tmp_path)
    before = figures(folder)
    shutil.rmtree(folder / "1_vae-latent2")
    (folder / "2_ae-latent3/result.json").unlink()
    written = (folder / "0_ae-latent2/result.json").stat().st_mtime_ns
    assert [status for status, _ in figures(folder).values()] == ["completed", "interrupted", "completed"]

    # What bears on no number may be another now, and tells no job from another.
    more = (f"sweep.resume={folder}", "figures_every=0", "data.memory_gb=2", "checkpoint_every=3", "lr=1e-3")
    again = aectl(*SWEEP, *more)
    assert again.status == 0, again.err
    assert figures(folder) == before
    assert (folder / "0_ae-latent2/result.json").stat().st_mtime_ns == written
    header = (folder / "summary.md").read_text().partition("\n")[0]
    assert [word.strip() for word in header.split("|")[1:5]] == ["job", "latent", "model", "status"]
    assert sweeps.differing(sweeps.read_jobs(folder)) == [
        {"latent": latent, "model": model} for latent in "23" for model in ("ae", "vae")
    ]
    assert "sweep.resume" not in sweeps.command(folder)
    assert only_sweep(tmp_path) == folder


def job(folder: Path, number: int, overrides: str, saved: dict | None = None) -> dict:
    """A job of a sweep as it lies there; without `saved` it failed before it kept its configuration."""
    where = folder / f"{number}_x"
    where.mkdir()
    if saved is not None:
        settings = train_config(**saved)
        (where / "config.yaml").write_text(f"# aectl train\n{yaml.safe_dump(typed.to_dict(settings))}")
    return {"job": str(number), "folder": where, "overrides": overrides.split(), "status": "completed"}


@pytest.mark.parametrize(
    "key",
    ["device", "threads", "figures_every", "checkpoint_every", "data.root", "data.memory_gb", "sweep.resume",
     "resume", "hydra.launcher.n_jobs", "hydra/launcher", "+hydra.job.name"],
)  # fmt: skip
def test_what_bears_on_no_number_tells_no_jobs_apart(tmp_path, key):
    jobs = [job(tmp_path, 0, f"seed=0 {key}=1", {"seed": 0}), job(tmp_path, 1, "seed=1", {"seed": 1}),
            job(tmp_path, 2, f"seed=2 {key}=2", {"seed": 2})]  # fmt: skip
    for one in jobs:
        path = one["folder"] / "config.yaml"
        saved = yaml.safe_load(path.read_text())
        outer, _, inner = key.rpartition(".")
        (saved.setdefault(outer, {}) if outer else saved)[inner] = int(one["job"])
        path.write_text(yaml.safe_dump(saved))
    assert sweeps.differing(jobs) == [{"seed": "0"}, {"seed": "1"}, {"seed": "2"}]


def test_every_setting_is_said_to_bear_on_numbers_or_not():
    """A new setting is asked about here: does it change a figure?"""
    known = set(typed.flat(typed.to_dict(train_config())))
    assert {key for key in known if not schema.bears_on_numbers(key)} == set(schema.WITHOUT_BEARING)
    assert set(schema.WITHOUT_BEARING) - {"name", "sweep.resume"} == set(schema.RESUMABLE) - {"epochs"}
    assert schema.bears_on_numbers("seed")
    assert schema.bears_on_numbers("dataset.root")


def test_a_setting_differs_where_its_value_does_however_it_was_given(tmp_path):
    jobs = [
        job(tmp_path, 0, "lr=0.01 latent=2", {"lr": 0.01, "latent": 2}),
        job(tmp_path, 1, "lr=1e-2 latent=2 epochs=20", {"lr": 0.01, "latent": 2}),  # 20 is the default
        job(tmp_path, 2, "++lr=1e-5 kl_weight=1.0 grad_clip=1e30", {"lr": 1e-5, "grad_clip": 1e30, "latent": 2}),
        job(tmp_path, 3, "lr=1E-2 latent=3"),  # failed: what it was given is all there is
    ]
    found = sweeps.differing(jobs[:3])
    assert [one["grad_clip"] for one in found] == ["null", "null", "1e+30"]
    assert found[:2] == [{"lr": "0.01", "grad_clip": "null"}] * 2
    assert found[2]["lr"] == "1e-05"
    assert [one["lr"] for one in sweeps.differing(jobs)] == ["0.01", "0.01", "1e-05", "0.01"]
    assert [one["latent"] for one in sweeps.differing(jobs)] == ["2", "2", "2", "3"]
    header, rows = sweeps.table(jobs[:3])
    assert (header, rows[2]) == (["job", "lr", "grad_clip", "status"], ["2", "1e-05", "1e+30", "completed"])


def test_a_job_without_a_word_makes_no_columns_of_what_the_others_share(tmp_path):
    jobs = [
        job(tmp_path, 0, "experiment=smoke latent=2 dataset.root=2024-01-02"),
        job(tmp_path, 1, "experiment=smoke latent=3 dataset.root=2024-01-02"),
        {**job(tmp_path, 2, ""), "status": "interrupted"},
    ]
    assert sweeps.table(jobs) == (
        ["job", "latent", "status"], [["0", "2", "completed"], ["1", "3", "completed"], ["2", "", "interrupted"]]
    )  # fmt: skip


def test_lists_texts_and_choices_are_written_as_they_were_meant(tmp_path):
    pictures = Array(root="1e3", val_size=None, test_size=None)
    jobs = [
        job(tmp_path, 0, "network.hidden=[8,9] model=dae dataset.root='1e3'",
            {"network": Mlp(hidden=[8, 9]), "dataset": pictures}),
        job(tmp_path, 1, "grad_clip=null network=conv", {"network": Conv(hidden=[], channels=[4])}),
        job(tmp_path, 2, "grad_clip=1 model.name=vae", {"grad_clip": 1.0, "model": Vae(posterior="logvar"),
                                                        "dataset": replace(pictures, root="true")}),
    ]  # fmt: skip
    assert sweeps.differing(jobs) == [
        {"network.hidden": "[8,9]", "model": "dae", "dataset.root": "1e3", "grad_clip": "null", "network": "mlp",
         "model.name": "ae"},
        {"network.hidden": "[]", "model": "ae", "dataset.root": "", "grad_clip": "null", "network": "conv",
         "model.name": "ae"},
        {"network.hidden": "[300,300]", "model": "vae", "dataset.root": "true", "grad_clip": "1", "network": "mlp",
         "model.name": "vae"},
    ]  # fmt: skip


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


@pytest.mark.parametrize(
    "text", ["", "- 1\n", "surprise: 1\n", "latent: x\n", "noise: {name: snow}\n", "{", "noise: []\n"]
)
def test_an_edited_configuration_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "0_vae/checkpoints/step-00000001").mkdir(parents=True)
    (tmp_path / "0_vae/config.yaml").write_text(text)
    with pytest.raises(sweeps.OtherSweepError) as refused:
        sweeps.begun(tmp_path / "0_vae", train_config())
    assert str(refused.value).startswith(f"{tmp_path}/0_vae/config.yaml: cannot be read (")
    assert "\n" not in str(refused.value)


def test_nothing_is_begun_where_nothing_was_saved(tmp_path):
    assert sweeps.begun(tmp_path / "none", train_config()) is None
    (tmp_path / "checkpoints/step-00000001").mkdir(parents=True)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(typed.to_dict(train_config(latent=7))))
    with pytest.raises(OtherSweepError, match="latent=7, not 2; repeat the command"):
        sweeps.begun(tmp_path, train_config())


@pytest.mark.slow
def test_jobs_side_by_side_give_what_they_give_one_after_another(started, aectl, tmp_path):
    command = ("train", "-m", *SMALL, "epochs=1", "latent=2,3", "network.hidden=[8],[0]")
    one_by_one = aectl(*command)
    assert one_by_one.status == 2
    expected = figures(only_sweep(tmp_path))
    assert [status for status, _ in expected.values()] == ["completed", "failed"] * 2

    (tmp_path / "apart").mkdir()
    process = started(tmp_path / "apart", *command, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert figures(only_sweep(tmp_path / "apart")) == expected
    assert "jobs failed, the first: network.hidden" in err
    assert len(err.strip().splitlines()) == 1, err


@pytest.mark.slow
def test_a_sweep_on_several_cores_runs_side_by_side_and_says_what_ended(started, tmp_path):
    process = started(tmp_path, *SWEEP)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    if len(load.cores()) > 1:
        assert out.startswith("4 jobs, ")
        assert out.count(": val/loss ") == 4
    assert "| completed" in out


@pytest.mark.slow
def test_a_sweep_over_seeds_is_batched_in_as_many_processes_as_there_are_cores(started, tmp_path):
    process = started(tmp_path, "train", "-m", *SMALL, "epochs=2", "seed=range(6)", "network.hidden=[8],[0]")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert len(err.strip().splitlines()) == 1, err
    found = figures(only_sweep(tmp_path))
    assert [status for status, _ in found.values()] == ["completed", "failed"] * 6, out

    (tmp_path / "again").mkdir()
    command = ("train", "-m", *SMALL, "epochs=2", "seed=range(6)", "network.hidden=[8]", "hydra/launcher=batched")
    process = started(tmp_path / "again", *command)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.count(": val/loss ") == 6
    again = [value for _, value in figures(only_sweep(tmp_path / "again")).values()]
    assert again == pytest.approx([value for _, value in found.values()][::2], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("swept", ["latent=2,3", "seed=0,1,2,3"])
def test_ctrl_c_ends_a_sweep_and_it_can_be_gone_on_with(started, tmp_path, swept):
    command = ("train", "-m", *SMALL, "epochs=2000", swept, "hydra.sweep.dir=here", "checkpoint_every=1000")
    process = started(tmp_path, *command)
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
    [(["latent=2,3,4"], 2, (3, 2, "joblib")), (["latent=2,3", "seed=range(5)"], 64, (10, 10, "joblib")),
     (["latent=2"], 2, None), (["latent=2,3", "threads=2"], 4, (2, 2, "joblib")),
     (["latent=2,3", "threads=1,2"], 4, None), (["latent=2,3", "hydra/launcher=basic"], 4, None),
     (["latent=2,3", "hydra/sweeper=optuna"], 4, None), (["latent=2,3"], 1, None),
     (["seed=range(4)", "latent=2"], 2, (4, 2, "batched")), (["seed=0,1", "lr=1e-3,1e-2"], 2, (4, 2, "batched")),
     (["seed=range(3)"], 2, (3, 2, "joblib")), (["seed=range(8)", "model=ae,vae"], 2, (16, 2, "joblib")),
     (["seed=range(4)", "threads=2"], 2, None)],
)  # fmt: skip
def test_as_many_jobs_side_by_side_as_there_are_cores_for(monkeypatch, overrides, cores, expected):
    monkeypatch.setattr(load, "cores", lambda: list(range(cores)))
    apart = multirun._apart([*overrides, "device=cpu"])
    found = apart and (apart.jobs, apart.workers, "batched" if apart.batched else "joblib")
    assert found == expected
    assert not (apart and apart.always), "unasked, jobs are batched only where they gain by it"


def test_batched_jobs_that_were_asked_for(monkeypatch):
    monkeypatch.setattr(load, "cores", lambda: [0, 1])
    given = ["latent=2,3", "seed=range(4)", "hydra/launcher=batched", "device=cpu"]
    assert multirun._apart(given) == multirun.Apart(8, 2, batched=True, always=True)
    assert multirun._apart([*given, "hydra.launcher.n_jobs=1"]).workers == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("train",), "hydra/launcher=batched: is for the jobs of a sweep"),
     (("eval", "-m"), "it goes with `aectl train -m`"),
     (("train", "-m", "seed=0,1", "hydra/sweeper=optuna"), "leave out hydra/sweeper=optuna"),
     (("train", "-m", "seed=0,1", "hydra.launcher.n_jobs=none"), "n_jobs=none: give how many"),
     (("train", "-m", "seed=0,1", "hydra.launcher.n_jobs=0"), "n_jobs=0: give how many")],
)  # fmt: skip
def test_where_jobs_cannot_be_batched_it_is_said_in_a_line(aectl, words, expected):
    done = aectl(*words, "hydra/launcher=batched")
    assert done.status == 2
    assert expected in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_no_process_gets_all_jobs_of_one_value():
    jobs = [(n, ()) for n in range(8)]
    numbers = [[number for number, _ in part] for part in batching.dealt(jobs, 2)]
    assert numbers == [[0, 3, 4, 7], [1, 2, 5, 6]]
    assert batching.dealt(jobs, 1) == [jobs]


def test_the_result_holds_what_a_sweeper_minimises(aectl, only_run):
    aectl("train", *SMALL)
    result = json.loads((only_run() / "result.json").read_text())
    assert result["objective"] == result["val/loss"]


@pytest.mark.slow
def test_optuna_minimises_the_objective(started, tmp_path):
    settings = ("hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0", "lr=tag(log,interval(1e-4,1e-2))")
    process = started(tmp_path, "train", "-m", *SMALL, "epochs=1", "hydra/sweeper=optuna", *settings)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    folder = only_sweep(tmp_path)
    found = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    jobs = sweeps.read_jobs(folder)
    assert found["best_value"] == pytest.approx(min(job["objective"] for job in jobs))
    assert len({job["objective"] for job in jobs}) == 2


@pytest.mark.slow
def test_submitit_runs_jobs_elsewhere(started, tmp_path):
    process = started(
        tmp_path, "train", "-m", *SMALL, "epochs=1", "latent=2,3", "hydra/launcher=submitit_local",
        "hydra.launcher.timeout_min=1",
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


def test_a_sweep_of_one_job_says_that_this_has_failed(aectl):
    failed = aectl("train", "-m", *SMALL, "latent=-2")
    assert failed.status == 2
    assert failed.err.startswith("aectl: its only job failed: latent=-2")
