"""What a change of the code's shape must leave as it was: fixed-seed runs to the byte, and runs saved by 0.1.0."""

import json
import shutil
from pathlib import Path

import golden
import pytest

pytestmark = pytest.mark.usefixtures("without_pictures")

HERE = Path(__file__).resolve().parent
THEN = json.loads(golden.RECORD.read_text())
SAVED = HERE / "saved_by_0.1.0"


def same(found, expected):
    """Compare nested figures item by item, as they come out where sums are made in another order."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    else:
        assert found == expected


@pytest.mark.parametrize("name", golden.RUNS)
def test_a_run_with_a_fixed_seed_is_what_it_was(aectl, tmp_path, name):
    def command(folder: Path, *args: str) -> None:
        done = aectl(*args)
        assert done.status == 0, done.err

    found = golden.measure(name, tmp_path, command)
    if golden.environment() == THEN["environment"]:
        assert found == THEN["runs"][name]
    same({**found, "weights": ""}, {**THEN["runs"][name], "weights": ""})


@pytest.fixture
def saved(tmp_path) -> Path:
    """A sweep of a DAE, a VAE and an IWAE, as version 0.1.0 has saved them."""
    shutil.copytree(SAVED, tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("job", ["0_dae-latent2", "1_vae-latent2", "2_iwae-latent2"])
def test_a_run_saved_by_0_1_0_is_measured_sampled_and_resumed(aectl, saved, job):
    run = saved / job
    best = json.loads((run / "result.json").read_text())
    done = aectl("eval", f"run={run}", "split=val", "device=cpu", "hydra.run.dir=measured")
    assert done.status == 0, done.err
    found = json.loads(Path("measured/metrics.json").read_text())
    assert found["recon"] == pytest.approx(best["val/recon"], rel=1e-3)
    mode = "interpolate" if job.startswith("0") else "prior"
    assert aectl("sample", f"run={run}", f"mode={mode}", "n=4", "device=cpu").status == 0
    done = aectl("train", f"resume={run}", "epochs=2")
    assert done.status == 0, done.err
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows[1]["train/loss"] < rows[0]["train/loss"]


def test_a_sweep_saved_by_0_1_0_is_reported(aectl, saved):
    done = aectl("report", f"sweep={saved}", "split=val", "device=cpu", "hydra.run.dir=page")
    assert done.status == 0, done.err
    assert "iwae" in Path("page/report.md").read_text()
