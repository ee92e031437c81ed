"""benchmarks/: the page of docs/performance.md, and the programs that are timed for it, on very little."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from aectl.machine import devices

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    before = set(sys.modules)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield
    for name in ("performance_page", "timing", "training", "speed", "growth"):
        if name not in before:
            sys.modules.pop(name, None)


def section(page, text):
    return page.Section("What it means.", lambda given, folder: text)


def test_a_section_is_measured_anew_and_the_others_stay(tmp_path, monkeypatch):
    import performance_page as page

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    given = Namespace(out=tmp_path / "page.md")
    page.write(
        {"Evaluation": section(page, "E 1\n\nE 2"), "Training": section(page, "T 1")}, given, "python a.py {}".format
    )
    page.write({"Training": section(page, "T 2")}, given, "python b.py --rounds 1 {}".format)
    text = given.out.read_text().removeprefix(page.HEAD)
    assert text.index("T 2") < text.index("E 1\n\nE 2"), "in the page's order, not in that of measuring"
    assert "T 1" not in text
    assert text.count("What it means.") == text.count("\n## ") == 2
    training, evaluation = text.split("\n## ")[1:]
    assert "`OMP_NUM_THREADS=3 python b.py --rounds 1 Training`" in training
    assert "`OMP_NUM_THREADS=3 python a.py Evaluation`" in evaluation
    assert all(torch.__version__ in part for part in (training, evaluation))
    page.write({"Growth": section(page, "G")}, given, lambda title: "python c.py")
    assert given.out.read_text().removeprefix(page.HEAD).count("\n## ") == 3


def test_every_section_has_a_place_on_the_page():
    import performance_page
    import speed

    assert {*speed.SECTIONS, "Growth"} == set(performance_page.ORDER)


def test_ratios_are_taken_within_rounds():
    import training

    # The machine is ten times slower in the second round. The ratio of medians would be 10 / 15.
    pairs = [(10, 20), (1, 2), (30, 15)]
    found = [{"aectl": {"steps_per_s": a, "ends": 0.5}, "bare": {"steps_per_s": b, "ends": 0}} for a, b in pairs]
    (line,) = (line for line in training.table(found).splitlines() if line.startswith("| bare"))
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert cells == ["15", "0.50 (0.50 to 2.00)", "1.0: missed", "0.25", ""]


def test_bf16_is_left_out_with_a_sentence(monkeypatch):
    import training

    monkeypatch.setattr(devices, "bf16_instructions", set)
    wanted, left_out = training.names(Namespace(without_others=True))
    assert wanted == ["aectl", "bare", "notebook"]
    assert "no instructions" in left_out[0]
    assert "--without-others" in left_out[1]
    monkeypatch.setattr(devices, "bf16_instructions", lambda: {"amx_bf16"})
    assert training.names(Namespace(without_others=False))[0] == list(training.WORDS)


def test_the_exponent_is_that_of_the_two_largest_sizes():
    import growth

    costs = [{"step": value, "end": 1 + value / 1000, "memory": value**2} for value in (7.0, 1.0, 8.0)]
    axis = growth.Axis("pixels", (1, 10, 100), costs, growth.COSTS, {"memory": "it is squared"})
    assert axis.exponent("step") == pytest.approx(0.90309, abs=1e-5)  # log10(8)
    assert axis.verdict("step") == "no more than a straight line (exponent 0.90)"
    assert axis.verdict("end") == "the same at every size"
    assert axis.verdict("memory") == "more than a straight line (exponent 1.81): it is squared"


@pytest.mark.slow
def test_what_a_run_costs_from_inside():
    from timing import script

    tiny = ("experiment=smoke", "dataset.synthetic_size=400", "batch_size=8")
    found = script("one_run.py", *tiny)
    assert found.keys() == {"start", "step", "end", "memory"}
    assert all(value > 0 for value in found.values())
    assert found["step"] < found["end"]  # of 34 steps each


@pytest.mark.slow
def test_programs_live_on_between_rounds(tmp_path):
    import training

    images = np.random.default_rng(0).integers(0, 256, (4400, 784), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    found = training.measured(["aectl", "bare", "notebook"], tmp_path / "images.npy", 2000, rounds=2, seconds=0.01)
    assert [set(each) for each in found] == 2 * [{"aectl", "bare", "notebook"}]
    assert all(one["steps_per_s"] > 0 for each in found for one in each.values())
    assert all(0 < each["aectl"]["ends"] < 1 for each in found), "an epoch is a single step"
    assert found[0]["bare"]["ends"] == 0
    with pytest.raises(SystemExit, match=r"nothing\.npy"):
        training.measured(["bare"], tmp_path / "nothing.npy", 32, rounds=1)


@pytest.mark.slow
def test_the_first_step_is_seen(tmp_path):
    import speed
    from timing import environment

    done = subprocess.run(
        [sys.executable, "-c", speed.FIRST_STEP], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs/train").iterdir()
    records = run / "metrics.jsonl"
    steps = [json.loads(line)["step"] for line in records.read_text().splitlines()] if records.is_file() else []
    assert steps == [], "it ends before the first epoch does"
    assert (run / "checkpoints").is_dir()
