"""What is handed to the drawing of each picture: which images in which order, which values on which axis."""

import re

import numpy as np
import pytest
import torch
from conftest import Drawn
from linear import SHAPE, D, Linear, as_float32, basis, noise_blur, planted, spread_codes
from matplotlib.axes import Axes
from PIL import ImageFont
from scipy.stats import kstest, norm
from sklearn.decomposition import PCA

from aectl.drawing import grids, plots, views
from aectl.models.autoencoder import Ae

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

    check_plane(vae, scatter, drawn.plot("the plane decodes"))

    # What is scored sees the noise: KL of each latent, largest first.
    kl = 0.5 * (np.exp(vae.logvar(seen)) + vae.mu(seen) ** 2 - 1 - vae.logvar(seen)).mean(0)
    bars = drawn.plot("2 of 2 latents")
    np.testing.assert_allclose([bar.get_height() for bar in bars.patches], np.sort(kl)[::-1], rtol=1e-4)
    assert bars.get_title() == f"denoising vae, latent 2, synthetic\nKL {kl.sum():.2f} nats, 2 of 2 latents active"
    assert [label.get_text() for label in bars.get_xticklabels()] == [f"z{index + 1}" for index in np.argsort(-kl)]

    sse = np.square(vae.decode(vae.mu(seen)) - x).sum(1)
    histogram = drawn.plot("squared error of")
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


def cells_of(axes: Axes) -> np.ndarray:
    """The decoded cells of a plane, (rows, columns, D), in [0, 1], first row at the top; their sheet is a square."""
    sheet = np.asarray(axes.images[0].get_array()) / 255
    rows, columns = sheet.shape[0] // HEIGHT, sheet.shape[1] // WIDTH
    assert sheet.shape == (rows * HEIGHT, columns * WIDTH)
    assert abs(sheet.shape[0] - sheet.shape[1]) < WIDTH
    assert rows * columns == pytest.approx(400, abs=10)
    return sheet.reshape(rows, HEIGHT, columns, WIDTH).transpose(0, 2, 1, 3).reshape(rows, columns, D)


def middles(low: float, high: float, count: int) -> np.ndarray:
    """Those of `count` equal parts."""
    return low + (np.arange(count) + 0.5) * (high - low) / count


def check_plane(vae: Linear, scatter: Axes, decoded: Axes) -> None:
    """Codes and decoded plane have the same axes, and each cell is the image of the code in its middle."""
    for get in ("get_xlim", "get_ylim", "get_xticks", "get_yticks", "get_xlabel", "get_ylabel", "get_aspect"):
        np.testing.assert_array_equal(getattr(scatter, get)(), getattr(decoded, get)(), err_msg=get)
    for axis in ("xaxis", "yaxis"):
        names = [[label.get_text() for label in getattr(axes, axis).get_ticklabels() if label.get_visible()]
                 for axes in (scatter, decoded)]  # fmt: skip
        assert names[0] == names[1]
        assert any(names[0])
    (left, right), (bottom, top) = decoded.get_xlim(), decoded.get_ylim()
    assert decoded.images[0].get_extent() == pytest.approx([left, right, bottom, top])
    assert right - left == pytest.approx(top - bottom)
    mu = vae.mu(vae.images["test"])
    assert ((mu > [left, bottom]) & (mu < [right, top])).all(), "no code is outside"
    for low, high in ((left, right), (bottom, top)):
        assert low < norm.ppf(0.01) < norm.ppf(0.99) < high, "nor is what is drawn from the prior"
    cells = cells_of(decoded)
    z = vae.code_of(cells.reshape(-1, D)).reshape(*cells.shape[:2], 2)
    inside = cells.clip(0.01, 0.99) == cells  # further out pixels leave [0, 1] and tell no code any more
    inside = inside.all(2)
    assert inside.sum() > 100
    across, down = middles(left, right, cells.shape[1]), middles(top, bottom, cells.shape[0])
    fifth = (across[1] - across[0]) / 5  # of a cell: near 0 all pixels lie between two greys
    np.testing.assert_allclose(z[..., 0][inside], np.broadcast_to(across, inside.shape)[inside], atol=fifth)
    np.testing.assert_allclose(z[..., 1][inside], np.broadcast_to(down[:, None], inside.shape)[inside], atol=fifth)


def test_the_plane_of_an_autoencoder_is_that_of_the_two_latents_that_vary_most(aectl, tmp_path, drawn):
    weights = drawing(3, posterior=False)
    weights["A"], weights["a"] = weights["A"][:, ::-1].copy(), weights["a"][::-1].copy()  # the first varies least
    run = planted(tmp_path / "run", weights, model=Ae())
    assert aectl("eval", f"run={run.path}", f"hydra.run.dir={tmp_path / 'e'}").status == 0
    axes = drawn.plot("the plane decodes")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z2", "z3")
    assert axes.figure.get_suptitle().endswith(": the two latents that vary most, the other 1 at their mean")
    codes = run.mu(run.images["test"])
    low, high = codes.min(0), codes.max(0)
    half = 1.06 * max(high[1] - low[1], high[2] - low[2]) / 2
    centre = (low + high) / 2
    np.testing.assert_allclose(axes.get_xlim(), [centre[1] - half, centre[1] + half], atol=1e-4)
    np.testing.assert_allclose(axes.get_ylim(), [centre[2] - half, centre[2] + half], atol=1e-4)
    cells = cells_of(axes)
    rows, columns = cells.shape[:2]
    z = run.code_of(cells.reshape(-1, D)).reshape(rows, columns, 3)
    near = slice(7, 13)  # where all pixels are in [0, 1]
    np.testing.assert_allclose(z[near, near, 0], codes.mean(0)[0], atol=0.05)
    np.testing.assert_allclose(z[9, near, 1], middles(*axes.get_xlim(), columns)[near], atol=0.05)
    np.testing.assert_allclose(z[near, 9, 2], middles(*axes.get_ylim()[::-1], rows)[near], atol=0.05)

    # Beside it all three are shown, by their principal components, with the share of each.
    theirs = PCA(2).fit(codes)
    plane, scatter = (axes for figure in drawn.plots for axes in figure.axes if "codes of 150" in axes.get_title())
    if scatter.get_xlabel() == "z2":
        plane, scatter = scatter, plane
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


def test_white_images_end_somewhere_on_white_paper():
    sheet = grids.tiles(torch.ones(2, 1, 28, 28), columns=2)
    middle = sheet[sheet.shape[0] // 2, :, 0]
    assert (middle < 230).nonzero()[0].tolist() == [1, 86, 87, 172], "a thin line on each side of both"


@pytest.mark.parametrize("sign", "×σβε~|→−½±")
def test_the_font_of_sheets_has_the_signs_that_titles_use(sign):
    def drawn(text: str) -> np.ndarray:
        return grids.grid(torch.zeros(1, 1, 28, 28), text)

    blank, missing = drawn(""), drawn("\uffff")
    assert (drawn(sign) != blank).any()
    assert (drawn(sign) != missing).any()


@pytest.mark.parametrize("words", [1, 12, 60])
@pytest.mark.parametrize("shape", [(1, 1, 28, 28), (3, 3, 8, 40), (12, 1, 40, 3)])
def test_no_title_label_or_head_is_cut(words, shape):
    title = " ".join(["word"] * words)
    heads = ["a long head"] * shape[0]
    sheet = grids.labelled([("label of a row", torch.zeros(shape))], title, heads)
    grey = sheet.min(2)
    assert (grey[:, [0, 1, -2, -1]] >= min(grids.FRAME)).all(), "no ink at the edges"
    assert (grey[:2] == 255).all()
    label, head = (ImageFont.truetype(plots.font_file(), size).getlength(text) for size, text in
                   ((grids.LABEL, "label of a row"), (grids.WORDS, "a long head")))  # fmt: skip
    assert sheet.shape[1] >= label + shape[0] * head


def test_a_plots_long_title_is_broken_and_none_of_it_cut(drawn):
    title = "the plane of a very long name " * 6
    for shape in ((16, 1, 28, 28), (16, 1, 28, 14)):
        picture = plots.manifold(torch.ones(shape), [["1.00"] * 4] * 2, title, ("z1", "z2"))
        assert (picture[:, [0, -1]] == 255).all()
        assert (picture[0] == 255).all()
    assert "\n" in drawn.plots[-1].axes[0].get_title()


def test_heads_stand_in_the_middle_of_their_columns():
    sheet = grids.labelled([("row", torch.zeros(3, 1, 28, 28))], "", ["", "H", ""])
    dark = sheet[24:44].min(2) < 128  # the strip below the title
    middle = np.flatnonzero(dark.any(0)).mean()
    left = grids.labelled([("row", torch.zeros(3, 1, 28, 28))], "", ["", "", ""]).shape[1] - 3 * 86 - grids.GAP
    assert middle == pytest.approx(left + grids.GAP + 86 + 42, abs=2)


def test_a_stripe_says_whose_picture_it_is():
    picture = np.full((30, 40, 3), 255, dtype=np.uint8)
    banded = grids.banded(picture, "#3b6ea8")
    assert banded.shape == (30 + grids.BAND, 40, 3)
    assert (banded[: grids.BAND] == (0x3B, 0x6E, 0xA8)).all()
    np.testing.assert_array_equal(banded[grids.BAND :], picture)


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
