"""The page that `make demo` ends with, in a real browser."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import SMALL

pytestmark = pytest.mark.pages

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/demo.py"


def made(folder):
    return subprocess.run([sys.executable, SCRIPT], cwd=folder, capture_output=True, text=True, timeout=120)


def test_it_shows_both_runs_and_what_was_made_of_them(aectl, opened, tmp_path):
    few = (*SMALL, "epochs=1", "explore=true")
    for line in (
        ("train", *few, "model=vae", "name=first"), ("sample", "mode=prior", "n=4"), ("sample", "mode=grid", "n=9"),
        ("train", *few, "model=dae", "latent=4", "noise=gaussian"), ("denoise",),
        ("train", *few, "model=vae", "latent=3"),
    ):  # fmt: skip
        assert aectl(*line).status == 0, line
    done = made(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("outputs/demo.html")
    shown = opened(tmp_path / "outputs/demo.html")
    page = shown.page
    assert page.locator("h2").all_inner_texts()[:2] == ["VAE, latent 2, on synthetic", "DAE, latent 4, on synthetic"]
    assert "name=first" in page.locator("pre").first.inner_text()
    titles = page.locator("h3").all_inner_texts()
    assert {"Curves", "The plane", "The plane, by the prior", "Samples", "Reconstructions", "Denoised"} == set(titles)
    assert all(page.evaluate("() => [...document.images].map((image) => image.naturalWidth > 0)"))
    links = page.locator("a.play")
    assert links.count() == 2
    links.first.click()
    assert page.title().startswith("VAE, latent 2")
    assert shown.complaints == []
    assert all(url.startswith(("data:", "file:")) for url in shown.requests)


def test_without_runs_it_says_what_to_do(tmp_path):
    (tmp_path / "outputs").mkdir()
    done = made(tmp_path)
    assert done.returncode == 1
    assert done.stderr == "outputs/train: has no finished VAE of latent 2; `make demo` trains one\n"
