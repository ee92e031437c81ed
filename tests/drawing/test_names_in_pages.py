"""A name in a page is text: that of a hostile name has the elements, attributes and addresses of a harmless one's."""

import json
import warnings
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from markdown import markdown

from aectl.data.datasets.synthetic import Synthetic
from aectl.drawing import before_after, grids, plots, report_page
from aectl.drawing.before_after import Shown
from aectl.drawing.pages.filling import FOLDER, filled
from aectl.errors import one_line
from aectl.files.pictures.previews import Preview
from aectl.files.tables import in_markdown
from aectl.measuring.comparison import Measured, grouped
from aectl.measuring.endings import Ending, Endings
from aectl.measuring.sweep import Circumstances
from aectl.models.autoencoder import Ae
from aectl.models.networks.mlp import Mlp
from aectl.training import loop
from configs import train_config

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FEW = Synthetic(val_size=10, test_size=10, synthetic_size=40, synthetic_shape=[1, 8, 8])
HOSTILE = [
    "<script>alert(1)</script>", '"onload="alert(1)', "' autofocus onfocus=alert(1) '",
    "](javascript:alert(1))", "![](http://elsewhere/x.png)", "[a](http://elsewhere)", "<http://elsewhere>",
    "http://elsewhere www.elsewhere.com", "a@elsewhere.com", "&lt;img src=x onerror=alert(1)&gt;",
    "&#60;b&#62;", "{{7*7}}{% raw %}", "a\n\n# b\n\n- c\n", "\n\n    code", "| a | b |\n|---|---|\n| c | d |",
    "\u202egnp.exe\u2066", "\x1b[31m\x07", "</style><style>*{}", "</title><b>", "-->", "<!--", "]]>",
    "\\<b>\\[x](http://elsewhere)", "[x]: http://elsewhere", "$x^2$ ~~y~~ *z* _w_",
    "<a href='http://elsewhere'>", "\udce9\u3164", "1. a\n2. b", "> quoted\n===\n---", "```\nx", "&copy; &",
    "\x00",
]  # fmt: skip
ADDRESSES = ("src", "href", "srcset", "data", "poster", "action", "style", "http-equiv", "content")
MARKS = ("strong", "code", "em")  # which our sentences have, and which a name may have as well


class Skeleton(HTMLParser):
    """Elements with the names of their attributes, and what can lead elsewhere; texts apart."""

    def __init__(self, page: str):
        super().__init__()
        self.bones, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag not in MARKS:
            told = [(name, value if name in ADDRESSES else "") for name, value in attrs]
            self.bones.append((tag, *told))

    def handle_endtag(self, tag):
        if tag not in MARKS:
            self.bones.append(("/", tag))

    def handle_comment(self, data):
        self.bones.append(("comment", data))

    def handle_decl(self, decl):
        self.bones.append(("declaration", decl))

    def handle_pi(self, data):
        self.bones.append(("instruction", data))

    def handle_data(self, data):
        self.text += data


def alike(hostile: str, harmless: str) -> None:
    found, expected = Skeleton(hostile), Skeleton(harmless)
    assert found.bones == expected.bones
    assert all(letter == "\n" or letter.isprintable() for letter in found.text)


def report_with(name: str) -> report_page.Page:
    """A report with the name wherever somebody else may have written something."""
    given = {"sse": 1.0, "recon": 2.0, "chosen_by": 1.0}
    runs = [
        Measured(str(index), {name: f"{name}{index}", "latent": f"{name}"}, {"latent": 2.0 + index}, given, data=name)
        for index in range(2)
    ]
    what = Circumstances([name], [name], [name], [name], name)
    jobs = [{"job": name, "status": "failed", "error": name}, {"job": name, "status": "interrupted"}]
    ended = Endings("latent", [name], [name], [[[Ending.WORSE]]])
    return report_page.page(name, name, what, jobs, runs, grouped(runs), ended, ["curves"])


@pytest.mark.parametrize("name", HOSTILE)
def test_the_report(tmp_path, name):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/curves.png").write_bytes(b"png")
    alike(*(report_page.as_html(report_with(one), tmp_path) for one in (name, "harmless")))


@pytest.mark.parametrize("name", HOSTILE)
def test_the_report_in_markdown(name):
    alike(*(markdown(report_page.as_markdown(report_with(one)), extensions=["tables"]) for one in (name, "harmless")))


@pytest.mark.parametrize("name", [name for name in HOSTILE if "`" not in name])
def test_markdown_shows_a_name_as_it_is(name):
    assert Skeleton(markdown(f"x {in_markdown(name)} x")).text == f"x {one_line(name)} x".replace("  ", " ")


def test_addresses_are_none_in_markdown():
    """Where it is shown, bare ones may become links."""
    said = in_markdown("http://a.b https://c WWW.d.e f@g.h [i](j) [k][l] [m]: n a@ @b 1:2 [0, 1]")
    assert said == (
        "http&#58;//a.b https&#58;//c WWW&#46;d.e f&#64;g.h [i&#93;(j) [k&#93;[l] [m&#93;: n a@ @b 1:2 [0, 1&#93;"
    )


def test_the_marks_of_our_sentences_stay(tmp_path):
    text = "**vae <2>**: its `aectl eval` is **best**, and a [b] `c"
    report = report_page.Page("a", [report_page.Fact("By", "x ``y`", is_code=True)], [text], [])
    html = report_page.as_html(report, tmp_path)
    assert "<p><strong>vae &lt;2&gt;</strong>: its <code>aectl eval</code> is <strong>best</strong>" in html
    assert "<code>x ``y`</code>" in html
    said = report_page.as_markdown(report)
    assert "- **By:** ``` x ``y` ```\n" in said
    assert "\n**vae &lt;2&gt;**: its `aectl eval` is **best**, and a [b] `c\n" in said


@pytest.mark.parametrize("name", HOSTILE)
def test_pictures_before_and_after(name):
    view = Preview(b"x", "png", 30, 20)
    pages = []
    for one in (name, "harmless"):
        shown = [Shown(one, one, {"before": view, "after": view, "reference": view})]
        page = before_after.page(one, [one], shown)
        pages.append(page.replace(shown[0].link, "./link"))
        assert shown[0].link.startswith("./")
        assert shown[0].link.isascii()
        assert not set(shown[0].link) & set("\"'<>: &#?\n")
    alike(*pages)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_explorer_and_the_demo(name):
    def explorer(text: str) -> str:
        words = defaultdict(lambda: text)
        more = {"latent": 2, "is_vae": True, "has_labels": True, "has_train": True, "decodes": True}
        return filled("explorer.html", title=text, facts=text, document="", words=words, **more)

    def demo(text: str) -> str:
        part = {"heading": text, "command": text, "result": text, "explorer": "explore.html"}
        picture = {"title": text, "words": text, "source": "data:,", "wide": True}
        return filled("demo.html", folder=BENCHMARKS, parts=[(part, [picture])])

    alike(explorer(name), explorer("harmless"))
    alike(demo(name), demo("harmless"))


def test_every_page_asks_for_nothing():
    """A policy in each, and each value on its way through a template that escapes."""
    for template in [*FOLDER.glob("*.html"), BENCHMARKS / "demo.html"]:
        text = template.read_text(encoding="utf-8")
        policy = 'http-equiv="Content-Security-Policy" content="{{ policy }}"'
        whole = template.name == "base.html"
        assert policy in text if whole else text.startswith('{% extends "base.html" %}'), template
        assert "|safe" not in text.replace(" ", ""), template
        assert "autoescape" not in text, template


@pytest.mark.parametrize("name", ["$\\nosuch{$ x", "\x1b[31m\u202e\udce9 漢 \x00", "long " * 1000, "y" * 100_000])
def test_a_picture_shows_any_name(name):
    """A dollar is no formula, a name of a million letters takes no gigabyte, and nobody warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot = plots.lines([plots.Line(name, [1.0, 10.0], [1.0, 2.0])], name, name, name, log_x=True, log_y=True)
        sheet = grids.rows({name: torch.zeros(2, 1, 8, 8)}, name)
    assert plot.size < 3_000_000
    assert sheet.size < 12_000_000


def test_a_dollar_in_a_name_is_no_formula(monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", lambda *given: drawn.append(given))
    plots.bars(torch.tensor([1.0, 2.0]), ["$a$", "$b$"], "$x$", "$y$", "$z$")
    assert drawn == []


def test_the_report_of_a_strangers_sweep(aectl, tmp_path):
    """All that a folder can say, through the command: two runs whose files have been written anew."""
    sweep = tmp_path / "sw <script>x\n\x1b[31m"
    for latent in (2, 3):
        folder = sweep / f"{latent - 2}_ae"
        config = train_config(
            dataset=FEW, network=Mlp(hidden=[4]), model=Ae(), latent=latent, epochs=1, device="cpu",
            figures_every=0, threads=1,
        )  # fmt: skip
        loop.train(config, folder, [f"latent={latent}"])
        result = json.loads((folder / "result.json").read_text())
        name = HOSTILE[0] + "\x1b[2J$x$\u202e"
        result["overrides"] = [f"latent={latent}", f"{name}={name}{latent}", f"model={HOSTILE[4]}{latent}"]
        (folder / "result.json").write_text(json.dumps(result))
        path = folder / "config.yaml"
        settings = path.read_text().split("\n", 1)[1]
        path.write_text(f"# aectl `train` {HOSTILE[0]} {HOSTILE[4]}\n{settings}")
    (sweep / "2_x").mkdir()
    failed = {
        "status": "failed",
        "overrides": ["\x1b=1"],
        "error": f"{HOSTILE[0]}\x1b[31m {HOSTILE[3]}",
        "exit_code": 2,
    }
    (sweep / "2_x/result.json").write_text(json.dumps(failed))
    done = aectl("report", f"sweep='{sweep}'", "hydra.run.dir=out")
    assert done.status == 0, done.err
    assert all(letter in "\n\t" or letter.isprintable() for letter in done.out + done.err)
    for file in ("out/report.log", "out/report.md", "out/report.csv"):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert all(letter in "\n\r\t" or letter.isprintable() for letter in text), file
    page = Skeleton((tmp_path / "out/report.html").read_text(encoding="utf-8"))
    tags = {bone[0] for bone in page.bones} - {"/", "declaration"}
    ours = "html head meta link title style body h1 ul li p table thead tbody tr th td img"
    assert tags <= set(ours.split())
    assert [bone for bone in page.bones if bone[0] == "link"] == [("link", ("rel", ""), ("href", "data:,"))]
    sources = [value for bone in page.bones if bone[0] == "img" for key, value in bone[1:] if key == "src"]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "<script>" in page.text
