"""How runs ended, told from what they left on the disk."""

import json

import pytest

from aectl.drawing import report_plots
from aectl.measuring.endings import Ending, endings, of

MEAN_IMAGE = 200.0


def job(folder, number: int, recons, **result) -> dict:
    """What a sweep leaves of a job whose epochs had these reconstructions."""
    where = folder / f"{number}_vae"
    where.mkdir()
    lines = [
        json.dumps({"epoch": n, "step": n, "train/recon": 1.0, "val/recon": recon}) for n, recon in enumerate(recons)
    ]
    (where / "metrics.jsonl").write_text("\n".join(lines))
    return {"job": str(number), "folder": where, "status": "completed", "mean_image_recon": MEAN_IMAGE, **result}


@pytest.mark.parametrize(
    ("recons", "result", "expected"),
    [([250.0, 199.0], {}, Ending.LEARNT), ([150.0, 200.0], {}, Ending.WORSE), ([150.0, None], {}, Ending.WORSE),
     ([150.0], {"status": "failed", "exit_code": 5}, Ending.NOT_FINITE),
     ([150.0], {"status": "failed", "exit_code": 3}, None),
     ([150.0], {"status": "interrupted"}, None), ([], {}, None)],
)  # fmt: skip
def test_a_run_ends_as_its_last_epoch_does(tmp_path, recons, result, expected):
    assert of(job(tmp_path, 0, recons, **result)) == expected


def test_without_validation_the_training_images_decide(tmp_path):
    one = job(tmp_path, 0, [])
    (one["folder"] / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "step": 1, "train/recon": 201.0}))
    assert of(one) == Ending.WORSE


def test_seeds_are_counted_together_along_the_learning_rate(tmp_path, monkeypatch):
    given = [
        {"experiment": form, "lr": rate, "seed": seed}
        for form in ("raw", "clipped") for rate in ("0.1", "0.01") for seed in ("0", "1")
    ]  # fmt: skip
    lost = {"status": "failed", "exit_code": 5}
    jobs = [
        job(tmp_path, number, [recon], **more)
        for number, (recon, more) in enumerate([
            (900.0, {}), (1.0, lost), (150.0, {}), (900.0, {}), (150.0, {}), (150.0, {}), (150.0, {}),
            (1.0, {"status": "interrupted"}),
        ])
    ]  # fmt: skip
    found = endings(jobs, given)
    assert found.table() == (
        ["", "lr=0.01", "lr=0.1"],
        [["raw", "1 of 2", "0 of 2 (1 not finite)"], ["clipped", "1 of 1", "2 of 2"]],
    )
    assert found.sentences() == [
        "Of 7 runs 4 ended better than the mean image, 2 ended no better, 1 ended at a number that is not finite."
    ]
    drawn = []
    monkeypatch.setattr(report_plots.plots, "share_table", lambda shares, words, *more: drawn.append((shares, words)))
    list(report_plots.along([], found))
    assert drawn == [([[0.5, 0.0], [1.0, 1.0]], [["1 of 2", "0 of 2\n(1 not finite)"], ["1 of 1", "2 of 2"]])]


def test_nothing_is_said_where_all_have_learnt(tmp_path):
    found = endings([job(tmp_path, 0, [150.0])], [{}])
    assert not found.differ
    assert found.sentences() == []
    assert (found.axis, found.rows, found.columns) == (None, ["all runs"], ["runs"])
    assert list(report_plots.along([], found)) == []
