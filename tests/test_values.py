"""Any JSON value at any key of any file, through the commands that read it: a documented code, and one line at most.

`AECTL_FUZZ=1000` tries more of them, and `python tests/torture.py values` all, one after another.
"""

import json
import os
from pathlib import Path

import pytest
import torch
import values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from values import FILES, Scene

from aectl.runs import layout

pytestmark = pytest.mark.usefixtures("without_pictures")

EXAMPLES = int(os.environ.get("AECTL_FUZZ", "12"))
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.integers(2**62, 2**70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
).map(json.dumps) | st.sampled_from(sorted(values.TEXTS.values()))


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """One for all tests, whose files are mended after each attempt; it is the working folder of this file."""
    folder = tmp_path_factory.mktemp("values") / "here"
    folder.mkdir()
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AECTL_CACHE", str(folder / "cache"))
        for name in ("AECTL_STAMP", "AECTL_UNIQUE", "AECTL_DATA"):
            patch.delenv(name, raising=False)
        os.chdir(folder)
        torch.set_num_threads(1)
        try:
            yield Scene(folder)
        finally:
            os.chdir(before)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(sorted(FILES)), st.data())
def test_no_value_in_any_file_gets_through(scene, name, data):
    place = data.draw(st.sampled_from(scene.places(name)))
    reader = data.draw(st.sampled_from(FILES[name].readers))
    ended = scene.attempt(name, place, data.draw(ANY), reader)
    assert ended.wrong is None, ended


@pytest.mark.parametrize(
    ("name", "place", "value", "reader", "code"),
    [("state", ("batch",), str(10**18), "resume", 4), ("state", ("batch",), "1", "resume", 4),
     ("state", ("epoch",), "0", "resume", 4), ("state", ("best", "step"), "1000000", "eval", 4),
     ("state", ("environment", "threads"), '"many"', "resume", 4), ("state", ("environment",), "[]", "eval", 4),
     ("job's state", ("environment", "torch"), '"\\u001b[31m"', "report", 4),
     ("job's state", ("environment", "device"), "[1]", "report", 4),
     ("saved config", ("train", "lr"), '"fast"', "eval", 4), ("saved config", ("shape",), "[1, 8]", "sample", 4),
     ("manifest", ("files", "model.safetensors", "bytes"), str(2**39), "doctor", 4),
     ("metrics", (0, "step"), '"1"', "resume", 4), ("metrics", (1, "epoch"), "1", "explore", 4),
     ("metrics", (0, "val/loss"), "[]", "load", 4), ("metrics", (0, "val/loss"), "null", "resume", 0),
     ("metrics", (0, "val/loss"), "[]", "runs", 0), ("job's metrics", (0, "val/loss"), '"x"', "report", 4),
     ("split", ("parts", "train", 0, 0), "7", "eval", 3), ("split", ("parts", "val"), "[[]]", "resume", 3),
     ("result", ("status",), "[]", "runs", 0), ("job's result", ("seconds",), '"long"', "report", 0),
     ("job's result", ("objective",), '"good"', "resume sweep", 0), ("job's result", (), "[]", "runs", 0),
     ("job's config", ("latent",), values.OF_YAML["bomb"], "resume sweep", 2),
     ("job's config", (), values.OF_YAML["bomb"], "report", 0),
     ("job's config", ("noise",), values.OF_YAML["code"], "resume sweep", 2),
     ("index", ("sizes",), '["x"]', "eval", 0), ("hashes", ("files", 0), "[1]", "eval", 0),
     ("codes", (1, 2), '"1e999"', "decode", 3), ("bits", ("blocks",), "[1e308]", "unpack", 3)],
)  # fmt: skip
def test_values_that_once_got_through(scene, name, place, value, reader, code):
    ended = scene.attempt(name, place, value, reader)
    assert ended.wrong is None, ended
    assert ended.code == code, ended


def test_a_million_names_of_one_picture_are_no_million_pictures(scene):
    """Though none stands there twice."""
    rows = json.loads(next(scene.folder.glob(f"{values.RUN}/split.json")).read_text())["parts"]["train"]
    many = json.dumps([[f"{number}.png", rows[0][1]] for number in range(100_000)])
    ended = scene.attempt("split", ("parts", "train"), many, "eval")
    assert (ended.code, ended.wrong) == (3, None)
    assert "names 100008 pictures, and there are 24" in ended.err


@pytest.mark.parametrize("lost", ["config.yaml", "checkpoints"])
def test_a_finished_job_is_never_overwritten_by_one_that_cannot_be_compared_with_it(scene, lost):
    job = next(scene.folder.glob(values.SWEEP))
    before = (job / layout.RESULT).read_bytes()
    try:
        if lost == "checkpoints":
            values.storage.remove(job / lost)
        values.storage.remove(job / "config.yaml")
        ended = scene.command("resume sweep")
        assert (ended.code, ended.wrong) == (2, None)
        assert f"{job.relative_to(scene.folder)}/config.yaml: cannot be read (is missing)" in ended.err
        assert (job / layout.RESULT).read_bytes() == before
    finally:
        scene.mend()


def test_a_finished_job_without_checkpoints_is_made_again_by_its_own_command(scene):
    job = next(scene.folder.glob(values.SWEEP))
    before = json.loads((job / layout.RESULT).read_bytes())
    try:
        values.storage.remove(job / "checkpoints")
        assert scene.command("resume sweep").code == 0
        after = json.loads((job / layout.RESULT).read_bytes())
        assert after["objective"] == before["objective"]
        assert layout.checkpoints_seen(job)
    finally:
        scene.mend()


def test_what_is_whole_is_read_by_every_command(scene):
    """Else nothing would be tried."""
    for reader in (*scene.commands, "load"):
        ended = scene.command(reader)
        scene.mend()
        assert (ended.code, ended.wrong) == (0, None), (reader, ended)
    assert sum(len(scene.places(name)) for name in FILES) > 500
