"""Which runs were made here: the key, the seal, and what each damage of either makes of a run."""

import json
import multiprocessing
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl.runs import seals

TRAIN = {"dataset": {"name": "folder", "root": "/pictures", "size": [4, 4]}, "data": {"root": None, "memory_gb": 4.0}}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_KEY", str(tmp_path / "keys/of/mine"))
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_a_key_is_made_once_for_its_owner_alone(run, tmp_path):
    assert seals.add(run, TRAIN) == ""
    key = tmp_path / "keys/of/mine"
    first = key.read_bytes()
    assert len(first) == seals.KEY_BYTES
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert list(key.parent.iterdir()) == [key], "nothing is left beside it"
    other = dict(TRAIN, dataset={"name": "mnist"})
    assert seals.add(run, other) == ""
    assert key.read_bytes() == first
    assert seals.holds(run, TRAIN)
    assert seals.holds(run, other)


@pytest.mark.parametrize(
    ("given", "place"),
    [({"AECTL_KEY": "~/k"}, "home/k"), ({"XDG_STATE_HOME": "state"}, "state/aectl/key"),
     ({}, "home/.local/state/aectl/key")],
)  # fmt: skip
def test_where_the_key_lies(tmp_path, monkeypatch, given, place):
    monkeypatch.chdir(tmp_path)
    for name in ("AECTL_KEY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path / "home"), **given}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "run").mkdir()
    assert seals.add(tmp_path / "run", TRAIN) == ""
    assert (tmp_path / place).is_file()


def _sealed(folder: str) -> None:
    from pathlib import Path

    os.environ["AECTL_KEY"] = f"{folder}/key"
    run = Path(folder) / f"run{os.getpid()}"
    run.mkdir()
    assert seals.add(run, TRAIN) == ""


def test_two_that_make_the_key_at_once_agree(tmp_path, monkeypatch):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_sealed, args=(str(tmp_path),)) for _ in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    monkeypatch.setenv("AECTL_KEY", str(tmp_path / "key"))
    runs = list(tmp_path.glob("run*"))
    assert len(runs) == 8
    assert all(seals.holds(run, TRAIN) for run in runs)
    assert {path.name for path in tmp_path.iterdir()} == {"key", *(run.name for run in runs)}


def test_the_folder_may_be_renamed_and_copied_but_other_names_are_a_strangers(run, tmp_path):
    seals.add(run, TRAIN)
    run.rename(tmp_path / "moved")
    for changed in (
        {**TRAIN, "dataset": {**TRAIN["dataset"], "root": "/secret"}},
        {**TRAIN, "dataset": {**TRAIN["dataset"], "noisy": "/secret"}},
        {**TRAIN, "dataset": {**TRAIN["dataset"], "name": "array"}},
        {**TRAIN, "data": {"root": "/secret", "memory_gb": 4.0}},
    ):
        assert not seals.holds(tmp_path / "moved", changed)
    assert seals.holds(tmp_path / "moved", {**TRAIN, "data": {"root": None, "memory_gb": 1.0}, "latent": 3})


def test_another_key_and_a_forged_seal_are_a_strangers(run, tmp_path, monkeypatch):
    seals.add(run, TRAIN)
    document = json.loads((run / seals.FILE).read_text())
    other = {**TRAIN, "dataset": {"name": "folder", "root": "/secret"}}
    document["seals"][0]["names"] = seals.names_in(other)
    (run / seals.FILE).write_text(json.dumps(document))
    assert not seals.holds(run, other)
    assert not seals.any_in(run)
    (run / seals.FILE).unlink()
    seals.add(run, TRAIN)
    monkeypatch.setenv("AECTL_KEY", str(tmp_path / "another"))
    assert not seals.holds(run, TRAIN), "there is no key yet"
    seals.add(tmp_path / "run", {"dataset": {"name": "mnist"}})
    assert not seals.holds(run, TRAIN)
    assert seals.any_in(run)


@pytest.mark.parametrize("damage", ["short", "long", "folder", "fifo", "none", "read-only", "no home"])
def test_without_a_key_a_run_is_a_strangers_and_that_is_said(run, tmp_path, monkeypatch, damage):
    key = tmp_path / "keys/of/mine"
    if damage == "no home":
        monkeypatch.delenv("AECTL_KEY")
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
        monkeypatch.setattr("pathlib.Path.expanduser", lambda path: (_ for _ in ()).throw(RuntimeError))
    elif damage in ("none", "read-only"):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("AECTL_KEY", str(tmp_path / "file/key"))
    else:
        key.parent.mkdir(parents=True)
        {"short": lambda: key.write_bytes(b"x" * 31), "long": lambda: key.write_bytes(b"x" * 33),
         "folder": key.mkdir, "fifo": lambda: os.mkfifo(key)}[damage]()  # fmt: skip
    assert seals.add(run, TRAIN)
    assert not seals.holds(run, TRAIN)
    assert not seals.any_in(run)
    assert list(run.iterdir()) == []


def test_a_seal_that_is_a_link_is_not_read(run, tmp_path):
    seals.add(run, TRAIN)
    (run / seals.FILE).rename(tmp_path / "seal")
    (run / seals.FILE).symlink_to(tmp_path / "seal")
    assert not seals.holds(run, TRAIN)


def test_a_run_keeps_no_more_than_the_newest_seals(run, monkeypatch):
    monkeypatch.setattr(seals, "MOST", 3)
    for number in range(5):
        seals.add(run, {"dataset": {"name": str(number)}})
    assert [seals.holds(run, {"dataset": {"name": str(number)}}) for number in range(5)] == [False] * 2 + [True] * 3


@pytest.mark.parametrize("code", ["", "\ud800", "é" * 64, "0" * 64, "x" * 10**6])
def test_a_code_that_is_none_is_no_seal(run, code):
    seals.add(run, TRAIN)
    document = json.loads((run / seals.FILE).read_text())
    document["seals"][0]["code"] = code
    (run / seals.FILE).write_text(json.dumps(document))
    assert not seals.holds(run, TRAIN)
    assert seals.add(run, TRAIN) == "", "and a new one takes its place"
    assert seals.holds(run, TRAIN)


def test_names_too_deep_are_no_seal(run):
    seals.add(run, TRAIN)
    for depth in range(850, 1000, 3):
        names = "[" * depth + "]" * depth
        (run / seals.FILE).write_text(f'{{"seals": [{{"code": "x", "names": {names}}}]}}')
        assert not seals.any_in(run)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["seals", "a seal", "names", "code", "train", "data"]), JSON)
def test_no_value_in_a_seal_or_a_configuration_is_more_than_no_seal(run, place, value):
    seals.add(run, TRAIN)
    document, train = json.loads((run / seals.FILE).read_text()), dict(TRAIN)
    if place == "seals":
        document["seals"] = value
    elif place == "a seal":
        document["seals"] = [value]
    elif place in ("names", "code"):
        if document["seals"][0][place] == value:
            return
        document["seals"][0][place] = value
    else:
        train = value if place == "train" else {**TRAIN, "data": value}
    (run / seals.FILE).write_text(json.dumps(document))
    assert not seals.holds(run, train) or (isinstance(train, dict) and seals.names_in(train) == seals.names_in(TRAIN))
