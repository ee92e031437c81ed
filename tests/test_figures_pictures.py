"""What is handed to the drawing of each picture: which images in which order, which values on which axis."""

import re

import numpy as np
import pytest
import torch
from conftest import Drawn
from linear import SHAPE, D, Linear, as_float32, basis, noise_blur, planted, spread_codes
from matplotlib.axes import Axes
from scipy.stats import kstest, norm
from sklearn.decomposition import PCA

from aectl.drawing import grids, plots, views
from aectl.models.autoencoder import Ae

CLOSE = 0.02  # of a code read back from pixels of 8 bits
HEIGHT, WIDTH = SHAPE[1:]


def drawing(latent: int, *, posterior: bool = True) -> dict[str, np.ndarray]:
    """Weights whose decoder gives images inside [0, 1] for codes of a few standard deviations."""
    weights = spread_codes(latent, posterior=posterior)
    return as_float32({**weights, "W": 0.45 * basis(latent), "b": np.full(D, 0.5)})


@pytest.fixture(scope="module")
def vae(tmp_path_factory) -> Linear:
    """A denoising VAE with a plane of codes."""
    return planted(tmp_path_factory.mktemp("vae"), drawing(2), noise=noise_blur())


def flat(images: torch.Tensor) -> np.ndarray:
    return images.flatten(1).double().numpy()


def test_the_pictures_of_eval(aectl, tmp_path, vae, drawn):
    done = aectl("eval", f"run={vae.path}", f"hydra.run.dir={tmp_path / 'e'}")
    assert done.status == 0, done.err
    x, seen = vae.images["test"], vae.seen("test")
    check_reconstructions(vae, drawn)
    check_prior_samples(vae, drawn.grids[0][0])

    # Codes of clean images, each label's points in its colour.
    scatter = drawn.plot("codes of 150 test images")
    assert [group.get_label() for group in scatter.collections] == ["0", "1", "2"]
    for label, group in enumerate(scatter.collections):
        np.testing.assert_allclose(group.get_offsets(), vae.mu(x)[vae.labels["test"] == label], atol=1e-4)
    assert (scatter.get_xlabel(), scatter.get_ylabel()) == ("z1", "z2")

    check_map(vae, drawn.plot("the latent plane"))

    # What is scored sees the noise: KL of each latent, largest first.
    kl = 0.5 * (np.exp(vae.logvar(seen)) + vae.mu(seen) ** 2 - 1 - vae.logvar(seen)).mean(0)
    bars = drawn.plot("KL of each latent")
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], np.sort(kl)[::-1], rtol=1e-4)
    assert bars.get_title() == f"KL of each latent: {kl.sum():.2f} nats, 2 of 2 active"

    sse = np.square(vae.decode(vae.mu(seen)) - x).sum(1)
    histogram = drawn.plot("squared error by image")
    counts, edges = np.histogram(sse, 50)
    assert sum(bar.get_height() for bar in histogram.patches) == 150
    assert np.abs(np.cumsum([bar.get_height() for bar in histogram.patches]) - np.cumsum(counts)).max() <= 1
    assert histogram.patches[0].get_x() == pytest.approx(edges[0], rel=1e-4)
    assert histogram.lines[0].get_xdata()[0] == pytest.approx(sse.mean(), rel=1e-4)
    assert histogram.lines[0].get_label() == f"mean {sse.mean():.4g}"


def check_reconstructions(vae: Linear, drawn: Drawn) -> None:
    ((named, title),) = drawn.rows
    assert "test images" in title
    shown = np.linspace(0, 149, 12).round().astype(int)  # evenly spread
    x, seen = vae.images["test"][shown], vae.seen("test")[shown]
    images = {name: flat(values) for name, values in named.items()}
    draws = [name for name in images if "draw" in name]
    assert [name for name in images if name not in draws] == ["original", "noisy", "denoised"]
    np.testing.assert_allclose(images["original"], x, atol=1e-6)
    np.testing.assert_allclose(images["noisy"], seen, atol=1e-5)
    np.testing.assert_allclose(images["denoised"], vae.decode(vae.mu(seen)), atol=1e-4)
    z = np.stack([vae.code_of(images[name]) for name in draws])
    assert len(z) == 3
    standard = (z - vae.mu(seen)) / np.exp(vae.logvar(seen) / 2)
    assert kstest(standard.flatten(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(standard.reshape(3, -1)) - np.eye(3)).max() < 0.8, "no draw is another again"


def check_prior_samples(vae: Linear, images: torch.Tensor) -> None:
    z = vae.code_of(flat(images))
    assert len(z) == 64
    assert kstest(z.flatten(), "norm").pvalue > 1e-3


def check_map(vae: Linear, axes: Axes) -> None:
    """Each cell is the image of the code that stands beside it; z1 goes to the right and z2 up."""
    sheet = np.asarray(axes.images[0].get_array()) / 255
    side = 20
    assert sheet.shape == (side * HEIGHT, side * WIDTH)
    cells = sheet.reshape(side, HEIGHT, side, WIDTH).transpose(0, 2, 1, 3).reshape(side, side, D)
    middles = norm.ppf((np.arange(side) + 0.5) / side)
    z = vae.code_of(cells.reshape(-1, D)).reshape(side, side, 2)
    np.testing.assert_allclose(z[..., 0], np.tile(middles, (side, 1)), atol=CLOSE)
    np.testing.assert_allclose(z[..., 1], np.tile(middles[::-1, None], (1, side)), atol=CLOSE)
    for axis, length, values in ((axes.xaxis, WIDTH, middles), (axes.yaxis, HEIGHT, middles[::-1])):
        places, labels = axis.get_ticklocs(), axis.get_ticklabels()
        assert len(labels) == 8
        for place, label in zip(places, labels, strict=True):
            cell = (place + 0.5) / length - 0.5  # the middle of a cell
            assert cell == pytest.approx(round(cell))
            assert float(label.get_text()) == pytest.approx(values[round(cell)], abs=0.006)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z1", "z2")


def test_the_map_of_an_autoencoder_spans_the_two_latents_that_vary_most(aectl, tmp_path, drawn):
    weights = drawing(3, posterior=False)
    weights["A"], weights["a"] = weights["A"][:, ::-1].copy(), weights["a"][::-1].copy()  # the first varies least
    run = planted(tmp_path / "run", weights, model=Ae())
    assert aectl("eval", f"run={run.path}", f"hydra.run.dir={tmp_path / 'e'}").status == 0
    axes = drawn.plot("the latent plane")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z2", "z3")
    sheet = np.asarray(axes.images[0].get_array()) / 255
    cells = sheet.reshape(20, HEIGHT, 20, WIDTH).transpose(0, 2, 1, 3).reshape(20, 20, D)
    codes = run.mu(run.images["test"])
    low, high = np.percentile(codes, [1, 99], axis=0)
    corners = run.code_of(np.stack([cells[0, 0], cells[0, -1], cells[-1, 0]]))
    middle = codes.mean(0)[0]
    expected = [[middle, low[1], high[2]], [middle, high[1], high[2]], [middle, low[1], low[2]]]
    np.testing.assert_allclose(corners, expected, atol=0.05)

    # More than two latents are shown by their principal components, with the share of each.
    theirs = PCA(2).fit(codes)
    scatter = drawn.plot("codes of 150 test images")
    points = np.concatenate([group.get_offsets() for group in scatter.collections])
    order = np.concatenate([np.flatnonzero(run.labels["test"] == label) for label in range(3)])
    np.testing.assert_allclose(np.abs(points), np.abs(theirs.transform(codes[order])), atol=1e-3)
    for axis, label in enumerate((scatter.get_xlabel(), scatter.get_ylabel())):
        assert label == f"principal component {axis + 1} of z ({theirs.explained_variance_ratio_[axis]:.0%})"


def test_codes_of_one_latent_lie_in_the_row_of_their_label(drawn):
    codes, labels = torch.linspace(-2, 2, 30)[:, None], torch.arange(30) % 3
    views.latent_scatter(codes, labels, "one latent")
    (points,) = drawn.plot("one latent").collections
    offsets = np.asarray(points.get_offsets())
    np.testing.assert_allclose(offsets[:, 0], codes[:, 0])
    assert offsets[:, 1].round().astype(int).tolist() == labels.tolist()


# ------------------------------------------------------------------------------------ the drawing itself


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_stand_row_by_row_unchanged_but_enlarged(channels):
    values = np.arange(5 * channels * 2 * 3).reshape(5, channels, 2, 3) / 200
    sheet = grids.tiles(torch.from_numpy(values).float(), columns=2)
    factor = round(84 / 3)
    pitch = np.array([2, 3]) * factor + grids.GAP
    assert sheet.shape == (*(np.array([3, 2]) * pitch + grids.GAP), 3)
    for index, image in enumerate(np.rint(values * 255).astype(np.uint8)):
        top, left = np.array(divmod(index, 2)) * pitch + grids.GAP
        tile = sheet[top : top + 2 * factor, left : left + 3 * factor][::factor, ::factor]
        np.testing.assert_array_equal(tile, np.broadcast_to(image.transpose(1, 2, 0), (2, 3, 3)))
    assert (sheet[pitch[0] * 2 + grids.GAP :, pitch[1] + grids.GAP :] == 255).all(), "no sixth image"


def test_values_beyond_the_range_are_black_or_white_and_grey_is_rounded_to_the_nearest():
    image = torch.tensor([-0.5, 0.0, 0.5, 1.0, 1.7]).view(5, 1, 1, 1)
    sheet = grids.tiles(image, columns=5)
    shown = sheet[sheet.shape[0] // 2, grids.GAP + 40 :: 84 + grids.GAP, 0]
    assert shown.tolist() == [0, 0, 128, 255, 255]


def test_a_histogram_shows_its_mean_and_not_its_median(drawn):
    plots.histogram(torch.tensor([0.0, 0.0, 0.0, 10.0]), "skewed", "x")
    assert drawn.plot("skewed").lines[0].get_xdata()[0] == 2.5


def test_curves_are_the_records_by_epoch(drawn):
    records = [
        {"epoch": epoch, **{f"{part}/{name}": 100 * place + 10 * index + epoch
                            for place, part in enumerate(("train", "val"))
                            for index, name in enumerate(("loss", "recon", "kl"))}}
        for epoch in (3, 4, 5)
    ]  # fmt: skip
    plots.curves(records, ("loss", "recon", "kl"), "curves")
    for index, name in enumerate(("loss", "recon", "kl")):
        axes = drawn.plot(name)
        lines = {line.get_label(): line for line in axes.lines}
        assert set(lines) == {"train", "validation"}
        assert lines["train"].get_xdata().tolist() == [3, 4, 5]
        np.testing.assert_allclose(lines["train"].get_ydata(), [10 * index + epoch for epoch in (3, 4, 5)])
        np.testing.assert_allclose(lines["validation"].get_ydata(), [100 + 10 * index + epoch for epoch in (3, 4, 5)])
    assert re.match("nats", drawn.plot("kl").get_ylabel())


@pytest.mark.parametrize(
    ("keys", "panel", "unit", "shown"),
    [
        (("train/mse", "val/mse", "val/psnr"), "mse", "squared error per pixel", {"train", "validation"}),
        (("val/mse", "val/psnr"), "psnr", "PSNR (dB)", {"validation"}),
        ((), None, None, None),  # as older runs have it
    ],
)
def test_beside_the_curves_in_nats_is_what_people_judge_by(drawn, keys, panel, unit, shown):
    records = [{"epoch": epoch, "train/loss": 1.0, **dict.fromkeys(keys, 10.0 * epoch)} for epoch in (1, 2)]
    plots.curves(records, ("loss",), "curves")
    titles = [axes.get_title() for axes in drawn.plots[0].axes]
    assert titles == ["loss", *([panel] if panel else [])]
    if panel:
        axes = drawn.plot(panel)
        assert axes.get_ylabel() == unit
        assert {line.get_label() for line in axes.lines} == shown
        assert all(line.get_ydata() == pytest.approx([10, 20]) for line in axes.lines)
