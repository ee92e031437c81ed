import csv
import json
import re

import numpy as np
import pytest
import torch
from albums import own
from conftest import SMALL
from PIL import Image

from aectl import __version__ as aectl_version
from aectl.data.datasets.digits import Digits
from aectl.data.datasets.like_mnist import Mnist
from aectl.data.images import Images
from aectl.drawing import plots, report_page, report_plots
from aectl.measuring import comparison, tables
from aectl.measuring.comparison import Measured
from aectl.measuring.endings import Endings
from aectl.measuring.findings import findings
from aectl.measuring.sweep import Circumstances, data_words
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp

pytestmark = pytest.mark.usefixtures("without_pictures")

NO_ENDINGS = Endings(None, [], [], [])


def measured(job: str, *, latent: float = 2, beta: float = 1.0, given=None, **settings) -> Measured:
    found = {"recon": 90.0, "elbo": -100.0, "chosen_by": 100.0, "sse": 30.0, "active_units": 2, **(given or {})}
    values = {"latent": latent, "kl_weight": beta, "lr": 1e-3}
    return Measured(job, settings, values, found, int(settings.get("seed", 0)))


def test_plots_along_the_learning_rate_are_of_runs_that_learnt(monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "lines", lambda given, title, *more, **options: drawn.update({title: given}))
    runs = [
        Measured(f"{lr} {seed}", {"lr": str(lr), "seed": str(seed)}, {"latent": 2, "kl_weight": 1.0, "lr": lr},
                 {"sse": sse}, seed, learnt=sse < 50)
        for lr, found in ((0.1, (90.0, 40.0)), (0.01, (20.0, 30.0)), (1.0, (1e9, 1e9)))
        for seed, sse in enumerate(found)
    ]  # fmt: skip
    list(report_plots.along(comparison.grouped(runs), NO_ENDINGS))
    ((line,),) = drawn.values()
    assert (line.x, line.y) == ([0.01, 0.1], [25.0, 40.0])
    assert "runs that have learnt" in next(iter(drawn))
    said = findings(comparison.grouped(runs))
    assert said[0] == "All that follows is of the 3 of 6 runs that have learnt."
    assert said[1].startswith("The squared error per image is least with lr=0.01 (25.00 ± 7.07), against 40.00")
    assert comparison.that_learnt(comparison.grouped(runs[-1:])) == comparison.grouped(runs[-1:]), "none has"


def test_seeds_are_averaged_and_nothing_else():
    runs = [
        measured("0", model="ae", seed="0", given={"elbo": -90.0}),
        measured("1", model="ae", seed="1", given={"elbo": -94.0}),
        measured("2", model="vae", seed="0"),
    ]
    groups = comparison.grouped(runs)
    assert [group.settings for group in groups] == [{"model": "ae"}, {"model": "vae"}]
    assert groups[0].mean("elbo") == -92
    assert groups[0].sd("elbo") == pytest.approx(8**0.5), "the sample's: n - 1"
    assert groups[1].sd("elbo") is None, "one seed has no spread"
    header, rows = tables.table(groups)
    assert header == ["model", "seeds", "recon", "ELBO", "squared error", "active units"]
    assert rows == [
        ["ae", "2", "90.00 ± 0.00", "-92.00 ± 2.83", "30.00 ± 0.00", "2.0 ± 0.0"],
        ["vae", "1", "90.00", "-100.00", "30.00", "2"],
    ]


def test_a_seed_that_ran_twice_is_one_seed():
    """As with threads=1,2: nothing that matters differs, and there is no spread over seeds."""
    (group,) = comparison.grouped([measured("0", given={"sse": 20.0}), measured("1", given={"sse": 20.5})])
    assert (group.seeds, group.mean("sse"), group.sd("sse")) == (1, 20.25, None)


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [((1, 2, 3), (3, 4, 5), False), ((1, 2, 3), (3.1, 4.1, 5.1), True), ((1, 2, 3), (9,), False),
     ((5, 5), (5, 5), False), ((5, 5), (6, 6), True)],
)  # fmt: skip
def test_means_are_apart_where_their_intervals_do_not_meet(a, b, told):
    groups = comparison.grouped([
        measured(f"{model}{seed}", model=model, seed=str(seed), given={"sse": value})
        for model, values in (("a", a), ("b", b))
        for seed, value in enumerate(values)
    ])  # fmt: skip
    assert comparison.apart(*groups, "sse") == comparison.apart(*groups[::-1], "sse") == told


def test_series_go_along_one_setting_in_its_order():
    runs = [Measured(str(size), {"latent": str(size), "model": "vae"}, {"latent": size}, {}) for size in (16, 2, 8)]
    found = comparison.series(comparison.grouped(runs), "latent")
    assert {name: [group.value("latent") for group in members] for name, members in found.items()} == {
        "vae": [2, 8, 16]
    }


def test_the_best_run_is_chosen_on_validation_images():
    runs = [
        measured("0", latent=2, given={"elbo": -90.0, "chosen_by": 101.0}),
        measured("1", latent=4, given={"elbo": -95.0, "chosen_by": 99.0}),
    ]
    assert comparison.best(comparison.grouped(runs)).job == "1"


@pytest.mark.parametrize(
    ("value", "others", "text"),
    [(133.806, (), "133.81"), (0.00123, (), "0.0012"), (0.0, (), "0.00"), (-0.0456, (-0.0458,), "-0.046 ± 0.000")],
)
def test_figures_keep_two_digits_that_say_something(value, others, text):
    runs = [measured(str(seed), seed=str(seed), given={"sse": sse}) for seed, sse in enumerate((value, *others))]
    (group,) = comparison.grouped(runs)
    assert tables.cell(group, "sse") == text


def test_a_series_has_one_colour_in_every_plot(monkeypatch):
    drawn = {}

    def lines(given, title, *more, **options):
        drawn[title] = {line.name: line.colour for line in given if not line.dashed}

    monkeypatch.setattr(plots, "lines", lines)
    given = {"ae": {}, "vae": {"kl": 10.0}}
    made = [
        measured(f"{latent} {model}", latent=latent, given=given[model], latent_=str(latent), model=model)
        for latent in (2, 4, 8) for model in given
    ]  # fmt: skip
    runs = [
        Measured(run.job, {"latent": run.settings["latent_"], "model": run.settings["model"]}, run.values,
                 run.figures, curve=[3.0, 2.0])
        for run in made
    ]  # fmt: skip
    assert len(list(report_plots.along(comparison.grouped(runs), NO_ENDINGS))) == len(drawn) == 6
    of = {name: {found[name] for found in drawn.values() if name in found} for name in ("ae", "vae")}
    assert all(len(colours) == 1 for colours in of.values()), drawn
    (ae,), (vae,) = of.values()
    assert ae != vae
    assert plots.GREY not in (ae, vae)
    # Shades of a series: the middle one is its colour.
    shades = list(drawn["vae: objective by epoch"].values())
    assert len(set(shades)) == 3
    assert shades[1] == vae
    assert not set(shades) & set(drawn["ae: objective by epoch"].values())


def test_shades_go_from_light_to_dark_around_the_colour_and_palettes_repeat_nothing():
    assert plots.shades("#804020", 1) == ["#804020"]
    light = [sum(bytes.fromhex(shade[1:])) for shade in plots.shades("#804020", 5)]
    assert light == sorted(light, reverse=True)
    assert len(set(plots.palette(9))) == 9
    assert len(set(plots.palette(40))) == 40


@pytest.mark.parametrize(
    ("dataset", "shape", "part", "words"),
    [
        (Digits(val_size=3, test_size=3), (3, 1, 8, 6), "val", "digits, 3 validation images of 8×6"),
        (Mnist(val_size=500, binarize="dynamic"), (1, 1, 28, 28), "test",
         "mnist (binarize=dynamic), 1 test image of 28×28"),
        (own("/home/me/photos"), (2000, 3, 2, 2), "train",
         "folder photos, 2,000 training images of 2×2 in 3 channels"),
    ],
)  # fmt: skip
def test_data_in_words(dataset, shape, part, words):
    assert data_words(dataset, Images(torch.zeros(shape, dtype=torch.uint8), None), part) == words


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Mlp(hidden=[300, 300]), "mlp, hidden 300-300, leaky_relu"),
        (Mlp(hidden=[], activation="relu", init="glorot"), "mlp, relu, init=glorot"),
        (Conv(hidden=[64], channels=[16, 32], blocks=2, norm="group", decoder_hidden=[8]),
         "conv, hidden 64, channels 16-32, decoder hidden 8, leaky_relu, blocks=2, norm=group"),
    ],
)  # fmt: skip
def test_networks_in_words(network, words):
    assert network.words == words


def page_of(jobs, runs) -> report_page.Page:
    what = Circumstances(["mnist, 9 test images"], ["trained on 5 images"], ["mlp"], [], "aectl 9.9; a PDP-11")
    groups = comparison.grouped(runs)
    return report_page.page("name", "aectl train -m", what, jobs, runs, groups, NO_ENDINGS, ["curves"])


def test_the_page_says_what_it_stands_on_and_what_is_not_in_it():
    runs = [
        measured("0", model="ae", given={"sse": 1.0}),
        measured("1", model="vae", given={"sse": float("nan"), "recon": float("inf")}),
        measured("2", model="vae", given={"sse": float("nan")}),
    ]
    jobs = [{"job": str(number), "status": "completed"} for number in range(3)]
    jobs += [{"job": "3", "status": "failed", "error": "use lr=<less>"}, {"job": "4", "status": "interrupted"}]
    lines = report_page.as_markdown(page_of(jobs, runs)).split("\n")
    assert lines[:8] == [
        "# Sweep name", "",
        "- **Runs:** 3 of 5 jobs finished, each measured with its best checkpoint",
        "- **Data:** mnist, 9 test images; trained on 5 images",
        "- **Network:** mlp",
        "- **Measured with:** aectl 9.9; a PDP-11",
        "- **Trained by:** `aectl train -m`", "",
    ]  # fmt: skip
    for sentence in (
        "Job 1 is in no mean: recon and sse are not finite.", "Job 2 is in no mean: sse is not finite.",
        "Job 3 failed: use lr=&lt;less&gt;", "Job 4 was interrupted.", "![curves](pictures/curves.png)",
    ):  # fmt: skip
        assert sentence in lines
    assert sum(line.startswith("| ") for line in lines) == 3, "a header, a rule, and the one group that has figures"
    assert "- **Runs:** 1 of 1 job finished" in report_page.as_markdown(page_of(jobs[:1], runs[:1]))


def test_no_column_of_the_page_is_cut(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/curves.png").write_bytes(b"png")
    given = {"kl": 1.0, "pca_sse": 2.0, "psnr": 3.0, "seconds": 4.0}
    html = report_page.as_html(page_of([], [measured("0", model="a|b", lr="1<2", given=given)]), tmp_path)
    assert html.count("<th>") == html.count("<td>") == 11
    assert "<td>a|b</td>\n<td>1&lt;2</td>" in html
    assert "overflow-x" not in html
    assert "display: block; overflow" not in html


def test_the_report_of_a_sweep(aectl, tmp_path, drawn):
    sweep = ("latent=2,4", "model=ae,vae", "seed=0,1", "figures_every=0", "epochs=1")
    assert aectl("train", "-m", *SMALL, *sweep).status == 0
    for path in tmp_path.glob("outputs/multirun/*/*_ae-*/result.json"):  # a KL of 0 there is none's
        kept = {
            key: value for key, value in json.loads(path.read_text()).items() if "kl" not in key and "elbo" not in key
        }
        path.write_text(json.dumps(kept))
    reported = aectl("report")
    assert reported.status == 0, reported.err
    (folder,) = (tmp_path / "outputs/report").iterdir()
    with (folder / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["job"] for row in rows] == [str(number) for number in range(8)]
    assert [row["seed"] for row in rows] == ["0", "1"] * 4
    assert all(bool(row["elbo"]) == bool(row["kl"]) == (row["model"] == "vae") for row in rows), "an AE has neither"

    (job,) = tmp_path.glob("outputs/multirun/*/0_ae-latent2/result.json")
    assert float(rows[0]["chosen_by"]) == json.loads(job.read_text())["val/recon"]

    evaluated = aectl("eval", f"run={next(tmp_path.glob('outputs/multirun/*/6_vae-latent4'))}", "batch_size=500")
    assert evaluated.status == 0
    shown = {line.split()[0]: line.split()[1] for line in evaluated.out.splitlines() if line.startswith("  ")}
    for ours, theirs in (("recon", "recon"), ("kl", "kl"), ("sse", "sse"), ("psnr", "psnr")):
        assert float(rows[6][ours]) == pytest.approx(float(shown[theirs]), abs=1e-3), ours
    assert float(rows[6]["pca_sse"]) == pytest.approx(784 * float(shown["pca_mse"]), rel=0.01)

    page = (folder / "report.md").read_text()
    table, _, ended = page.partition("Runs that ended better than the mean image:")
    assert table.count("\n| ") == 6, "a header, a rule and a row for each of latent × model"
    assert ended.count("\n| ") == 4, "two epochs are too few for some, and these are told by model and latent"
    assert "±" in page
    assert "- **Runs:** 8 of 8 jobs finished" in page
    assert (
        "- **Data:** synthetic, 64 test images of 28×28; trained on 512 images, the epoch chosen on 64 others" in page
    )
    assert "- **Network:** mlp, hidden 64, leaky_relu" in page
    assert f"- **Measured with:** aectl {aectl_version}, torch {torch.__version__}, Python " in page
    assert re.search(r"Python [\d.]+; \d+ cores? of .*, 1 thread\n", page)
    assert f"- **Trained with:** aectl {aectl_version}, torch {torch.__version__}, cpu with 1 thread" in page
    assert "- **Trained by:** `aectl train -m experiment=smoke" in page
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert {"reconstruction_by_latent", "elbo_by_latent", "active_units_by_latent", "rate_distortion", "curves_ae",
            "curves_vae", "best_vae_samples", "best_ae_reconstructions"} <= pictures  # fmt: skip
    assert "best_ae_samples" not in pictures
    check_colours(folder / "pictures", drawn)
    for name in pictures:
        assert f"(pictures/{name}.png)" in page
        with Image.open(folder / f"pictures/{name}.png") as image:
            assert image.width > 200
    html = (folder / "report.html").read_text()
    assert html.count("data:image/png;base64,") == len(pictures)
    assert "pictures/" not in html.replace("(pictures/", "")
    assert "<table>" in html


def check_colours(pictures, drawn):
    """A model has one colour in every plot, and what its best run makes stands under a stripe of it; PCA is grey."""
    found = {}
    for axes in (axes for figure in drawn.plots for axes in figure.axes):
        for container in axes.containers:
            if container.get_label() in ("ae", "vae", "PCA", "all of them"):
                found.setdefault(container.get_label(), set()).add(container.lines[0].get_color())
    assert {name: len(colours) for name, colours in found.items()} == dict.fromkeys(found, 1)
    assert found["PCA"] == found["all of them"] == {plots.GREY}
    (ae,), (vae,) = found["ae"], found["vae"]
    assert ae != vae
    for name, colour in (("ae", ae), ("vae", vae)):
        of_best = list(pictures.glob(f"best_{name}_*.png"))
        assert len(of_best) == (3 if name == "vae" else 2)
        for path in of_best:
            with Image.open(path) as image:
                stripe = np.asarray(image.convert("RGB"))[:4]
            assert (stripe == tuple(bytes.fromhex(colour[1:]))).all(), path


def test_what_did_not_finish_is_said_and_the_rest_is_measured(aectl, tmp_path):
    assert aectl("train", "-m", *SMALL, "epochs=1", "network.hidden=[8],[0],[16]").status == 2
    (where,) = (tmp_path / "outputs/multirun").iterdir()
    next(where.glob("2_*/result.json")).unlink()
    reported = aectl("report", f"sweep={where}", "split=val")
    assert reported.status == 0, reported.err
    (page,) = tmp_path.glob("outputs/report/*/report.md")
    assert "1 of 3 jobs finished" in page.read_text()
    assert "64 validation images" in page.read_text()
    assert "Job 1 failed: network.hidden" in page.read_text()
    assert "Job 2 was interrupted." in page.read_text()


def test_a_report_needs_a_sweep(aectl, tmp_path):
    for given, status, words in (
        ("sweep=latest", 3, "no sweep below outputs/"), ("sweep=nowhere", 3, "no sweep there"),
        ("sweep=", 2, "sweep="), ("split=all", 2, "split=all"),
    ):  # fmt: skip
        refused = aectl("report", given)
        assert refused.status == status, refused.err
        assert words in refused.err
        assert len(refused.err.strip().splitlines()) == 1
    assert aectl("train", "-m", *SMALL, "network.hidden=[0]").status == 2
    refused = aectl("report")
    assert refused.status == 3
    assert "its only job has not finished" in refused.err
