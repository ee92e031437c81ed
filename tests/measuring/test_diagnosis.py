"""Every sentence of `aectl eval`, on tables made for it."""

import json
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from conftest import SMALL, replace_checkpoint
from PIL import Image

from aectl.data import noise as noises
from aectl.measuring import evaluation, figures, importance
from aectl.measuring.diagnosis import diagnose
from aectl.measuring.figures import Figure
from aectl.measuring.importance import Bound
from aectl.models.autoencoder import Ae, Vae
from aectl.models.base import ModelChoice
from aectl.models.likelihoods.bernoulli import ContinuousBernoulli
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.models.objectives import Elbo
from aectl.models.table import build_model
from aectl.runs import checkpoint, layout
from aectl.runs.opening import Progress, Run
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

SHAPE = (1, 8, 8)
AE, VAE = Ae(), Vae(posterior="logvar")
UNET = Unet(channels=[4], blocks=1)
NOISE = noises.Gaussian(sigma=0.2)


def run_of(model: ModelChoice = VAE, *, step: int = 300, epoch: int = 3, **changes) -> Run:
    config = train_config(**{"model": model, "latent": 4, "network": Mlp(hidden=[4]), **changes})
    return Run(Path("run"), None, config, SHAPE, Progress(step, epoch), build_model(config, SHAPE), "")


def table(errors: dict[str, float] | None = None, **figures) -> dict:
    """Figures of 500 images, all of it well but for what is given."""
    plain = {
        "images": 500, "active_units": 4, "loss": 25.0, "recon": 20.0, "kl": 5.0, "elbo": -25.0,
        "mse": 0.02, "mean_image_mse": 0.06, "pca_mse": 0.04, "pca_components": 4,
    }  # fmt: skip
    known = {"mse - mean_image_mse": 0.001, "mse - pca_mse": 0.001, **(errors or {})}
    return {**plain, **figures, "standard_errors": known}


def said(run: Run, found: dict, about: str) -> str:
    """The one sentence with these words; empty where there is none."""
    sentences = [sentence for sentence in diagnose(run, found) if about in sentence]
    assert len(sentences) < 2
    return sentences[0] if sentences else ""


# ---------------------------------------------------------------------------------------- too early


def test_weights_that_were_never_trained_are_no_diagnosis():
    (sentence,) = diagnose(run_of(step=0, epoch=0), table(active_units=0, mse=0.06, psnr_denoised=3.0))
    assert "step 0, the weights that training starts from" in sentence
    assert "smaller lr" in sentence
    assert diagnose(run_of(step=37, epoch=0), table(active_units=0)) == [
        "This checkpoint is of step 37, in the first epoch: too early for a diagnosis."
    ]


# ------------------------------------------------------------------------------------------ latents


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "to use them, try a lower kl_weight or kl_warmup."),
        ({"kl_warmup": 5.0}, "try a lower kl_weight or a longer kl_warmup."),
        ({"objective": Elbo(free_bits=0.001)}, "try a lower kl_weight, more objective.free_bits or kl_warmup."),
        (
            {"objective": Elbo(free_bits=1000.0)},
            "not because of the KL, which costs them nothing with objective.free_bits=1000.",
        ),
        (
            {"objective": Elbo(free_bits=0.005)},
            "not because of the KL, which costs them nothing with objective.free_bits=0.005.",
        ),
        ({"kl_weight": 0.0}, "not because of the KL, which costs them nothing with kl_weight=0."),
    ],
)
def test_collapsed_latents_are_told_with_advice_that_can_help(changes, words):
    sentence = said(run_of(**changes), table(active_units=1), "collapsed")
    assert sentence.startswith("3 of 4 latents are collapsed, hardly depending on the image: ")
    assert sentence.endswith(words)


def test_one_latent_is_one():
    assert "1 of 4 latents is collapsed" in said(run_of(), table(active_units=3), "collapsed")
    assert said(run_of(), table(active_units=4), "collapsed") == ""


def test_of_an_aes_small_codes_no_more_is_said_than_that_they_are_small():
    (sentence,) = (one for one in diagnose(run_of(AE), table(active_units=2)) if "latents" in one)
    assert "2 of 4 latents vary little" in sentence
    assert "no scale of their own" in sentence
    assert "collapsed" not in sentence


def test_few_images_do_not_show_that_a_latent_is_collapsed():
    assert said(run_of(), table(images=9, active_units=0), "latents") == ""
    found = table(images=1, mse=0.01, psnr_denoised=1.0, psnr_noisy=2.0, psnr_median=2.0)
    del found["active_units"], found["standard_errors"]
    assert diagnose(run_of(), found) == [
        "One image: no figure has a standard error, so that no difference is sure, and no latent varies."
    ]


# --------------------------------------------------------------------------- the mean image and PCA


@pytest.mark.parametrize(
    ("mse", "words"),
    [
        (0.0610, "The reconstructions are no better than the mean image, within the standard error."),
        (0.0585, "The reconstructions are no better than the mean image, within the standard error."),
        (0.0575, "The reconstructions are hardly better than the mean image: the error is 4% less."),
        (0.0630, "The error is 5% above that of the mean image: train it anew with more epochs than 20."),
        (0.1200, "The error is 2 times that of the mean image: train it anew with more epochs than 20."),
        (33.000, "The error is 550 times that of the mean image: train it anew with "),
        (1e30, "The error is more than a million times that of the mean image"),
    ],
)
@pytest.mark.parametrize("changes", [{}, {"network": UNET, "model": AE}, {"noise": NOISE}])
def test_the_error_beside_the_mean_image(mse, words, changes):
    sentences = diagnose(run_of(**changes), table(mse=mse))
    assert sentences[0].startswith(words)
    assert not any("PCA" in sentence or "the code is not" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("lr", "mse", "tips"),
    [
        (1e-6, 0.063, "train it anew with more epochs than 20 or a larger lr than 1e-06."),
        (0.5, 0.063, "train it anew with a smaller lr than 0.5, model.logvar_clip=[-20,5] or grad_clip=1."),
        (0.5, 1e30, "train it anew with a smaller lr than 0.5, model.logvar_clip=[-20,5] or grad_clip=1."),
    ],
)
def test_what_to_try_where_the_error_is_above_the_mean_images_fits_the_lr(lr, mse, tips):
    assert diagnose(run_of(lr=lr), table(mse=mse))[0].endswith(tips)


@pytest.mark.parametrize(
    ("mse", "pca", "words"),
    [
        (0.0300, 0.040, "Its error is 25% below that of PCA with 4 components."),
        (0.0001, 0.040, "Its error is more than 99% below that of PCA with 4 components."),
        (
            0.0391,
            0.040,
            "Its error cannot be told from that of PCA with 4 components, within the standard error (0.0391 and 0.04",
        ),
        (0.0416, 0.040, "Its error cannot be told from that of PCA with 4 components, within the standard error"),
        (0.0480, 0.040, "Its error is 20% above that of PCA with 4 components: PCA pays no KL."),
        (0.0300, 0.010, "Its error is 3 times that of PCA with 4 components: PCA pays no KL."),
        (0.0300, 3e-5, "Its error is 1,000 times that of PCA with 4 components: PCA pays no KL."),
        (0.0300, 1e-13, "Its error is more than a million times that of PCA with 4 components: PCA pays no KL."),
        (0.0300, 1e-33, "PCA with 4 components reconstructs these images exactly; the error here is 0.03 per pixel."),
        (0.0300, 0.0, "PCA with 4 components reconstructs these images exactly; the error here is 0.03 per pixel."),
        (0.0000, 0.0, "PCA with 4 components reconstructs these images exactly; the error here is 0 per pixel."),
    ],
)
def test_the_error_beside_pca(mse, pca, words):
    assert said(run_of(), table(mse=mse, pca_mse=pca), "PCA").startswith(words)


def test_without_a_weight_on_the_kl_a_vae_has_no_excuse():
    assert said(run_of(kl_weight=0.0), table(mse=0.05), "PCA").endswith("can reach that; train longer.")


def test_pca_is_no_measure_of_a_denoiser_and_has_its_own_words_for_an_ae():
    assert said(run_of(noise=NOISE), table(), "PCA") == ""
    worse = said(run_of(AE), table(mse=0.05), "PCA")
    assert worse.endswith(
        "25% above that of PCA with 4 components: a linear autoencoder can reach that; train longer."
    )


def test_where_images_vary_in_fewer_directions_than_there_are_latents():
    sentence = said(run_of(), table(pca_components=1), "PCA")
    assert (
        sentence == "Its error is 50% below that of PCA with 1 component (in more the training images do not vary)."
    )
    assert said(run_of(), table(pca_components=0), "PCA") == ""


def test_images_that_do_not_vary_are_compared_with_nothing():
    for mse in (0.0, 1e-9, 0.5):
        found = table(mse=mse, mean_image_mse=0.0, pca_mse=0.0, pca_components=0)
        assert diagnose(run_of(), found) == [
            "These images are the mean training image: they do not vary, so there is nothing to reconstruct."
        ]


# --------------------------------------------------------------------------------------- likelihoods


@pytest.mark.parametrize(
    ("recon", "words"),
    [(100.5, "is 0.50 nats above it, about as low as it can be."), (103.0, "is 3.00 nats above it."),
     (99.9999999, "is 0.00 nats above it, about as low as it can be.")],
)  # fmt: skip
def test_grey_pixels_have_a_floor(recon, words):
    sentence = said(run_of(), table(recon=recon, recon_floor=100.0), "entropy")
    assert "entropy of 100.00 nats per image" in sentence
    assert sentence.endswith(words)


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_pixels_that_are_nearly_binary_have_none_worth_a_word(floor):
    assert said(run_of(), table(recon_floor=floor), "entropy") == ""


def test_a_density_is_compared_with_its_own_kind():
    figures = {"nll": -30.0, "nll_scarce": 0.0}
    gaussian = run_of(likelihood=Gaussian(sigma=0.5))
    assert "a density over the real line" in said(gaussian, table(**figures), "density")
    continuous = run_of(likelihood=ContinuousBernoulli())
    assert "a density over [0, 1]" in said(continuous, table(**figures), "density")
    assert said(run_of(), table(**figures), "density") == ""
    assert said(gaussian, table(), "density") == ""


@pytest.mark.parametrize("name", ["nll", "grey_bce_bound"])
def test_too_few_effective_draws(name):
    def sentence(scarce, **figures):
        values = {"": 84.0, "_se_draws": 0.03, "_samples": 5000, "_repeats": 1, "_effective_samples": 1.3}
        values |= {f"_{key}": value for key, value in figures.items()}
        found = table(**{f"{name}{key}": value for key, value in values.items() if value is not None})
        return said(run_of(), {**found, f"{name}_scarce": scarce}, "Too few draws")

    assert sentence(0.93) == (
        "Too few draws: 93% of the images have fewer than 10 effective ones (the median is 1.3 of 5,000), so "
        f"{name} is too high by an unknown amount, and {name}_se_draws, estimated from the same draws, too small; "
        "raise nll_samples."
    )
    assert sentence(0.09) == ""
    assert "100% of the images" in sentence(1.0)
    assert "too small" not in sentence(0.5, repeats=4)
    assert f", and one draw gives no {name}_se_draws;" in sentence(1.0, se_draws=None, samples=1)


# ----------------------------------------------------------------------------------------- denoising


@pytest.mark.parametrize(
    ("noisy", "median", "words"),
    [
        (10.0, 14.0, "8.00 dB better than the noisy ones and 4.00 dB better than a 3×3 median of them."),
        (10.0, 20.0, "8.00 dB better than the noisy ones and 2.00 dB worse than a 3×3 median of them."),
        (
            18.3,
            17.9,
            "not to be told from the noisy ones (-0.30 dB, within the standard error) and not to be told from a 3×3 "
            "median of them (+0.10 dB, within the standard error).",
        ),
        (18.0, 18.0, "as good as the noisy ones and as good as a 3×3 median of them."),
    ],
)
def test_denoising_beside_doing_nothing_and_a_median(noisy, median, words):
    errors = {"psnr_denoised - psnr_noisy": 0.2, "psnr_denoised - psnr_median": 0.2}
    found = table(errors, psnr_denoised=18.0, psnr_noisy=noisy, psnr_median=median)
    assert said(run_of(noise=NOISE), found, "denoised") == f"The denoised images are {words}"


def test_a_difference_that_rounds_to_nothing_is_none():
    errors = {"psnr_denoised - psnr_noisy": 0.0, "psnr_denoised - psnr_median": 0.0}
    found = table(errors, psnr_denoised=18.001, psnr_noisy=18.0, psnr_median=18.0)
    assert "better" not in said(run_of(noise=NOISE), found, "denoised")


def test_an_ae_is_told_to_have_no_prior_and_a_unet_has_no_code():
    assert "no prior" in said(run_of(AE), table(), "no prior")
    assert said(run_of(), table(), "no prior") == ""
    assert said(run_of(AE, network=UNET, noise=NOISE), table(), "no prior") == ""


# ------------------------------------------------------------------------------------------ the table


def test_the_table_has_standard_errors_units_and_words_beside_the_figures():
    found = [
        figures.mean("mse", torch.tensor([0.01, 0.03]), "per pixel"),
        Figure("nll", 84.5, figures.NATS, words="(31.2 effective draws of 5,000)"),
        Figure("active_units", 2),
    ]
    lines = list(figures.lines({"epoch": 3}, found))
    assert lines == [
        "  epoch         3",
        "  mse           0.0200 ± 0.0100 per pixel",
        "  nll           84.5000 nats per image (31.2 effective draws of 5,000)",
        "  active_units  2",
    ]


@pytest.mark.parametrize(("scarce", "words"), [(0.02, "5,000)"), (0.6, "5,000, too few)")])
def test_a_bound_has_its_effective_draws_beside_it(monkeypatch, scarce, words):
    bound = Bound(mean=84.5, se_images=0.2, se_draws=None, effective_samples=31.25, scarce=scarce)
    monkeypatch.setattr(importance, "bound", lambda *args: bound)
    model = Mock(likelihood=Mock(binary=False))
    subject = Mock(grey=False, model=model, images=[0], pixels=784, seed=0)
    nll, *others = evaluation.bound(subject, 5000, 1)
    assert nll.line == f"84.5000 nats per image (31.2 effective draws of {words}"
    assert {one.name: one.line for one in others}["nll_se_images"] == "0.2000 nats"
    assert "nll_se_draws" not in {one.name for one in others}


# ----------------------------------------------------------------------------------------- commands


def test_eval_of_a_run_that_diverged_at_once_says_that_nothing_is_learnt(aectl):
    assert aectl("train", *SMALL, "lr=1e36", "figures_every=0", "model.posterior=std").status == 5
    shown = aectl("eval")
    assert shown.status == 0, shown.err
    assert "the weights that training starts from" in shown.out
    assert "collapsed" not in shown.out


def test_weights_from_which_no_number_comes_are_a_checkpoint_of_no_use(aectl, only_run):
    assert aectl("train", *SMALL, "epochs=1", "figures_every=0").status == 0
    saved = checkpoint.newest(layout.checkpoints_of(only_run()))[0]
    replace_checkpoint(saved, model={name: torch.full_like(value, 1e38) for name, value in saved.model.items()})
    refused = aectl("eval")
    assert refused.status == 4
    assert len(refused.err.strip().splitlines()) == 1
    assert "its loss or its codes of test images are not finite" in refused.err


def test_images_of_one_value_are_measured(aectl, tmp_path):
    """A single pixel: PCA has one component at most, and no error."""
    (tmp_path / "pixels").mkdir()
    for value in range(60):
        Image.new("L", (1, 1), value * 4).save(tmp_path / f"pixels/{value}.png")
    settings = ("dataset=folder", "dataset.root=pixels", "model=vae", "network.hidden=[4]", "epochs=1", "threads=1")
    assert aectl("train", *settings, "figures_every=0", "device=cpu").status == 0
    shown = aectl("eval", f"hydra.run.dir={tmp_path / 'e'}")
    assert shown.status == 0, shown.err
    found = json.loads((tmp_path / "e/metrics.json").read_text())
    assert found["pca_mse"] == pytest.approx(0, abs=1e-20)
    assert found["pca_components"] == 1


@pytest.mark.pictures
@pytest.mark.parametrize("model", ["ae", "vae"])
def test_one_image_for_validation_and_one_for_the_test(aectl, tmp_path, model):
    few = ("dataset.val_size=1", "dataset.test_size=1", "latent=3", f"model={model}", "epochs=1")
    assert aectl("train", "-m", *SMALL, *few).status == 0
    (run,) = tmp_path.glob("outputs/multirun/*/0_*")
    assert (run / "figures/latent_scatter.png").is_file()
    more = ("nll_samples=12",) if model == "vae" else ()
    shown = aectl("eval", f"run={run}", *more, f"hydra.run.dir={tmp_path / 'e'}")
    assert shown.status == 0, shown.err
    assert {"latent_scatter", "latent_plane"} <= {path.stem for path in (tmp_path / "e/figures").iterdir()}
    found = json.loads((tmp_path / "e/metrics.json").read_text())
    assert None not in found.values()
    assert not [name for name in found if "se_images" in name or name in ("standard_errors", "active_units")]
    assert "One image: no figure has a standard error" in shown.out
    reported = aectl("report")
    assert reported.status == 0, reported.err


def test_without_validation_images_the_run_says_nothing_of_them(aectl, only_run):
    assert aectl("train", *SMALL, "dataset.val_size=0", "latent=3", "epochs=1").status == 0
    record = json.loads((only_run() / "metrics.jsonl").read_text())
    assert not [name for name in record if name.startswith("val/")]
    assert aectl("eval").status == 0
