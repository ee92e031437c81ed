"""What `aectl sample` draws and `encode` says, read back from the files: a linear decoder tells an image's code."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import Drawn
from linear import SHAPE, D, Linear, as_float32, basis, noise_blur, planted, principal_directions, spread_codes
from PIL import Image
from scipy.stats import kstest, norm
from skimage.metrics import peak_signal_noise_ratio

from aectl.files import codes as files
from aectl.models.autoencoder import Ae, Vae
from aectl.models.networks.mlp import Mlp
from aectl.models.table import build_model
from configs import train_config

CLOSE = 0.02  # of a code read back from pixels of 8 bits


def drawing(latent: int = 3, *, posterior: bool = True) -> dict[str, np.ndarray]:
    """Weights whose decoder gives images inside [0, 1] for codes of a few standard deviations."""
    weights = spread_codes(latent, posterior=posterior)
    return as_float32({**weights, "W": 0.45 * basis(latent), "b": np.full(D, 0.5)})


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> Linear:
    """Blurred images are what it was trained on; its codes here are of clean ones."""
    return planted(tmp_path_factory.mktemp("vae"), drawing(), noise=noise_blur())


@pytest.fixture(scope="module")
def ae(tmp_path_factory) -> Linear:
    return planted(tmp_path_factory.mktemp("ae"), drawing(posterior=False), model=Ae())


def images(folder: Path) -> np.ndarray:
    """The PNGs below a folder in the order of their names, (N, D), in [0, 1]."""
    found = []
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as image:
            found.append(np.asarray(image, dtype=np.float64).reshape(D) / 255)
    return np.stack(found)


def codes(aectl, tmp_path, run: Linear, mode: str, n: int) -> np.ndarray:
    """The codes of what `aectl sample` wrote, (M, K)."""
    done = aectl("sample", f"run={run.path}", f"mode={mode}", f"n={n}", f"hydra.run.dir={tmp_path / 's'}")
    assert done.status == 0, done.err
    return run.code_of(images(tmp_path / "s/images"))


def index_of(codes: np.ndarray, among: np.ndarray) -> list[int]:
    """Which rows of `among` the codes are, by being close."""
    distances = np.abs(codes[:, None] - among[None]).max(2)
    assert (distances.min(1) < CLOSE).all()
    return distances.argmin(1).tolist()


def test_the_prior_is_a_standard_normal(aectl, tmp_path, vae):
    z = codes(aectl, tmp_path, vae, "prior", 300)
    assert z.shape == (300, 3)
    for column in z.T:
        assert kstest(column, "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(z.T) - np.eye(3)).max() < 0.2


def test_an_autoencoders_samples_are_spread_as_its_codes_are(aectl, tmp_path):
    """Codes in two heaps, a pixel in the middle that is ink or paper: a single Gaussian would fill the gap."""
    weights = drawing(1, posterior=False)
    weights["A"], weights["a"] = np.zeros((D, 1)), np.array([-1.0])
    weights["A"][6 * SHAPE[2] + 6] = 4
    run = planted(tmp_path / "run", weights, model=Ae())
    train = run.mu(run.images["train"])[:, 0].round(1)
    z = codes(aectl, tmp_path, run, "prior", 400)[:, 0].round(1)
    assert kstest(z, train).statistic < 0.1
    assert abs(z.std() / train.std() - 1) < 0.1
    one = np.random.default_rng(0).normal(train.mean(), train.std(), 400)
    assert kstest(one, train).statistic > 0.2, "these codes tell a mixture from a Gaussian"
    # And not one component after the other: neighbours in the grid are as different as any two.
    assert np.abs(np.diff(z)).mean() > 0.7 * np.abs(z[:, None] - z[None]).mean()


def test_the_grid_is_at_the_middles_of_equally_likely_cells(aectl, tmp_path, vae):
    side = 5
    z = codes(aectl, tmp_path, vae, "grid", side * side).reshape(side, side, 3)
    middles = norm.ppf((np.arange(side) + 0.5) / side)
    np.testing.assert_allclose(z[..., 0], np.tile(middles, (side, 1)), atol=CLOSE)
    np.testing.assert_allclose(z[..., 1], np.tile(middles[::-1, None], (1, side)), atol=CLOSE, err_msg="top: large")
    np.testing.assert_allclose(z[..., 2], 0, atol=CLOSE)


def test_the_grid_of_an_autoencoder_spans_its_two_widest_latents(aectl, tmp_path, ae):
    side = 4
    train = ae.mu(ae.images["train"])
    first, second = sorted(np.argsort(train.var(0))[-2:])
    z = codes(aectl, tmp_path, ae, "grid", side * side).reshape(side, side, 3)
    low, high = np.percentile(train, [1, 99], axis=0)
    across, up = (np.linspace(low[axis], high[axis], side) for axis in (first, second))
    np.testing.assert_allclose(z[..., first], np.tile(across, (side, 1)), atol=CLOSE)
    np.testing.assert_allclose(z[..., second], np.tile(up[::-1, None], (1, side)), atol=CLOSE)
    (rest,) = {0, 1, 2} - {first, second}
    np.testing.assert_allclose(z[..., rest], train.mean(0)[rest], atol=CLOSE)


def test_posterior_rows_are_the_mean_and_draws_with_the_posteriors_spread(aectl, tmp_path, vae, drawn):
    z = codes(aectl, tmp_path, vae, "posterior", 80).reshape(10, 8, 3)
    x = vae.images["test"]
    which = index_of(z[:, 0], vae.mu(x))
    assert len(set(which)) == 10
    standard = (z[:, 1:] - z[:, :1]) / np.exp(vae.logvar(x[which])[:, None] / 2)
    for column in standard.reshape(-1, 3).T:
        assert kstest(column, "norm").pvalue > 1e-3
        assert column.std() == pytest.approx(1, abs=0.3)

    # The sheet has the images themselves first, and says which they are; as many of each label.
    lines, heads = sheet(drawn)
    assert heads == ["original", "mean", *(f"draw {number}" for number in range(1, 8))]
    np.testing.assert_allclose(lines[1][:, 0], x[which], atol=1e-6)
    assert lines[0] == [f"label {label}" for label in vae.labels["test"][which]]
    assert lines[0] == sorted(lines[0])
    assert sorted(lines[0].count(f"label {label}") for label in range(3)) == [3, 3, 4]
    check_decoded(vae, lines[1][:, 1:], z)


def test_each_label_has_a_row_of_draws_where_the_images_suffice(aectl, tmp_path, vae, drawn):
    z = codes(aectl, tmp_path, vae, "posterior", 15).reshape(3, 5, 3)  # 15 of three labels are 5 each
    (labels, _), heads = sheet(drawn)
    assert labels == ["label 0", "label 1", "label 2"]
    assert len(heads) == 6
    assert vae.labels["test"][index_of(z[:, 0], vae.mu(vae.images["test"]))].tolist() == [0, 1, 2]


def sheet(drawn: Drawn) -> tuple[tuple[list[str], np.ndarray], list[str]]:
    """Labels of the rows of the last sheet, its images (R, columns, D), and the heads of its columns."""
    lines, _, heads = drawn.sheets[-1]
    shown = np.stack([images.flatten(1).double().numpy() for _, images in lines])
    assert shown.shape[1] == len(heads)
    return ([label for label, _ in lines], shown), heads


def check_decoded(run: Linear, shown: np.ndarray, z: np.ndarray) -> None:
    """What stands in a sheet is the decoder's image of codes that were read back from the files."""
    np.testing.assert_allclose(shown.clip(0, 1), run.decode(z).clip(0, 1), atol=CLOSE)


@pytest.mark.parametrize("model", ["vae", "ae"])
def test_interpolations_are_even_steps_from_one_image_to_another(aectl, tmp_path, request, model, drawn):
    run = request.getfixturevalue(model)
    z = codes(aectl, tmp_path, run, "interpolate", 24).reshape(3, 8, 3)
    x, labels = run.images["test"], run.labels["test"]
    first, last = index_of(z[:, 0], run.mu(x)), index_of(z[:, -1], run.mu(x))
    assert not set(first) & set(last)
    for row, start, end in zip(z, run.mu(x)[first], run.mu(x)[last], strict=True):
        np.testing.assert_allclose(row, np.linspace(start, end, 8), atol=CLOSE)

    # Both images stand at the ends of the row that names them.
    lines, heads = sheet(drawn)
    assert heads == ["original", "0%", "14%", "29%", "43%", "57%", "71%", "86%", "100%", "original"]
    np.testing.assert_allclose(lines[1][:, 0], x[first], atol=1e-6)
    np.testing.assert_allclose(lines[1][:, -1], x[last], atol=1e-6)
    assert lines[0] == [f"label {labels[a]} → label {labels[b]}" for a, b in zip(first, last, strict=True)]
    check_decoded(run, lines[1][:, 1:-1], z)


@pytest.mark.parametrize("model", ["vae", "ae"])
def test_traversals_go_up_from_minus_to_plus_three_the_latent_that_tells_most_first(
    aectl, tmp_path, request, model, drawn
):
    run = request.getfixturevalue(model)
    z = codes(aectl, tmp_path, run, "traverse", 27).reshape(3, 9, 3)
    train = run.mu(run.images["train"])
    centre, spread = (np.zeros(3), np.ones(3)) if model == "vae" else (train.mean(0), train.std(0))
    worth = kl_of(run, run.images["train"]) if model == "vae" else train.var(0)
    for row, latent in zip(z, np.argsort(-worth), strict=True):
        expected = np.tile(centre, (9, 1))
        expected[:, latent] += np.linspace(-3, 3, 9) * spread[latent]
        # Three standard deviations take some pixels out of [0, 1]; those in it still tell the code.
        np.testing.assert_allclose(row, expected, atol=0.1)

    lines, heads = sheet(drawn)
    unit = "σ" if model == "vae" else " sd"
    assert (heads[0], heads[-1]) == (f"−3{unit}", f"+3{unit}")
    assert heads[4] == ("0" if model == "vae" else "mean")
    assert heads[2] == f"−1.5{unit}"
    said = [re.fullmatch(r"z(\d), (?:KL ([\d.]+) nats|variance ([\d.]+))", label) for label in lines[0]]
    for match, latent in zip(said, np.argsort(-worth), strict=True):
        assert int(match[1]) == latent + 1
        assert float(match[2 if model == "vae" else 3]) == pytest.approx(worth[latent], abs=0.006)


def kl_of(run: Linear, x: np.ndarray) -> np.ndarray:
    """KL of each latent, (K,), averaged over x (N, D), nats."""
    q = torch.distributions.Normal(torch.from_numpy(run.mu(x)), torch.from_numpy(np.exp(run.logvar(x) / 2)))
    return torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).mean(0).numpy()


def test_a_latent_of_large_kl_goes_before_one_that_varies_more(aectl, tmp_path, drawn):
    """A constant far from 0 has a KL and no variance."""
    weights = drawing()
    weights["a"] = weights["a"] + np.array([0.0, 0.0, 3.0])
    run = planted(tmp_path / "run", weights)
    assert np.argmax(kl_of(run, run.images["train"])) == 2 != np.argmax(run.mu(run.images["train"]).var(0))
    done = aectl("sample", f"run={run.path}", "mode=traverse", "n=9", f"hydra.run.dir={tmp_path / 's'}")
    assert done.status == 0, done.err
    assert [label.split(",")[0] for label in sheet(drawn)[0][0]] == ["z3"]
    assert "1 of 3 latents" in drawn.sheets[-1][1]


def test_the_map_names_values_and_quantiles_and_that_its_steps_are_unequal(aectl, tmp_path, vae, drawn):
    codes(aectl, tmp_path, vae, "grid", 16)
    axes = drawn.plot("the plane of z1 and z2")
    title = " ".join(axes.get_title().split())
    assert "at the quantiles (i + ½)/4 of N(0, I): equally likely, not equally far" in title
    assert "the other latents at their median" in title
    values = norm.ppf((np.arange(4) + 0.5) / 4)
    words = [f"{value:.2f}\n{share}%" for value, share in zip(values, (12.5, 37.5, 62.5, 87.5), strict=True)]
    words = [text.replace("-", "−") for text in words]
    for axis, length, expected in ((axes.xaxis, SHAPE[2], words), (axes.yaxis, SHAPE[1], words[::-1])):
        assert [label.get_text() for label in axis.get_ticklabels()] == expected
        np.testing.assert_allclose(axis.get_ticklocs(), (np.arange(4) + 0.5) * length - 0.5)


# ------------------------------------------------------------------------------------------- codes


def test_codes_in_a_file_are_those_of_clean_images_and_the_psnr_is_that_of_the_pictures_from_them(
    aectl, tmp_path, vae
):
    encoded = aectl("encode", f"run={vae.path}", "output=codes.npz")
    assert encoded.status == 0, encoded.err
    found = files.read(tmp_path / "codes.npz", 3)[1].numpy()
    x = vae.images["test"]
    np.testing.assert_allclose(found, vae.mu(x), atol=1e-4)
    assert aectl("decode", f"run={vae.path}", "input=codes.npz", "output=out").status == 0
    pairs = zip(x, images(tmp_path / "out"), strict=True)
    each = [peak_signal_noise_ratio(one, other, data_range=1) for one, other in pairs]
    psnr = np.mean(each)
    with np.load(tmp_path / "codes.npz") as beside:
        np.testing.assert_allclose(beside["psnr"], each, atol=0.1)  # theirs are of pictures in 8 bits
        np.testing.assert_allclose(beside["sigma"], np.exp(vae.logvar(x) / 2), rtol=1e-4)
        assert beside["labels"].tolist() == [str(label) for label in vae.labels["test"]]
    kept = re.search(r"(\d+) bytes a picture become (\d+): compression ([\d.]+) to 1, PSNR ([\d.]+) dB", encoded.out)
    assert [float(figure) for figure in kept.groups()] == [D, 12, D / 12, pytest.approx(psnr, abs=0.02)]


def test_pictures_that_the_run_gives_back_no_better_than_flat_ones_are_counted(aectl, tmp_path):
    mean, directions = principal_directions(6)
    weights = {"A": directions.T, "a": -(mean @ directions.T), "W": directions, "b": mean}
    run = planted(tmp_path / "pca", as_float32(weights), model=Ae())
    rng = np.random.default_rng(0)
    for name, images, unlike in (
        ("own", run.images["test"], False), ("noise", rng.random((40, D)), True),
        ("flat", np.repeat(rng.random((5, 1)), D, axis=1), True),
    ):  # fmt: skip
        x = np.rint(images * 255) / 255
        np.save(f"{name}.npy", x.reshape(-1, *SHAPE[1:]))
        again = (mean + (x - mean) @ directions.T @ directions).clip(0, 1)
        lost = np.count_nonzero(((again - x) ** 2).mean(1) >= ((x - x.mean(1, keepdims=True)) ** 2).mean(1))
        assert (2 * lost >= len(x)) == unlike
        encoded = aectl("encode", f"run={run.path}", f"input={name}.npy", f"output={name}.npz")
        assert encoded.status == 0, encoded.err
        said = re.search(r"note: for (\d+) of (\d+) pictures one flat colour is as good", encoded.out)
        assert (said is not None) == unlike
        assert said is None or said.groups() == (str(lost), str(len(x)))


def test_drawn_codes_have_the_posteriors_mean_and_spread(aectl, tmp_path, vae):
    assert aectl("encode", f"run={vae.path}", "output=codes.npz", "sample=true").status == 0
    found = files.read(tmp_path / "codes.npz", 3)[1].numpy()
    x = vae.images["test"]
    for column in ((found - vae.mu(x)) / np.exp(vae.logvar(x) / 2)).T:
        assert kstest(column, "norm").pvalue > 1e-3


@pytest.mark.parametrize(("posterior", "std"), [("std", F.softplus), ("std_raw", torch.abs)])
def test_a_posterior_given_as_std_is_what_the_encoder_gives_made_positive(posterior, std):
    config = train_config(model=Vae(posterior=posterior), network=Mlp(hidden=[]), latent=3)
    model = build_model(config, SHAPE)
    x = torch.rand(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        code, scale = model.encode(x), model.encoder(x)[:, 3:]
        draws = code.sample(torch.Generator().manual_seed(1), 4000)
        kl = torch.distributions.kl_divergence(
            torch.distributions.Normal(code.mu, std(scale)), torch.distributions.Normal(0.0, 1.0)
        )
    torch.testing.assert_close((code.logvar / 2).exp(), std(scale), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.prior.kl(code), kl, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(draws.std(0), std(scale), atol=0, rtol=0.06)
