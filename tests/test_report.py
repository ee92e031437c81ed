import csv

import pytest
from conftest import SMALL
from PIL import Image

from aectl import comparison
from aectl.comparison import Measured


def measured(
    job: str, *, latent: float = 2, beta: float = 1.0, prior: bool = True, figures=None, **settings
) -> Measured:
    figures = {"recon": 90.0, "elbo": -100.0, "chosen_by": 100.0, "sse": 30.0, "active_units": 2, **(figures or {})}
    return Measured(job, settings, {"latent": latent, "kl_weight": beta}, figures, prior)


def test_seeds_are_averaged_and_nothing_else():
    runs = [
        measured("0", model="ae", seed="0", figures={"elbo": -90.0}),
        measured("1", model="ae", seed="1", figures={"elbo": -94.0}),
        measured("2", model="vae", seed="0"),
    ]
    groups = comparison.grouped(runs)
    assert [group.settings for group in groups] == [{"model": "ae"}, {"model": "vae"}]
    assert groups[0].mean("elbo") == -92
    assert groups[0].sd("elbo") == pytest.approx(8**0.5), "the sample's: n - 1"
    assert groups[1].sd("elbo") == 0
    header, rows = comparison.table(groups)
    assert header == ["model", "runs", "recon", "ELBO", "squared error", "active units"]
    assert rows == [
        ["ae", "2", "90.00 ± 0.00", "-92.00 ± 2.83", "30.00 ± 0.00", "2.0 ± 0.0"],
        ["vae", "1", "90.00", "-100.00", "30.00", "2.0"],
    ]


def test_series_go_along_one_setting_in_its_order():
    runs = [measured(str(size), latent=size, model="vae", latent_override=str(size)) for size in (16, 2, 8)]
    runs = [Measured(run.job, {"latent": run.job, "model": "vae"}, run.values, run.figures, True) for run in runs]
    found = comparison.series(comparison.grouped(runs), "latent")
    assert {name: [group.value("latent") for group in members] for name, members in found.items()} == {
        "vae": [2, 8, 16]
    }


@pytest.mark.parametrize(
    ("errors", "words"),
    [((9, 8), "below PCA's at every size"), ((11, 12), "above PCA's at every size"),
     ((9, 12), "below PCA's with 2 and above it with the others")],
)  # fmt: skip
def test_sentences_say_where_pca_is_beaten(errors, words):
    runs = [
        measured(str(i), latent=size, latent_override=str(size), figures={"sse": error, "pca_sse": 10.0})
        for i, (size, error) in enumerate(zip((2, 4), errors, strict=True))
    ]
    runs = [Measured(run.job, {"latent": f"{run.values['latent']}"}, run.values, run.figures, False) for run in runs]
    (sentence,) = comparison.findings(comparison.grouped(runs))
    assert words in sentence


def test_sentences_say_how_many_latents_are_enough():
    elbo, active = {2: -120.0, 16: -100.4, 32: -100.0, 64: -100.9}, {2: 2, 16: 12, 32: 13, 64: 13}
    runs = [
        Measured(
            str(size), {"latent": str(size)}, {"latent": size, "kl_weight": 1.0},
            {"elbo": elbo[size], "chosen_by": -elbo[size], "sse": 10.0, "active_units": active[size]}, True,
        )
        for size in elbo
    ]  # fmt: skip
    sentences = " ".join(comparison.findings(comparison.grouped(runs)))
    assert "highest with 32 latents (-100.00 nats), and within 1 nat of that from 16 on" in sentences
    assert "of 64 latents it uses 13" in sentences
    assert comparison.best(comparison.grouped(runs)).job == "32"


def test_the_report_of_a_sweep(aectl, tmp_path):
    sweep = ("latent=2,4", "model=ae,vae", "seed=0,1", "figures_every=0", "epochs=1")
    assert aectl("train", "-m", *SMALL, *sweep).status == 0
    reported = aectl("report")
    assert reported.status == 0, reported.err
    (folder,) = (tmp_path / "outputs/report").iterdir()
    with (folder / "report.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["job"] for row in rows] == [str(number) for number in range(8)]
    assert [row["seed"] for row in rows] == ["0", "1"] * 4
    assert all(bool(row["elbo"]) == bool(row["kl"]) == (row["model"] == "vae") for row in rows), "an AE has neither"

    evaluated = aectl("eval", f"run={next(tmp_path.glob('outputs/multirun/*/6_vae-latent4'))}", "batch_size=500")
    assert evaluated.status == 0
    shown = {line.split()[0]: line.split()[1] for line in evaluated.out.splitlines() if line.startswith("  ")}
    for ours, theirs in (("recon", "recon"), ("kl", "kl"), ("sse", "sse"), ("psnr", "psnr")):
        assert float(rows[6][ours]) == pytest.approx(float(shown[theirs]), abs=1e-3), ours
    assert float(rows[6]["pca_sse"]) == pytest.approx(784 * float(shown["pca_mse"]), rel=0.01)

    page = (folder / "report.md").read_text()
    assert page.count("\n| ") == 6, "a header, a rule and a row for each of latent × model"
    assert "±" in page
    assert "Trained by `aectl train -m experiment=smoke" in page
    pictures = {path.stem for path in (folder / "pictures").iterdir()}
    assert {"reconstruction_by_latent", "elbo_by_latent", "active_units_by_latent", "rate_distortion", "curves_ae",
            "curves_vae", "best_vae_samples", "best_ae_reconstructions"} <= pictures  # fmt: skip
    assert "best_ae_samples" not in pictures
    for name in pictures:
        assert f"(pictures/{name}.png)" in page
        with Image.open(folder / f"pictures/{name}.png") as image:
            assert image.width > 200
    html = (folder / "report.html").read_text()
    assert html.count("data:image/png;base64,") == len(pictures)
    assert "pictures/" not in html.replace("(pictures/", "")
    assert "<table>" in html


def test_what_did_not_finish_is_said_and_the_rest_is_measured(aectl, tmp_path):
    assert aectl("train", "-m", *SMALL, "epochs=1", "network.hidden=[8],[0],[16]").status == 2
    (where,) = (tmp_path / "outputs/multirun").iterdir()
    next(where.glob("2_*/result.json")).unlink()
    reported = aectl("report", f"sweep={where}", "split=val")
    assert reported.status == 0, reported.err
    (page,) = tmp_path.glob("outputs/report/*/report.md")
    assert "1 of 3 jobs finished" in page.read_text()
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
    assert "none of its 1 jobs has finished" in refused.err
