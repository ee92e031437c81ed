"""`aectl score`: which picture is odd."""

import csv
import json
import re

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.metrics import average_precision_score, roc_auc_score

import aectl as python
from aectl.measuring.detection import detect

pytestmark = pytest.mark.usefixtures("without_pictures")

ODD = 5  # cracked washers


def washer(rng: np.random.Generator, *, cracked: bool) -> Image.Image:
    """A ring of 32×32 pixels, drawn at four times the size; a crack is a dark cut through it."""
    image = Image.new("L", (128, 128), int(rng.integers(20, 35)))
    draw = ImageDraw.Draw(image)
    x, y = rng.integers(60, 69, 2).tolist()
    outer, inner = int(rng.integers(46, 52)), int(rng.integers(20, 26))
    draw.ellipse([x - outer, y - outer, x + outer, y + outer], fill=int(rng.integers(150, 230)))
    draw.ellipse([x - inner, y - inner, x + inner, y + inner], fill=30)
    if cracked:
        angle = rng.uniform(0, 2 * np.pi)
        away = np.array([np.cos(angle), np.sin(angle)])
        draw.line([*(np.array([x, y]) + away * inner * 0.9), *(np.array([x, y]) + away * outer)], fill=30, width=10)
    noise = rng.normal(0, 3, (32, 32))
    return Image.fromarray((np.asarray(image.resize((32, 32))) + noise).clip(0, 255).astype(np.uint8))


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def washers(tmp_path_factory):
    """300 washers of which five are cracked, and a run on them."""
    folder = tmp_path_factory.mktemp("washers")
    rng = np.random.default_rng(0)
    for number in range(300):
        (folder / "all").mkdir(exist_ok=True)
        washer(rng, cracked=number % 60 == 7).save(folder / f"all/{number:03d}.png")
    run = python.train(
        "model=ae", "latent=8", "dataset=folder", f"dataset.root={folder}/all", "network.hidden=[256,64]",
        "epochs=60", "likelihood=gaussian", "likelihood.sigma=1", "lr=3e-3", "schedule=cosine", "batch_size=20",
        "figures_every=0",
        "checkpoint_every=60", "device=cpu", "threads=1", f"hydra.run.dir={folder}/run",
    )  # fmt: skip
    return folder, run


def test_the_cracked_washers_come_first(aectl, washers, tmp_path):
    folder, run = washers
    done = aectl("score", f"run={run.path}", f"input={folder}/all", "output=scores.csv", "device=cpu")
    assert done.status == 0, done.err
    rows = rows_of(tmp_path / "scores.csv")
    assert len(rows) == 300
    assert {row["name"] for row in rows[:ODD]} == {f"{number:03d}.png" for number in range(7, 300, 60)}
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert list(rows[0]) == ["name", "score", "pca", "odd"]
    # The threshold is the validation images' own 0.99: few of the others are above it, the cracked are.
    assert [row["odd"] for row in rows[:ODD]] == ["1"] * ODD
    assert sum(row["odd"] == "1" for row in rows) <= 15
    with Image.open(tmp_path / "scores_oddest.png") as sheet:
        assert sheet.width > 8 * 32


def test_a_row_is_what_the_run_and_pca_say(aectl, washers, tmp_path):
    folder, run = washers
    assert aectl("score", f"run={run.path}", f"input={folder}/all", "output=scores.csv", "device=cpu").status == 0
    rows = {row["name"]: row for row in rows_of(tmp_path / "scores.csv")}
    paths = sorted((folder / "all").iterdir())
    for path, score in zip(paths[:20], run.score(paths[:20]), strict=True):
        assert float(rows[path.name]["score"]) == pytest.approx(score, rel=1e-4)
    split = json.loads((folder / "run/split.json").read_text())["parts"]["train"]
    train = np.stack([np.asarray(Image.open(folder / "all" / name)).ravel() / 255 for name, _ in split])
    mean = train.mean(0)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2][:8]
    x = np.asarray(Image.open(paths[3])).ravel() / 255 - mean
    assert float(rows[paths[3].name]["pca"]) == pytest.approx(
        np.square(x - x @ directions.T @ directions).sum(), rel=1e-4
    )


def test_the_threshold_is_a_quantile_of_validation_scores(aectl, washers, tmp_path):
    folder, run = washers
    names = [name for name, _ in json.loads((folder / "run/split.json").read_text())["parts"]["val"]]
    scores = run.score([folder / "all" / name for name in names])
    for share in (0.5, 0.9):
        command = ("score", f"run={run.path}", f"input={folder}/all/000.png", f"threshold={share}", "device=cpu")
        assert aectl(*command, f"hydra.run.dir=out{share}").status == 0
        found = json.loads((tmp_path / f"out{share}/metrics.json").read_text())["threshold"]
        assert found == pytest.approx(np.quantile(scores, share, method="higher"), rel=1e-4)


def test_sub_folders_are_labels_and_say_which_are_usual(aectl, washers, tmp_path):
    _, run = washers
    rng = np.random.default_rng(5)
    for name, cracked, count in (("good", False, 12), ("cracked", True, 6)):
        (tmp_path / "new" / name).mkdir(parents=True)
        for number in range(count):
            washer(rng, cracked=cracked).save(tmp_path / f"new/{name}/{number}.png")
    command = ("score", f"run={run.path}", "input=new", "device=cpu", "hydra.run.dir=out")
    done = aectl(*command, "normal=good")
    assert done.status == 0, done.err
    rows = rows_of(tmp_path / "out/scores.csv")
    scores, odd = [float(row["score"]) for row in rows], [row["label"] == "cracked" for row in rows]
    figures = json.loads((tmp_path / "out/metrics.json").read_text())
    assert figures["auroc"] == pytest.approx(roc_auc_score(odd, scores))
    assert figures["average_precision"] == pytest.approx(average_precision_score(odd, scores))
    assert figures["auroc"] > 0.9
    assert (figures["usual"], figures["odd"]) == (12, 6)
    assert "AUROC" in done.out
    assert (
        "normal=god: must be one label of several (the pictures have cracked, good)"
        in aectl(*command, "normal=god").err
    )
    assert "AUROC" not in aectl(*command[:-1], "hydra.run.dir=out2").out


def test_pictures_that_were_stretched_are_said_and_bad_ones_listed(aectl, washers, tmp_path):
    _, run = washers
    (tmp_path / "new").mkdir()
    Image.new("L", (64, 32), 99).save(tmp_path / "new/wide.png")
    Image.new("L", (64, 64), 99).save(tmp_path / "new/square.png")
    (tmp_path / "new/bad.png").write_text("no picture")
    command = ("score", f"run={run.path}", "input=new", "output=s.csv", "device=cpu")
    refused = aectl(*command)
    assert refused.status == 3
    assert "on_bad=skip" in refused.err
    assert not (tmp_path / "s.csv").exists()
    done = aectl(*command, "on_bad=skip")
    assert done.status == 0, done.err
    assert "stretched to 32×32" in done.out + done.err
    assert "1 of 3 pictures, such as wide.png" in done.out + done.err
    assert [row["file"] for row in rows_of(tmp_path / "s_bad_pictures.csv")] == ["bad.png"]
    assert {row["name"] for row in rows_of(tmp_path / "s.csv")} == {"wide.png", "square.png"}
    assert "output=s.csv: is there already" in aectl(*command, "on_bad=skip").err
    (tmp_path / "s.csv").unlink()
    assert "output=s_oddest.png: is there already" in aectl(*command, "on_bad=skip").err
    assert aectl(*command, "on_bad=skip", "overwrite=true").status == 0


def test_arrays_and_the_runs_own_test_split(aectl, small_run, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=x, labels=np.array([0, 0, 1, 1, 1, 1]))
    command = ("score", f"run={small_run}", "device=cpu")
    done = aectl(*command, "input=x.npz", "output=s.csv", "normal=0", "threshold=null", "measure=nll", "samples=5")
    assert done.status == 0, done.err
    rows = rows_of(tmp_path / "s.csv")
    assert list(rows[0]) == ["name", "score", "pca", "label"]
    assert sorted(row["name"] for row in rows) == [f"{number:05d}" for number in range(6)]
    assert "a likelihood can be higher" in done.out
    own = aectl(*command, "normal=1", "hydra.run.dir=out")
    assert own.status == 0, own.err
    assert len(rows_of(tmp_path / "out/scores.csv")) == 20
    assert json.loads((tmp_path / "out/metrics.json").read_text())["usual"] > 0


@pytest.mark.parametrize(
    ("word", "said"),
    [("measure=odd", "measure=odd"), ("samples=0", "samples=0"), ("threshold=1.5", "threshold=1.5"),
     ("output=scores.txt", "must end in .csv"), ("measure=denoising", "this run has no noise"),
     ("normal=x", "must be one label of several")],
)  # fmt: skip
def test_what_cannot_be_scored_is_refused_in_one_line(aectl, small_run, word, said):
    refused = aectl("score", f"run={small_run}", "device=cpu", word)
    assert refused.status == 2
    (line,) = refused.err.strip().splitlines()
    assert said in line


def test_one_class_is_trained_on_alone_and_measured_on_all(aectl, tmp_path):
    one_class = ["dataset=digits", "dataset.labels=[3]", "dataset.val_size=20"]
    done = aectl("train", *one_class, "figures_every=0", "epochs=1", "device=cpu", "threads=1")
    assert done.status == 0, done.err
    # 183 of 1,797 digits are threes, and the test part has its share of them.
    assert re.search(r": 12[67] train, 20 val, 360 test", done.out)
    scored = aectl("score", "device=cpu", "hydra.run.dir=out")
    assert scored.status == 0, scored.err
    assert "usual: 3" in scored.out
    labels = {row["label"] for row in rows_of(tmp_path / "out/scores.csv")}
    assert labels == set("0123456789")


def test_the_area_and_its_interval_are_delongs():
    rng = np.random.default_rng(0)
    usual, odd = rng.normal(0, 1, 30), rng.normal(1.2, 1, 120)
    scores, is_odd = np.append(usual, odd), np.arange(150) >= 30
    found = detect(scores, is_odd)
    assert found.auroc == pytest.approx(roc_auc_score(is_odd, scores))
    drawn = []
    for _ in range(2000):  # the bootstrap, on the logit's scale
        drawn.append((rng.choice(odd, 120)[:, None] > rng.choice(usual, 30)).mean())
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    ties = detect(np.array([1.0, 1.0, 2.0, 1.0]), np.array([False, False, True, True]))
    assert ties.auroc == pytest.approx(0.75)
    apart = detect(np.array([1.0, 2.0, 3.0]), np.array([False, False, True]))
    assert (apart.auroc, apart.low, apart.high) == (1.0, None, None)
