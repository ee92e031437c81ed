"""What is told of cleaned pictures: a page of one file, its choice of pictures, and the strip of best and worst."""

import base64
import io
import os
import re
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from albums import png, put
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from aectl.commands import cleaned
from aectl.commands.cleaned import Cleaned
from aectl.files.listing import Entry
from aectl.files.pictures.reading import Reading
from aectl.files.unfinished import Work
from aectl.measuring.likeness import Likeness

pytestmark = pytest.mark.usefixtures("without_pictures")

RNG = np.random.default_rng(0)


class Page(HTMLParser):
    """The figures of a page: alt texts and pictures by view, links, sliders, captions; and all elements' names."""

    def __init__(self, path: Path):
        super().__init__()
        self.figures, self.elements, self.sources, self.text = [], set(), [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.elements.add(tag)
        self.sources += [given[key] for key in ("src", "srcset", "data", "poster") if key in given]
        self.sources += [given["href"]] if tag == "link" else []
        if tag == "figure":
            self.figures.append({"views": {}, "sliders": 0, "pairs": [], "text": ""})
        elif tag == "img":
            self.figures[-1]["views"][given["data-view"]] = given
        elif tag == "input" and given["type"] == "range":
            assert given["aria-label"]
            self.figures[-1]["sliders"] += 1
        elif tag == "input":
            self.figures[-1]["pairs"].append(given["value"])
        elif tag == "a":
            self.figures[-1]["link"] = given["href"]

    def handle_data(self, data):
        self.text += data
        if self.figures:
            self.figures[-1]["text"] += data


def pixels(source: str) -> np.ndarray:
    head, _, data = source.partition(",")
    assert re.fullmatch(r"data:image/(png|jpeg);base64", head)
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
        return np.asarray(image)


def of_file(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.fixture
def with_references(tmp_path) -> Path:
    """Noisy pictures in `in`, clean ones in `clean`."""
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8) * 4
    for number, name in enumerate(("a.png", 'sub/it\'s <b>&amp;"1".png')):
        noisy = (smooth + (20 + 20 * number) * RNG.standard_normal(smooth.shape)).clip(0, 255).astype(np.uint8)
        put(tmp_path, {f"clean/{name}": png(smooth), f"in/{name}": png(noisy)})
    return tmp_path


def test_the_page_is_one_file_with_every_view_of_every_picture(aectl, autoencoder, with_references, tmp_path):
    done = aectl("denoise", f"run={autoencoder}", "input=in", "output=out", "reference=clean")
    assert done.status == 0, done.err
    assert "to look at: out/before_after.html and out/best_and_worst.png" in done.out
    page = Page(tmp_path / "out/before_after.html")
    assert not page.elements & {"b", "iframe", "object"}, "names are no markup, and no other page is within"
    assert all(source.startswith("data:") for source in page.sources), "nothing is asked for"
    assert "default-src 'none'" in (tmp_path / "out/before_after.html").read_text()
    assert "2 pictures, from the greatest gain in PSNR to the least." in page.text
    assert len(page.figures) == 2
    gains = []
    for figure in page.figures:
        name = urllib.parse.unquote(figure["link"]).removeprefix("./")
        assert name in figure["text"]
        assert figure["sliders"] == 1
        assert figure["pairs"] == ["before after", "after reference", "before reference"]
        files = {"before": f"in/{name}", "after": f"out/{name}", "reference": f"clean/{name}"}
        assert figure["views"].keys() == files.keys()
        for view, file in files.items():
            assert figure["views"][view]["alt"] == f"{view}: {name}"
            np.testing.assert_array_equal(pixels(figure["views"][view]["src"]), of_file(tmp_path / file))
        clean = of_file(tmp_path / files["reference"])
        before, after = (
            peak_signal_noise_ratio(clean, of_file(tmp_path / files[view])) for view in ("before", "after")
        )
        gains.append(after - before)
        assert f"PSNR {before:.2f} → {after:.2f} dB ({gains[-1]:+.2f}), SSIM " in figure["text"]
    assert gains == sorted(gains, reverse=True)


def test_without_references_there_are_two_views_and_no_figures(aectl, autoencoder, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    put(tmp_path / "in", {name: png(RNG.integers(0, 256, (12, 10), dtype=np.uint8))})
    assert aectl("denoise", f"run={autoencoder}", "input=in", "output=out").status == 0
    page = Page(tmp_path / "out/before_after.html")
    (figure,) = page.figures
    assert figure["views"].keys() == {"before", "after"}
    assert figure["pairs"] == []
    assert "PSNR" not in figure["text"]
    assert "1 picture. " in page.text
    assert urllib.parse.unquote_to_bytes(figure["link"]) == b"./caf\xe9.png"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([name, "before_after.html"])


def test_with_noise_that_is_added_the_noisy_picture_is_the_one_before(aectl, autoencoder, tmp_path):
    put(tmp_path / "in", {"a.png": png(np.full((12, 10), 128, np.uint8))})
    more = ("noise=gaussian", "noise.sigma=0.1")
    assert aectl("denoise", f"run={autoencoder}", "input=in", "output=out", *more).status == 0
    (figure,) = Page(tmp_path / "out/before_after.html").figures
    for view, file in (("before", "out/noisy/a.png"), ("reference", "in/a.png")):
        np.testing.assert_array_equal(pixels(figure["views"][view]["src"]), of_file(tmp_path / file))


def test_a_picture_called_like_a_report_is_refused_and_a_report_that_is_there_kept(aectl, autoencoder, tmp_path):
    put(
        tmp_path / "in",
        {"best_and_worst.png": png(np.zeros((12, 10), np.uint8)), "a.png": png(np.eye(12, dtype="u1"))},
    )
    command = ("denoise", f"run={autoencoder}", "input=in", "output=out", "reference=in")
    refused = aectl(*command)
    assert refused.status == 3
    assert "best_and_worst.png: its output cannot be there beside that of best_and_worst.png" in refused.out
    put(tmp_path / "out", {"before_after.html": b"mine"})
    refused = aectl(*command, "on_bad=skip")
    assert refused.status == 6
    assert "has before_after.html already" in refused.err
    assert (tmp_path / "out/before_after.html").read_bytes() == b"mine"
    assert aectl(*command, "on_bad=skip", "overwrite=true").status == 0


def made_up(folder: Path, gains: list[float] | int) -> list[Cleaned]:
    """Pictures of one grey each, 2·number before, 2·number + 1 after, 255 as the reference; with gains or without."""
    found = []
    several = range(gains) if isinstance(gains, int) else gains
    for number, gain in enumerate(several):
        values = {"before": 2 * number, "after": 2 * number + 1, "reference": 255}
        put(folder, {f"{view}/{number}.png": png(np.full((4, 6), value, np.uint8)) for view, value in values.items()})
        views = {view: Entry(f"{number}.png", str(folder / view / f"{number}.png")) for view in values}
        known = None if isinstance(gains, int) else Likeness(20, 20 + gain, 0.5, 0.5)
        found.append(Cleaned(f"{number:02d}.png", views, known))
    return found


def test_of_many_pictures_the_page_shows_forty_and_says_which(tmp_path):
    gains = RNG.permutation(50).astype(float).tolist()
    shown, which = cleaned.chosen(made_up(tmp_path, gains))
    assert [one.likeness.gain for one in shown] == [*range(49, 29, -1), *range(19, -1, -1)]
    assert which == "40 of 50 pictures: the 20 that gained most and the 20 least"
    shown, which = cleaned.chosen(made_up(tmp_path, 79))
    assert [int(one.name[:2]) for one in shown] == list(range(0, 79, 2))
    assert which == "40 of 79 pictures, evenly chosen"


@pytest.mark.parametrize(
    ("gains", "order"),
    [([3, -1, 5, 2, 9, 0, 4, 1], [4, 2, 6, 7, 5, 1]), ([1, 2, 3, 4], [3, 2, 1, 0]), ([-2], [0])],
)  # fmt: skip
def test_the_strip_has_the_best_and_the_worst_in_their_order(tmp_path, gains, order):
    work = Work(tmp_path, {}, False, folder=True)
    with work.begun([]):
        cleaned.tell(made_up(tmp_path, gains), work, "by nobody", Reading())
    strip = of_file(tmp_path / "best_and_worst.png")[..., 0].astype(int)
    width = strip.shape[1] // 3
    rows = []
    for line in strip:
        before, after, reference = (line[round((at + 0.5) * width)] for at in range(3))
        picture = before < 100 and after == before + 1 and reference == 255  # and no edge of a letter
        if picture and (not rows or rows[-1] != before // 2):
            rows.append(before // 2)
    assert rows == order
