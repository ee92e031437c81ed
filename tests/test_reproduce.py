import importlib.util
import sys
from pathlib import Path

import pytest

from aectl.composing import config_dir

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def reproduce():
    spec = importlib.util.spec_from_file_location("reproduce", ROOT / "benchmarks/reproduce.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["reproduce"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["reproduce"]


def test_every_preset_has_its_row_and_every_row_its_preset(reproduce):
    presets = {path.stem for path in (config_dir() / "experiment/published").glob("*.yaml")}
    assert {row.preset for row in reproduce.ROWS} == presets
    assert sorted({row.number for row in reproduce.ROWS}) == list(range(1, 10))


@pytest.mark.parametrize(
    ("preset", "value", "expected"),
    [("row4_vae_dynamic_mnist", 84.95, "within"), ("row4_vae_dynamic_mnist", 84.96, "missed"),
     ("row4_vae_dynamic_mnist", 83.9, "missed"), ("row4_vae_dynamic_mnist", 83.3, "**beyond**"),
     ("row1_deep_ae", 3.01, "missed"), ("row1_deep_ae", 2.6, "**beyond**"), ("row9_dae_gaussian", 20.1, "missed"),
     ("row9_dae_gaussian", 21.4, "within"), ("row9_dae_gaussian", 21.5, "**beyond**"),
     ("row2_pytorch_example_vae", 105.0, "within")],
)  # fmt: skip
def test_a_verdict_follows_the_tolerance(reproduce, preset, value, expected):
    (row,) = (row for row in reproduce.ROWS if row.preset == preset)
    assert reproduce.verdict(row.figures[0], value) == expected


def test_the_page_has_a_line_for_each_figure_and_only_of_rows_that_ran(reproduce):
    def kept(values, errors=()):
        return {"values": values, "errors": list(errors), "setting": "so", "minutes": 1.5, "measuring_minutes": 2.0,
                "threads": 2, "torch": "2", "machine": "x"}  # fmt: skip

    page = reproduce.page(
        {"row8_lecture_vae_std": kept([0.2, 4.0]), "row4_vae_dynamic_mnist": kept([84.5], [0.2, 0.003])}
    )
    lines = [line for line in page.splitlines() if line.startswith("| ") and "experiment" not in line]
    assert len(lines) == 3
    assert "| 84.45 ± 0.12 | 84.50 ± 0.20 ± 0.003 | +0.05 | 83.95 to 84.95 | within |" in lines[0]
    assert "aectl train experiment=published/row4_vae_dynamic_mnist" in page
    assert "row1" not in page


def test_the_lectures_error_is_that_of_normalised_pixels(reproduce):
    # ½·SSE + 784·½·log 2π with an error of 0.04 for each pixel
    recon = 0.5 * 784 * 0.04 + 784 * 0.9189385
    assert reproduce._squared_error({"train/recon": recon}, {}) == pytest.approx(0.4212)
