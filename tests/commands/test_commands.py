"""Each real command, in-process, from the command line to what it leaves on the disk."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from PIL import Image

from aectl.data.noise import NOISES
from aectl.runs import checkpoint, layout

pytestmark = pytest.mark.usefixtures("without_pictures")

DAE = [*SMALL, "model=dae", "latent=6"]


def opened(path: Path) -> tuple[tuple[int, int], str]:
    """Size and mode of a picture."""
    with Image.open(path) as image:
        return image.size, image.mode


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.pictures
def test_train_then_eval_sample_and_denoise(aectl, only_run, tmp_path):
    trained = aectl("train", *SMALL)
    assert trained.status == 0, trained.err
    assert "kl_weight 1 = 0.001276 on the scale of a per-pixel mean over 784 pixels" in trained.out
    run = only_run()
    assert f"aectl eval run={run.relative_to(tmp_path)}" in trained.out
    assert (run / "train.log").read_text().count("epoch") >= 2
    assert len([line for line in trained.out.splitlines() if line.startswith("epoch ")]) == 2

    evaluated = aectl("eval")
    assert evaluated.status == 0, evaluated.err
    (folder,) = (tmp_path / "outputs/eval").iterdir()
    found = json.loads((folder / "metrics.json").read_text())
    for name in ("recon", "kl", "elbo", "loss", "mse", "sse", "psnr", "ssim", "active_units", "pca_mse",
                 "mean_image_mse", "knn_accuracy", "linear_probe_accuracy"):  # fmt: skip
        assert isinstance(found[name], float | int), name
        assert name in evaluated.out
    assert found["elbo"] == pytest.approx(-(found["recon"] + found["kl"]))
    assert found["sse"] == pytest.approx(784 * found["mse"])
    assert "psnr_denoised" not in found
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names == {"reconstructions", "latent_plane", "latent_kl", "errors", "prior_samples"}

    for mode in ("prior", "grid", "posterior", "interpolate", "traverse"):
        sampled = aectl("sample", f"mode={mode}", "n=16", f"hydra.run.dir={tmp_path / mode}")
        assert sampled.status == 0, sampled.err
        images = sorted((tmp_path / mode / "images").iterdir())
        assert len(images) == {"traverse": 9, "posterior": 3 * 5}.get(mode, 16)  # rows of 9; of 5 for three labels
        assert opened(images[0]) == ((28, 28), "L")
        assert opened(tmp_path / mode / "grid.png")[1] == "RGB"


@pytest.mark.parametrize(
    ("overrides", "name"),
    [(["dataset.binarize=dynamic"], "nll"), (["dataset.binarize=threshold", "model=iwae"], "nll"),
     ([], "grey_bce_bound"), (["likelihood=gaussian", "likelihood.learn=true"], "nll"),
     (["likelihood=continuous_bernoulli"], "nll"), (["likelihood=logistic256"], "nll")],
)  # fmt: skip
def test_the_bound_is_called_nll_only_where_it_is_one(aectl, tmp_path, overrides, name):
    aectl("train", *SMALL, *overrides)
    assert aectl("eval", "nll_samples=20", "nll_repeats=2", f"hydra.run.dir={tmp_path / 'e'}").status == 0
    found = json.loads((tmp_path / "e/metrics.json").read_text())
    assert ({"nll", "grey_bce_bound"} & set(found)) == {name}
    assert ("bits_per_dim" in found) == (name == "nll")
    of_levels = name == "nll" and not any("gaussian" in one or "continuous" in one for one in overrides)
    assert ("elbo_bits_per_dim" in found) == of_levels
    assert ("recon_floor" in found) == (name == "grey_bce_bound")
    assert found[name] < -found["elbo"] + 4 * found[f"{name}_se_draws"]
    assert found[f"{name}_se_images"] > 0
    assert (found["epoch_chosen_by"], found["sizes"]["test"]) == ("the validation objective", found["images"])


def test_an_ae_has_no_likelihood_to_estimate(aectl):
    aectl("train", *SMALL, "model=ae")
    refused = aectl("eval", "nll_samples=20")
    assert refused.status == 2
    assert "nll_samples=20" in refused.err


def test_samples_follow_their_seed(aectl, tmp_path):
    aectl("train", *SMALL)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert aectl("sample", "n=4", f"seed={seed}", f"hydra.run.dir={tmp_path / name}").status == 0
    first, again, other = ((tmp_path / name / "images/0000.png").read_bytes() for name in "abc")
    assert first == again != other


@pytest.mark.pictures
def test_an_ae_samples_from_a_mixture_and_says_so(aectl):
    aectl("train", *SMALL, "model=ae")
    sampled = aectl("sample", "n=9")
    assert sampled.status == 0, sampled.err
    assert "an AE has no prior" in sampled.out
    assert "Gaussian mixture" in sampled.out
    for mode in ("grid", "posterior", "traverse", "interpolate"):
        assert aectl("sample", f"mode={mode}", "n=9").status == 0


def test_a_dae_is_measured_against_doing_nothing_and_a_median(aectl, tmp_path):
    assert aectl("train", *DAE, "network=conv", "network.channels=[8,16]").status == 0
    measured = aectl("denoise")
    assert measured.status == 0, measured.err
    assert "doing nothing" in measured.out
    assert "3×3 median" in measured.out
    (folder,) = (tmp_path / "outputs/denoise").iterdir()
    assert (folder / "figures/denoised.png").is_file()
    aectl("eval")
    (folder,) = (tmp_path / "outputs/eval").iterdir()
    found = json.loads((folder / "metrics.json").read_text())
    for name in ("psnr_noisy", "psnr_denoised", "psnr_median", "ssim_noisy", "ssim_denoised"):
        assert isinstance(found[name], float)
    assert found["psnr"] == pytest.approx(found["psnr_denoised"], abs=1e-4)


def test_the_robustness_table_has_every_kind_at_three_strengths(aectl, tmp_path):
    assert aectl("train", *DAE, "noise.sigma=0.4", "epochs=6").status == 0
    shown = aectl("eval", "robustness=true", f"hydra.run.dir={tmp_path / 'e'}")
    assert shown.status == 0, shown.err
    rows = json.loads((tmp_path / "e/metrics.json").read_text())["robustness"]
    kinds = set(NOISES) - {"none", "mixture"}
    assert {row["noise"] for row in rows} == kinds
    assert len(rows) == 3 * len(kinds)
    for name in kinds:
        noisy = [row["noisy"] for row in rows if row["noise"] == name]
        assert noisy == sorted(noisy, reverse=True), name
    strongest = next(row for row in rows if (row["noise"], row["strength"]) == ("gaussian", 0.5))
    assert strongest["model"] > strongest["noisy"]
    assert strongest["nl_means"] > strongest["noisy"]
    assert "gaussian 0.5" in shown.out


def pictures(folder, n=3, size=(28, 28), mode="L"):
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(n):
        shape = (*size[::-1], 3) if mode == "RGB" else size[::-1]
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"picture {index}.png")
    return folder


def test_own_pictures_come_out_under_their_names_with_a_csv(aectl, tmp_path):
    aectl("train", *DAE)
    given = pictures(tmp_path / "in")
    result = aectl("denoise", "input=in", "output=out", "reference=in")
    assert result.status == 0, result.err
    for path in given.iterdir():
        assert opened(tmp_path / "out" / path.name) == ((28, 28), "L")
    rows = table(tmp_path / "out/psnr_ssim.csv")
    assert [row["name"] for row in rows] == [*sorted(path.name for path in given.iterdir()), "mean"]
    assert float(rows[0]["psnr_before"]) == 100
    assert 0 < float(rows[0]["psnr_after"]) < 40
    again = aectl("denoise", "input=in", "output=out")
    assert again.status == 6
    assert "overwrite=true" in again.err
    assert aectl("denoise", "input=in/picture 0.png", "output=out", "overwrite=true").status == 0


def test_bad_pictures_are_named(aectl, tmp_path):
    aectl("train", *DAE)
    pictures(tmp_path / "in")
    (tmp_path / "in/bad.png").write_bytes(b"<html>not found</html>")
    result = aectl("denoise", "input=in", "output=out")
    assert result.status == 3
    assert "bad.png: " in result.out
    for arguments, status in (
        (["input=nowhere", "output=out"], 3), (["input=in"], 2), (["output=out"], 2),
        (["input=in/picture 0.png", "output=in"], 6), (["input=in/picture 0.png", "output=in/picture 1.png"], 6),
        (["input=in/picture 0.png", "output=out", "reference=nowhere"], 3),
    ):  # fmt: skip
        result = aectl("denoise", *arguments)
        assert result.status == status, (arguments, result.err)
        assert len(result.err.strip().splitlines()) == 1


def test_resume_latest_goes_on_in_the_same_folder(aectl, only_run):
    aectl("train", *SMALL)
    resumed = aectl("train", "resume=latest", "epochs=3")
    assert resumed.status == 0, resumed.err
    run = only_run()
    assert checkpoint.newest(layout.checkpoints_of(run))[0].state["epoch"] == 3
    refused = aectl("train", "resume=latest", "lr=0.1")
    assert refused.status == 2
    assert "lr=0.1: a resumed run keeps its own settings" in refused.err
    missing = aectl("train", "resume=nowhere")
    assert missing.status == 4


def test_a_sweep_ends_with_one_table_and_a_failed_job_fails_it_but_not_the_others(aectl, tmp_path):
    swept = aectl("train", "-m", *SMALL, "latent=2,99999", "model=ae,vae", "epochs=1")
    assert swept.status == 2
    (folder,) = (tmp_path / "outputs/multirun").iterdir()
    rows = table(folder / "summary.csv")
    assert [(row["latent"], row["model"], row["status"].partition(",")[0]) for row in rows] == [
        ("2", "ae", "completed"), ("2", "vae", "completed"), ("99999", "ae", "failed"), ("99999", "vae", "failed"),
    ]  # fmt: skip
    assert all(float(row["val/loss"]) > 0 for row in rows[:2])
    assert "| job |" in swept.out
    assert "job 2 failed: latent=99999" in swept.out
    assert (folder / "0_ae-latent2/checkpoints").is_dir()
    good = aectl("train", "-m", *SMALL, "latent=2,3", "epochs=1")
    assert good.status == 0, good.err


def test_the_environment_does_not_reach_a_runs_files(aectl, tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_TEST_SECRET", "hunter2hunter2")
    trained = aectl("train", *SMALL, "data.root=${oc.env:AECTL_TEST_SECRET}")
    assert trained.status == 0, trained.err
    swept = aectl("train", "-m", *SMALL, "epochs=1", "data.root=${oc.env:AECTL_TEST_SECRET}", "latent=2,3")
    assert swept.status == 0, swept.err
    for path in (tmp_path / "outputs").rglob("*"):
        assert not path.is_file() or b"hunter2hunter2" not in path.read_bytes(), path


def test_a_folder_from_the_environment_is_used_and_no_other_variable_is_set(aectl, tmp_path, monkeypatch):
    folder = tmp_path / "sets"
    folder.mkdir()
    (folder / "train_32x32.mat").write_bytes(b"damaged")
    monkeypatch.setenv("AECTL_TEST_FOLDER", str(folder))
    for command in (("train", "dataset=svhn"), ("doctor",)):
        done = aectl(*command, "data.root=${oc.env:AECTL_TEST_FOLDER}")
        assert str(folder) in done.err + done.out
        assert [key for key, value in os.environ.items() if value == str(folder)] == ["AECTL_TEST_FOLDER"]


def test_two_starts_in_one_second_get_two_folders(aectl, tmp_path, monkeypatch):
    monkeypatch.setattr("aectl.cli.main.time.strftime", lambda pattern: "2026-01-01_00-00-00")
    aectl("train", *SMALL, "epochs=1")
    aectl("train", *SMALL, "epochs=1")
    assert len(list((tmp_path / "outputs/train").iterdir())) == 2


@pytest.mark.parametrize("command", ["eval", "sample", "denoise"])
def test_without_a_run_there_is_one_line_and_exit_code_4(aectl, command):
    result = aectl(command)
    assert result.status == 4
    assert len(result.err.strip().splitlines()) == 1
    assert "aectl train" in result.err


def test_a_checkpoint_that_does_not_fit_its_configuration_is_refused(aectl, only_run):
    aectl("train", *SMALL)
    (path, *_) = checkpoint.listing(layout.checkpoints_of(only_run()))
    saved = checkpoint.load(path)
    wrong = {
        "latent": {**saved.config, "train": {**saved.config["train"], "latent": 60000}},
        "shape": {**saved.config, "shape": [1, 65536, 65536]},
        "type": {**saved.config, "train": {**saved.config["train"], "latent": "2"}},
        "missing": {"shape": [1, 28, 28]},
    }
    for config in wrong.values():
        checkpoint.save(path.parent, 99999999, saved.model, config, saved.trainer, saved.state)
        result = aectl("sample", f"run={path.parent / 'step-99999999'}")
        assert result.status == 4, result.err
        assert len(result.err.strip().splitlines()) == 1
    bad = {name: tensor * torch.nan for name, tensor in saved.model.items()}
    checkpoint.save(path.parent, 99999999, bad, saved.config, saved.trainer, saved.state)
    assert "not finite" in aectl("sample", f"run={path.parent / 'step-99999999'}").err
    assert aectl("sample", f"run={path}").status == 0


def test_devices_and_folders_that_are_not_there(aectl, tmp_path):
    if not torch.cuda.is_available():
        result = aectl("train", *SMALL, "device=cuda")
        assert result.status == 7
        assert "device=cuda: not available here" in result.err
    (tmp_path / "file").write_text("")
    result = aectl("train", *SMALL, "hydra.run.dir=file")
    assert result.status == 6
    assert "file" in result.err


def test_paths_need_no_quoting(aectl, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    aectl("train", *DAE, "hydra.run.dir=~/my run's, ü 数字")
    run = tmp_path / "my run's, ü 数字"
    assert checkpoint.listing(layout.checkpoints_of(run))
    given = pictures(tmp_path / "bilder (neu)")
    result = aectl("denoise", f"run={run}", f"input={given}", "output=~/sauber & neu", f"reference={given}")
    assert result.status == 0, result.err
    assert len(list((tmp_path / "sauber & neu").glob("picture *.png"))) == 3


def test_the_flag_for_sweeps_may_stand_anywhere(aectl, tmp_path):
    assert aectl("train", *SMALL, "epochs=1", "-m", "latent=2,3").status == 0
    assert len(list((tmp_path / "outputs/multirun").glob("*/*/result.json"))) == 2


@pytest.mark.pictures
def test_parts_of_one_image_are_enough(aectl):
    few = ["dataset.synthetic_size=10", "dataset.val_size=0", "dataset.test_size=9", "epochs=1"]
    assert aectl("train", *SMALL, "model=ae", *few).status == 0
    for arguments in (["eval"], ["eval", "split=train"], ["sample", "mode=grid"], ["sample", "mode=traverse"]):
        result = aectl(*arguments)
        assert result.status == 0, result.err
    assert aectl("sample", "mode=prior").status == 3


def test_a_run_may_keep_no_test_image_and_says_so_where_one_is_needed(aectl):
    few = ["dataset.synthetic_size=10", "dataset.val_size=0", "dataset.test_size=0", "epochs=1"]
    assert aectl("train", *SMALL, *few, "noise=gaussian").status == 0
    assert aectl("sample", "n=1").status == 0
    for arguments, remedy in (
        (["eval"], "choose another split"), (["denoise"], "give input="), (["encode", "output=c.npz"], "give input="),
        (["sample", "mode=posterior"], "such as prior"), (["sample", "mode=interpolate"], "such as prior"),
    ):  # fmt: skip
        result = aectl(*arguments)
        assert result.status == 3
        assert "split=test: is empty in this run (dataset.test_size=0)" in result.err
        assert remedy in result.err
    assert "(dataset.val_size=0); choose another split" in aectl("eval", "split=val").err


@pytest.mark.pictures
def test_one_latent_and_colour_and_odd_sizes_go_through_everything(aectl):
    odd = ["dataset.synthetic_shape=[3,9,40]", "latent=1", "network=conv", "network.channels=[4,8]", "epochs=1"]
    assert aectl("train", *SMALL, *odd, "noise=speckle").status == 0
    for arguments in (["eval"], ["denoise"], *(["sample", f"mode={mode}"] for mode in ("prior", "traverse"))):
        result = aectl(*arguments)
        assert result.status == 0, result.err
    assert aectl("sample", "mode=grid").status == 2


def test_a_diverged_run_says_so_in_its_log_and_can_be_inspected(aectl, only_run):
    result = aectl("train", *SMALL, "lr=1e30", "epochs=3")
    assert result.status == 5
    assert "is not finite in step" in result.err
    assert "is not finite in step" in (only_run() / "train.log").read_text()
    doctor = aectl("doctor", "run=latest")
    assert doctor.status == 0, doctor.err
    assert "whole" in doctor.out


def test_the_doctor_names_a_damaged_checkpoint(aectl, only_run):
    aectl("train", *SMALL)
    (path, *_) = checkpoint.listing(layout.checkpoints_of(only_run()))
    (path / "model.safetensors").write_bytes(b"")
    result = aectl("doctor", "run=latest")
    assert result.status == 4
    assert "DAMAGED" in result.out
    assert "operators" in result.out
    assert aectl("doctor", "run=nowhere").status == 4


def test_resume_takes_a_run_and_only_more_epochs(aectl, only_run):
    aectl("train", *SMALL)
    (path, *_) = checkpoint.listing(layout.checkpoints_of(only_run()))
    assert aectl("train", f"resume={path}").status == 2
    assert aectl("train", "resume=latest", "epochs=1").status == 2
    done = aectl("train", "resume=latest")
    assert done.status == 0
    assert "nothing is left to train" in done.out


def test_a_command_that_fails_removes_no_file_that_it_has_not_made(aectl, tmp_path):
    (tmp_path / "mine").mkdir()
    for path in (tmp_path / "mine.log", tmp_path / "mine/mine.log"):
        path.write_text("a year's work")
    assert aectl("doctor", "run=nowhere").status == 4
    assert aectl("eval", "run=nowhere", "hydra.run.dir=mine").status == 4
    for path in (tmp_path / "mine.log", tmp_path / "mine/mine.log"):
        assert path.read_text() == "a year's work"
