"""Figures of a set of images: the same at any batch size, and only those that a model has."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from conftest import SMALL, replace_checkpoint

from aectl.data import noise as noises
from aectl.data.images import Images, to_float
from aectl.measuring import importance
from aectl.measuring.scoring import batches, codes_of, score
from aectl.models.autoencoder import Ae, Vae
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.unet import Unet
from aectl.models.objectives import Elbo, Iwae, TotalCorrelation
from aectl.models.priors import MixturePrior, VampPrior
from aectl.models.table import build_model
from aectl.runs import checkpoint, layout
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")
SHAPE = (1, 8, 10)
IMAGES = Images(torch.randint(256, (53, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8), None)
NOISES = {
    "gaussian": noises.Gaussian(sigma=0.3),
    "a sigma of its own": noises.Gaussian(sigma=0.1, sigma_max=0.6),
    "masking": noises.Masking(p=0.4),
    "salt_pepper": noises.SaltPepper(p=0.4),
    "speckle": noises.Speckle(sigma=0.5),
    "poisson": noises.Poisson(peak=9),
    "blocks": noises.Blocks(p=0.3, side=3),
    "blur": noises.Blur(sigma=1.0),
    "jpeg": noises.Jpeg(quality=20),
    "mixture": noises.Mixture(kinds=["gaussian", "masking", "poisson", "blocks", "blur", "jpeg"]),
    "none": noises.Clean(),
}
VAE = Vae(posterior="logvar")
MODELS = {
    "ae": {"model": Ae()},
    "vae": {"model": VAE},
    "iwae": {"model": VAE, "objective": Iwae(samples=4)},
    "vamp": {"model": VAE, "prior": VampPrior(components=6)},
    "mixture": {"model": VAE, "prior": MixturePrior(components=5)},
    "tc": {"model": VAE, "objective": TotalCorrelation()},
}


def loss_of(name: str):
    return MODELS[name].get("objective", Elbo()).on(len(IMAGES), 16)


def model_of(name: str, **changes):
    torch.manual_seed(0)
    settings = {"latent": 3, "network": Mlp(hidden=[12]), **MODELS[name]}
    return build_model(train_config(**{**settings, **changes}), SHAPE).eval()


def drawn(noise: noises.Noise, batch_size: int, seed: int = 0) -> list[torch.Tensor]:
    """(x, x̃, ε) of all images."""
    model = model_of("iwae")
    parts = list(batches(IMAGES, noise, CPU, seed, batch_size, model.draw))
    assert max(len(x) for x, _, _ in parts) <= batch_size
    return [torch.cat(column, dim=dim) for column, dim in zip(zip(*parts, strict=True), (0, 0, 1), strict=True)]


@pytest.mark.parametrize("noise", NOISES)
def test_noise_and_draws_of_an_image_do_not_depend_on_the_batch_size(noise):
    whole = drawn(NOISES[noise], 500)
    assert torch.equal(whole[0], to_float(IMAGES.pixels))
    assert whole[2].shape == (4, 53, 3)
    for size in (1, 7, 20, 33):
        assert all(torch.equal(a, b) for a, b in zip(whole, drawn(NOISES[noise], size), strict=True)), size
    if noise not in ("none", "blur", "jpeg"):
        assert not torch.equal(whole[1], drawn(NOISES[noise], 500, seed=1)[1])


def test_every_image_has_noise_and_draws_of_its_own():
    x, x_noisy, eps = drawn(noises.Gaussian(sigma=0.3, clip=False), 500)
    assert len((x_noisy - x).flatten(1).round(decimals=4).unique(dim=0)) == len(x)
    assert len(eps.transpose(0, 1).flatten(1).unique(dim=0)) == len(x)


@pytest.mark.parametrize("name", [*MODELS, "free bits"])
def test_the_objective_does_not_depend_on_the_batch_size(name):
    model, corrupt = model_of("vae" if name == "free bits" else name), NOISES["gaussian"]
    loss = Elbo(free_bits=0.05) if name == "free bits" else loss_of(name)
    whole = score(model, loss, IMAGES, corrupt, 0.7, CPU, batch_size=500).named()
    for size in (3, 20, 32):
        found = score(model, loss, IMAGES, corrupt, 0.7, CPU, batch_size=size).named()
        assert found == pytest.approx(whole, rel=1e-6, abs=1e-6), size


def test_free_bits_go_by_the_mean_over_all_images():
    model = model_of("vae")
    with torch.inference_mode():
        code = model.encode(to_float(IMAGES.pixels))
    normal = torch.distributions.Normal
    posterior, prior = normal(code.mu, (0.5 * code.logvar).exp()), normal(torch.zeros(3), torch.ones(3))
    each = torch.distributions.kl_divergence(posterior, prior).mean(0)
    loss = Elbo(free_bits=each.median().item())  # so that some batches are above it and others below
    found = score(model, loss, IMAGES, NOISES["none"], 2.0, CPU, batch_size=9)
    figures = found.named()
    cost = 2.0 * each.clamp_min(loss.free_bits).sum().item()
    assert figures["loss"] - figures["recon"] == pytest.approx(cost, rel=1e-4)
    assert figures["kl"] == pytest.approx(each.sum().item(), rel=1e-5)
    torch.testing.assert_close(found.latent_kl.float(), each, rtol=1e-4, atol=1e-6)


def test_the_figures_of_each_image_have_the_means_as_their_means():
    found = score(model_of("vae"), Elbo(), IMAGES, NOISES["masking"], 1.0, CPU)
    assert set(found.each) == {"recon", "kl", "elbo"}
    for name, values in found.each.items():
        assert values.shape == (53,)
        assert values.mean().item() == pytest.approx(found.named()[name])
    assert found.loss == pytest.approx(-found.named()["elbo"])


def test_active_units_are_those_of_clean_images():
    """A noise that leaves nothing of an image: codes of what it leaves are all the same."""
    model = model_of("vae")
    with torch.no_grad():
        model.encoder[-1].weight.mul_(30)
    found = score(model, Elbo(), IMAGES, noises.Masking(p=1.0), 1.0, CPU)
    torch.testing.assert_close(found.codes, codes_of(model, IMAGES, CPU))
    assert found.active_units == 3
    assert score(model, Elbo(), IMAGES[:1], NOISES["none"], 1.0, CPU).active_units is None


def test_the_recon_of_iwae_is_the_mean_over_its_draws():
    model = model_of("iwae")
    (x, x_noisy, eps), *rest = batches(IMAGES, NOISES["none"], CPU, 0, 500, model.draw)
    assert not rest
    with torch.inference_mode():
        code = model.encode(x_noisy)
        each = [model.neg_log_prob(x, code.at(eps[draw : draw + 1])).mean().item() for draw in range(4)]
    found = score(model, loss_of("iwae"), IMAGES, NOISES["none"], 1.0, CPU)
    assert found.named()["recon"] == pytest.approx(sum(each) / 4, rel=1e-6)


@pytest.mark.parametrize("name", [*MODELS, "unet"])
def test_a_model_has_the_terms_that_it_names_and_a_point_has_no_kl(name):
    unet = Unet(channels=[4, 8], blocks=1)
    model = model_of("ae", network=unet, noise=NOISES["gaussian"]) if name == "unet" else model_of(name)
    x = to_float(IMAGES.pixels)
    terms = model.terms(x, x, model.draw(len(x), torch.Generator().manual_seed(0)))
    assert ("loss", *terms.means) == model.figures
    loss = Elbo() if name == "unet" else loss_of(name)
    found = score(model, loss, IMAGES, NOISES["none"], 1.0, CPU).named()
    wanted = {"loss", "recon", "active_units"} if name == "ae" else {"loss", "recon"}
    assert set(found) == (wanted if name in ("ae", "unet") else {*wanted, "active_units", "kl", "elbo"})


# ----------------------------------------------------------------------------------------- commands


def measured(aectl, folder: Path, *args: str) -> dict:
    """What `aectl eval` writes for the newest run."""
    done = aectl("eval", *args, f"hydra.run.dir={folder}")
    assert done.status == 0, done.err
    return json.loads((folder / "metrics.json").read_text())


def test_no_figure_of_eval_depends_on_the_batch_size(aectl, tmp_path):
    noisy = ("noise=salt_pepper", "objective.free_bits=0.1", "model=vae", "figures_every=0", "epochs=1")
    assert aectl("train", *SMALL, *noisy).status == 0
    whole, parts = (
        measured(aectl, tmp_path / size, "nll_samples=15", "nll_repeats=2", f"batch_size={size}")
        for size in ("500", "7")
    )
    for name, value in whole.items():
        if isinstance(value, float):
            assert parts[name] == pytest.approx(value, rel=1e-5), name
    assert whole["psnr_noisy"] == parts["psnr_noisy"]
    assert whole["standard_errors"] == pytest.approx(parts["standard_errors"], rel=1e-4)


def test_validation_and_eval_of_the_validation_images_agree_in_every_figure(aectl, only_run, tmp_path):
    settings = ("noise=gaussian", "noise.sigma=1", "noise.clip=false", "model=iwae", "latent=6", "figures_every=0")
    assert aectl("train", *SMALL, *settings).status == 0
    record = json.loads((only_run() / "metrics.jsonl").read_text().splitlines()[-1])
    found = measured(aectl, tmp_path / "e", "split=val", "checkpoint=last")
    validated = {name.removeprefix("val/"): value for name, value in record.items() if name.startswith("val/")}
    assert set(validated) == {"loss", "recon", "kl", "elbo", "active_units", "mse", "psnr"}
    for name, value in validated.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_an_ae_has_neither_kl_nor_elbo_anywhere(aectl, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    swept = aectl("train", "-m", *SMALL, "model=ae,vae", "epochs=1", "figures_every=0")
    assert swept.status == 0, swept.err
    (sweep,) = (tmp_path / "outputs/multirun").iterdir()
    header, ae, vae = list(csv.reader((sweep / "summary.csv").read_text().splitlines()))[:3]
    for name in ("val/kl", "val/elbo"):
        column = header.index(name)
        assert ae[column] == ""
        assert float(vae[column]) != 0
    runs_of = {path.name[2:4]: path for path in layout.jobs_of(sweep)}
    for kind, run in runs_of.items():
        shown = aectl("eval", f"run={run}", f"hydra.run.dir={tmp_path / kind}")
        assert shown.status == 0, shown.err
        tags = []
        for folder in (run, run / "validation"):
            events = EventAccumulator(str(folder))
            events.Reload()
            tags += events.Tags()["scalars"]
        record = json.loads((run / "metrics.jsonl").read_text())
        figures = json.loads((tmp_path / kind / "metrics.json").read_text())
        result = json.loads((run / "result.json").read_text())
        table = [line.split()[0] for line in shown.out.splitlines() if line.startswith("  ")]
        names = [*record, *result, *figures, *figures["standard_errors"], *tags, *table]
        about = {name for name in names if {"kl", "elbo"} & set(re.split("[/_ ]", name))}
        assert bool(about) == (kind == "va"), about
        assert {"train/recon", "val/recon", "val/active_units"} <= set(record)


def test_a_run_of_an_older_version_whose_ae_had_a_kl_is_resumed(aectl, only_run):
    assert aectl("train", *SMALL, "model=ae", "figures_every=0").status == 0
    run = only_run()
    saved = checkpoint.newest(layout.checkpoints_of(run))[0]
    replace_checkpoint(saved, trainer={**saved.trainer, "sums": torch.zeros(3, dtype=torch.float64)})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [{**line, "train/kl": 0.0, "train/elbo": -line["train/recon"], "val/kl": 0.0} for line in lines]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    resumed = aectl("train", "resume=latest", "epochs=3")
    assert resumed.status == 0, resumed.err
    assert "ELBO" not in resumed.out
    result = json.loads((run / "result.json").read_text())
    assert result["epochs"] == 3
    assert not {"train/kl", "val/kl", "train/elbo"} & set(result)
    assert "train/kl" not in json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])


@pytest.mark.parametrize("shape", [(), (1,), (1, 3)])
def test_running_sums_of_another_kind_are_refused_in_one_line(aectl, only_run, shape):
    assert aectl("train", *SMALL, "figures_every=0", "epochs=1").status == 0
    saved = checkpoint.newest(layout.checkpoints_of(only_run()))[0]
    replace_checkpoint(saved, trainer={**saved.trainer, "sums": torch.zeros(shape, dtype=torch.float64)})
    refused = aectl("train", "resume=latest", "epochs=2")
    assert refused.status == 4
    assert "sums" in refused.err
    assert len(refused.err.strip().splitlines()) == 1


# ------------------------------------------------------------------------------- the bound's own errors


class Weighted:
    """A stand-in for a VAE whose importance weights are given: 1 for each draw but the first, e^`favoured` for it."""

    per_value = 1

    def __init__(self, favoured: float):
        self.favoured = favoured
        self.prior = self.likelihood = self

    def parameters(self):
        return iter([torch.zeros(1)])

    def encode(self, x):
        return self

    def sample(self, rng, draws, shared):
        self.draws = draws
        return torch.zeros(draws, self.count, 1)

    def neg_log_prob_of_draws(self, x, z):
        found = torch.zeros(z.shape[:2])
        found[0] = -self.favoured
        return found

    def log_ratio(self, code, z):
        return torch.zeros(z.shape[:2])


def bound_of(favoured: float, samples: int, count: int = 8, repeats: int = 1) -> importance.Bound:
    model, x = Weighted(favoured), torch.zeros(count, 1, 2, 2)
    model.count = count
    return importance.bound(model, lambda: [(x, x, None)], count, samples, repeats, seed=0)


def test_effective_draws_and_how_many_images_have_too_few():
    even, one = bound_of(0.0, 40), bound_of(50.0, 40)
    assert (even.effective_samples, even.scarce) == (pytest.approx(40), 0.0)
    assert (one.effective_samples, one.scarce) == (pytest.approx(1), 1.0)
    middle = bound_of(3.0, 40)  # one weight of e³ beside 39 of 1
    total, squares = 2.718281828459045**3 + 39, 2.718281828459045**6 + 39
    assert middle.effective_samples == pytest.approx(total**2 / squares, rel=1e-6)
    assert middle.se_draws == pytest.approx(((squares / total**2 - 1 / 40) / 8) ** 0.5, rel=1e-5)


def test_what_one_image_or_one_draw_cannot_show_is_none():
    assert bound_of(1.0, 20, count=1).se_images is None
    assert bound_of(1.0, 20, count=1).se_draws is not None
    assert bound_of(1.0, 1).se_draws is None
    assert bound_of(1.0, 1, repeats=2).se_draws == 0


def test_few_effective_draws_are_told_beside_the_bound_and_in_a_sentence(aectl, tmp_path):
    settings = ("dataset.binarize=threshold", "figures_every=0", "epochs=1", "latent=12", "kl_weight=0")
    assert aectl("train", *SMALL, *settings).status == 0
    shown = aectl("eval", "nll_samples=30", f"hydra.run.dir={tmp_path / 'e'}")
    found = json.loads((tmp_path / "e/metrics.json").read_text())
    assert 1 <= found["nll_effective_samples"] < 10
    assert found["nll_scarce"] > 0.5
    (line,) = (line for line in shown.out.splitlines() if line.split()[:1] == ["nll"])
    assert f"({found['nll_effective_samples']:.1f} effective draws of 30, too few)" in line
    (sentence,) = (sentence for sentence in found["diagnosis"] if "Too few draws" in sentence)
    assert sentence in shown.out
    assert "nll_se_draws, estimated from the same draws, too small" in sentence
