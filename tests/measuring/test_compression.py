"""Files of a sweep's runs beside files of others: what is measured, on which pictures, and what is said of it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from albums import own, png, put
from conftest import SMALL
from skimage import data

from aectl.drawing import codec_plots
from aectl.measuring import comparison, lossless, lossy, whole
from aectl.measuring.comparison import Measured, grouped
from aectl.measuring.findings import findings
from aectl.measuring.lossless import Coded
from aectl.measuring.lossy import Beside
from aectl.measuring.rate_distortion import Point
from aectl.measuring.whole import Pictures

JPEG = {10: Point(0.2, 26.0, 0.7), 30: Point(0.4, 30.0, 0.8), 60: Point(0.8, 34.0, 0.9)}
NONE = Pictures("photographs, 3 pictures", {})
AVIF = {quality: Point(one.bpp / 2, one.psnr, one.ssim) for quality, one in JPEG.items()}
BESIDE = Beside(NONE, 400_000.0, {"JPEG": JPEG, "AVIF": AVIF})


def codec(weight: float, bpp: float, psnr: float, **more: str) -> Measured:
    figures = {"recon": 1.0, "sse": 1.0, "chosen_by": 1.0, "bpp": bpp, "file_psnr": psnr, "file_ssim": 0.8}
    settings = {"objective.weight": f"{weight:g}", **more}
    return Measured(str(weight), settings, {"latent": 8, "objective.weight": weight}, figures)


# A quarter fewer bits than JPEG at every PSNR, half as many again as AVIF.
OURS = grouped([codec(0.01, 0.3, 30.0), codec(0.003, 0.15, 26.0), codec(0.03, 0.6, 34.0)])


def test_a_codec_that_takes_a_quarter_less_is_said_to():
    assert lossy.findings(OURS, BESIDE) == [
        "**aectl**: At the same PSNR its files take 25.0 % fewer bits than JPEG's and 50.0 % more bits than AVIF's, "
        "up to 0.6 bits per pixel (BD-rate)."
    ]
    header, rows = lossy.table(OURS, BESIDE)
    assert header == ["codec", "against", "BD-rate up to 0.6 bpp", "BD-rate"]
    assert [row[:2] for row in rows] == [["aectl", "JPEG"], ["aectl", "AVIF"]]
    assert rows[0][3] == "-25.0 % (26.0 to 34.0 dB)"
    assert rows[1][2] == rows[1][3] == "+50.0 % (26.0 to 34.0 dB)"
    assert rows[0][2].startswith("-25.0 % (26.0 to 32."), "JPEG is at 0.6 before 34 dB"


def test_the_sentences_on_a_weight_are_of_files():
    said = findings(OURS)[0]
    assert "The rate of the files rises at every step, from 0.150 bits per pixel at λ 0.003 to 0.600" in said
    assert "The PSNR of the files rises at every step, from 26.00 dB at λ 0.003 to 34.00 dB at λ 0.03." in said


def test_one_codec_is_a_point_and_curves_may_have_nothing_in_common():
    assert "is a point" in lossy.findings(OURS[:1], BESIDE)[0]
    far = grouped([codec(0.01, 0.3, 50.0), codec(0.03, 0.6, 54.0)])
    assert "no PSNR in common" in lossy.findings(far, BESIDE)[0]
    assert lossy.table(far, BESIDE)[1][0][2:] == ["–", "–"]


def test_every_point_is_in_the_file():
    header, rows = lossy.records(OURS, BESIDE)
    assert header == ["codec", "setting", "bpp", "psnr", "ssim"]
    assert rows[0] == ["aectl", "objective.weight=0.003", 0.15, 26.0, 0.8]
    assert ["JPEG", "quality=30", 0.4, 30.0, 0.8] in rows
    assert len(rows) == 9


def test_a_sweep_of_codecs_and_others_has_a_weight_where_there_is_one():
    other = Measured("9", {"model": "vae"}, {"latent": 8}, {"recon": 1.0})
    groups = grouped([codec(0.01, 0.3, 30.0, model="rounded"), codec(0.03, 0.6, 34.0, model="rounded"), other])
    assert comparison.varies(groups, comparison.WEIGHT)
    assert list(comparison.series(groups, comparison.WEIGHT)) == ["rounded"]
    assert list(comparison.series(groups)) == ["rounded", "vae"]
    assert not comparison.varies(groups, "latent")


def test_what_is_small_or_missing_is_said():
    assert "small" not in BESIDE.words()
    assert "WebP: not in this Pillow, and left out." in BESIDE.words()
    small = Beside(NONE, 784.0, {"JPEG": {1: Point(3.25, 20.0, 0.5)}}).words()
    assert "no file of the others is below 3.25 bits per pixel" in small


def test_curves_end_where_they_leave_the_plot():
    points = codec_plots.up_to(0.5, list(JPEG.values()))
    assert points[:2] == [JPEG[10], JPEG[30]]
    assert points[2] == Point(0.5, pytest.approx(31.0), pytest.approx(0.825)), "a quarter of the way to the third"
    assert codec_plots.up_to(0.1, list(JPEG.values())) == []
    assert len(codec_plots.up_to(9, list(JPEG.values()))) == 3


def test_the_part_that_is_shown_is_where_most_is_to_be_seen():
    picture = np.zeros((3, 400, 700), np.uint8)
    picture[:, 200:360, 480:640] = np.indices((160, 160)).sum(0) % 2 * 255
    rows, columns = codec_plots.busiest(picture)
    assert (rows, columns) == (slice(200, 360), slice(480, 640))
    assert codec_plots.busiest(picture[:, :28, :28]) == (slice(0, 28), slice(0, 28))


def test_parts_stand_beside_a_jpeg_of_the_same_size(monkeypatch):
    photograph = data.astronaut().transpose(2, 0, 1)
    monkeypatch.setattr(lossy, "codings", lambda *given: (12_000, photograph // 16 * 16))
    words = []
    monkeypatch.setattr(codec_plots.grids, "table", lambda rows, labels, said, *more: words.extend(said))
    codec_plots.parts(None, Pictures("", {"a": lambda: photograph}), "aectl")
    ((original, ours, theirs),) = words
    assert original == "24 bits per pixel"
    assert ours.startswith(f"{8 * 12_000 / 512**2:.3f} bits per pixel")
    assert abs(float(theirs.split()[0]) - 8 * 12_000 / 512**2) < 0.02


class Opened:
    """What `whole` asks a run for."""

    def __init__(self, dataset, channels: int):
        self.config, self.shape = type("Config", (), {"dataset": dataset, "data": None}), (channels, 8, 8)


def test_whole_pictures_are_read_in_their_own_size_with_the_runs_channels(tmp_path):
    grey = np.arange(300, dtype=np.uint16).astype(np.uint8).reshape(15, 20)
    put(tmp_path, {"a.png": png(grey), "b/c.png": png(np.stack([grey[:7]] * 3, axis=2)), "notes.txt": b"no"})
    for channels in (1, 3):
        found = whole.at(tmp_path, Opened(own(tmp_path), channels))
        assert [one.shape for one in found] == [(channels, 15, 20), (channels, 7, 20)]
        np.testing.assert_array_equal(next(iter(found))[0], grey)
    assert found.words == f"{tmp_path.name}, 2 pictures"
    put(tmp_path, {"broken.png": b"no picture"})
    with pytest.raises(whole.DataError, match=r"input=.*broken\.png"):
        list(whole.at(tmp_path, Opened(own(tmp_path), 1)))


def test_of_many_pictures_some_are_taken_evenly(monkeypatch, tmp_path):
    monkeypatch.setattr(whole, "MOST", 3)
    put(tmp_path, {f"{number}.png": png(np.full((4, 5), number, np.uint8)) for number in range(9)})
    found = whole.at(tmp_path, Opened(own(tmp_path), 1))
    assert [int(one.max()) for one in found] == [0, 4, 8]
    assert "3 of 9 pictures" in found.words


def test_a_table_has_the_smallest_first_and_a_sentence_names_the_best_of_the_others():
    found = [Coded("mnist", "vae, job 3", "bits back", 80, 4000, "3"), Coded("mnist", "lzma", "one", 120, 4000),
             Coded("mnist", "bz2", "one", 100, 4000)]  # fmt: skip
    (_, rows) = lossless.tables(found)["mnist"]
    assert [row[0] for row in rows] == ["vae, job 3", "bz2", "lzma"]
    assert rows[0][2:] == ["0.160", "80"]
    assert lossless.findings(found) == [
        "**vae, job 3**: without loss its file takes 0.160 bits/dim, 20.0% less than bz2 (0.200)."
    ]


def test_a_report_has_the_best_lossless_run_beside_archives(aectl, tmp_path):
    """The figure is that of a file that `aectl encode` writes of the same images, but for its header."""
    given = ("dataset.binarize=threshold", "likelihood=bernoulli", "model=vae", "latent=2,3", "epochs=1")
    assert aectl("train", "-m", *SMALL, *given).status == 0
    reported = aectl("report")
    assert reported.status == 0, reported.err
    (folder,) = (tmp_path / "outputs/report").iterdir()
    with (folder / "lossless.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["coder"] for row in rows[1:]] == ["gzip", "bz2", "lzma", "PNG", "WebP lossless", "CCITT group 4"]
    (run,) = tmp_path.glob(f"outputs/multirun/*/{rows[0]['job']}_*")
    assert aectl("encode", f"run={run}", "output=test.aec").status == 0
    size = Path("test.aec").stat().st_size
    assert 0 < size - int(rows[0]["bytes"]) < 1000
    assert float(rows[0]["bits_per_dim"]) == pytest.approx(8 * int(rows[0]["bytes"]) / (64 * 784))
    page = (folder / "report.md").read_text()
    assert "bits/dim" in page
    assert "without loss its file takes" in page
    with (folder / "report.csv").open() as file:
        best = {row["job"]: row["bits_per_dim"] for row in csv.DictReader(file)}
    assert float(best[rows[0]["job"]]) == float(rows[0]["bits_per_dim"])
    assert sum(map(bool, best.values())) == 1
    assert not (folder / "codecs.csv").exists()
