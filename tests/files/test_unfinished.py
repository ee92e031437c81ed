"""The note of what a command has written while it is not done: what it is believed, and what of it is nobody's."""

import contextlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl import storage
from aectl.errors import StorageError
from aectl.files import notes
from aectl.files.unfinished import NOTE, Work

HEAD = '{"seed": "0"}\n'
LINE = '{"files": {"%s": "0"}, "of": "", "figures": null}\n'
STRANGE = {
    "text": "hello\n", "list": "[]\n", "number": '{"seed": 0}\n', "null": HEAD + "null\n", "key": HEAD + '{"x": 1}\n',
    "files": HEAD + '{"files": [], "of": ""}\n', "sha": HEAD + '{"files": {"a": 1}, "of": ""}\n',
    "figures": HEAD + '{"files": {}, "of": "", "figures": "1"}\n', "deep": "[" * 10**5 + "\n", "nan": '{"a": NaN}\n',
    "up": HEAD + LINE % "../in/a/1.png", "absolute": HEAD + LINE % "/etc/passwd", "dot": HEAD + LINE % "a/./b",
    "nul": HEAD + LINE % "a\\u0000b", "bytes": b"\xff\xfe\n",
}  # fmt: skip


class Killed(BaseException):
    """In the place of a SIGKILL."""


def left(folder: Path, *files: dict[str, bytes], facts: object = None) -> bytes:
    """What a work of `facts` that wrote these files leaves when it is killed: its note."""
    folder.mkdir(exist_ok=True)
    work = Work(folder, facts or {"seed": 0}, False, folder=True)
    with contextlib.suppress(Killed), work.begun([name for some in files for name in some]):
        for some in files:
            for name in some:
                (folder / name).parent.mkdir(exist_ok=True)
            work.write(some, "of", [0.1])
        raise Killed
    return (folder / NOTE).read_bytes()


@pytest.mark.parametrize("kind", STRANGE)
def test_a_strange_note_is_refused_and_left_alone(tmp_path, kind):
    data = STRANGE[kind]
    data = data if isinstance(data, bytes) else data.encode()
    (tmp_path / NOTE).write_bytes(data)
    with pytest.raises(StorageError, match="is no note of an unfinished command"):
        Work(tmp_path, {"seed": 0}, False, folder=True).refuse(["a"])
    assert (tmp_path / NOTE).read_bytes() == data
    work = Work(tmp_path, {"seed": 0}, True, folder=True)
    work.refuse(["a"])
    with work.begun(["a"]):
        work.write({"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(), one, max_size=3),
    max_leaves=5,
)


@given(ANYTHING)
@settings(max_examples=20, deadline=None)
def test_any_value_in_any_line_is_a_note_or_is_refused(tmp_path_factory, value):
    folder = tmp_path_factory.mktemp("any")
    note = left(folder, {"a": b"1"})
    text = json.dumps(value).encode()
    files = b'{"of": "", "files": ' + text + b"}\n"
    for data in (text, text + b"\n", note + text, note + text + b"\n", note + files):
        (folder / NOTE).write_bytes(data)
        work = Work(folder, {"seed": 0}, False, folder=True)
        with contextlib.suppress(StorageError):
            work.refuse(["b"])
        assert work.kept(["b"], "") is None


def test_what_was_announced_and_written_is_kept_with_its_figures(tmp_path):
    left(tmp_path, {"a": b"1", "s/b": b"2"}, {"c": b"3"})
    work = Work(tmp_path, {"seed": 0}, False, folder=True)
    with work.begun(["a", "s/b", "c"]):
        assert work.kept(["a", "s/b"], "of").figures == [0.1]
        assert work.kept(["a", "c"], "of")
        assert work.kept(["a"], "other") is None
        assert work.kept(["d"], "of") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "s"]


def test_a_line_that_was_torn_off_is_written_over(tmp_path):
    note = left(tmp_path, {"a": b"1"})
    (tmp_path / NOTE).write_bytes(note + b'{"files": {"b": "')
    work = Work(tmp_path, {"seed": 0}, False, folder=True)
    with contextlib.suppress(Killed), work.begun(["a", "b"]):
        work.write({"b": b"2"}, "of", [1 / 3])
        raise Killed
    whole = (tmp_path / NOTE).read_bytes()
    assert whole.startswith(note)
    again = Work(tmp_path, {"seed": 0}, False, folder=True)
    with again.begun(["a", "b"]):
        assert again.kept(["b"], "of").figures == [1 / 3]


def test_a_file_is_announced_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *given, name=name, real=real: (done.append(name), real(*given))[1])
    work = Work(tmp_path, {}, False, folder=True)
    with work.begun(["a"]):
        done.clear()
        work.write({"a": b"1"})
    assert done[: done.index("replace")] == ["fsync", "fsync"], "that of the note, then that of the file"
    assert not (tmp_path / NOTE).exists()


def test_bytes_that_were_announced_and_not_written_are_not_those_there(tmp_path, monkeypatch):
    left(tmp_path, {"a": b"1"})
    work = Work(tmp_path, {"seed": 0}, False, folder=True)
    real = storage.replace

    def killed(*given):
        raise Killed

    monkeypatch.setattr(storage, "replace", killed)
    with contextlib.suppress(Killed), work.begun(["a"]):
        work.write({"a": b"2"}, "of")
    monkeypatch.setattr(storage, "replace", real)
    again = Work(tmp_path, {"seed": 0}, False, folder=True)
    with again.begun(["a"]):
        assert again.kept(["a"], "of") is None
        again.write({"a": b"2"}, "of")
    assert (tmp_path / "a").read_bytes() == b"2"


def test_a_half_file_without_a_note_is_in_nobodys_way(tmp_path):
    storage.temporary_of(tmp_path / "a").write_bytes(b"half")
    work = Work(tmp_path, {}, False, folder=True)
    with work.begun(["a"]):
        work.write({"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_figures_that_are_not_finite_are_measured_again(tmp_path):
    work = Work(tmp_path, {}, False, folder=True)
    with contextlib.suppress(Killed), work.begun(["a"]):
        work.write({"a": b"1"}, "of", [float("nan")])
        raise Killed
    again = Work(tmp_path, {}, False, folder=True)
    with again.begun(["a"]):
        assert again.kept(["a"], "of") is None


def test_half_files_of_a_killed_one_go_and_those_of_others_stay(tmp_path):
    left(tmp_path, {"a": b"1"}, {"s/b": b"2"})
    ours = [storage.temporary_of(tmp_path / name) for name in ("a", "s/b")]
    others = storage.temporary_for(tmp_path / "a")
    for path in (*ours, others):
        path.write_bytes(b"half")
    with Work(tmp_path, {"seed": 0}, False, folder=True).begun(["a", "s/b"]):
        assert not any(path.exists() for path in ours)
    assert others.exists()


def test_files_beside_each_other_have_notes_of_their_own(tmp_path):
    first, second = (Work(tmp_path / name, {"seed": 0}, False, folder=False) for name in ("a.csv", "b.csv"))
    with contextlib.suppress(Killed), first.begun(["a.csv", "a.png"]):
        first.write({"a.csv": b"1"})
        raise Killed
    second.refuse(["b.csv"])
    with second.begun(["b.csv"]):
        second.write({"b.csv": b"2"})
    first.refuse(["a.csv", "a.png"])
    with pytest.raises(StorageError, match=r"what other work has left unfinished \(it differs in seed\)"):
        Work(tmp_path / "a.csv", {"seed": 1}, False, folder=False).refuse(["a.csv"])
    with first.begun(["a.csv", "a.png"]):
        first.write({"a.csv": b"1", "a.png": b"3"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.png", "b.csv"]
    with pytest.raises(StorageError, match=r"output=.*a\.png: is there already; choose another or set ov"):
        Work(tmp_path / "a.csv", {"seed": 0}, False, folder=False).refuse(["a.png"])


def test_the_lock_goes_and_a_note_of_nothing_goes_as_well(tmp_path):
    with contextlib.suppress(Killed), Work(tmp_path, {}, False, folder=True).begun(["a"]):
        raise Killed
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_utf_8_comes_back(tmp_path):
    name = os.fsdecode(b"a\xff")
    left(tmp_path, {name: b"1"})
    work = Work(tmp_path, {"seed": 0}, False, folder=True)
    with work.begun([name]):
        assert work.kept([name], "of")


def test_parts_of_a_digest_do_not_run_into_each_other():
    assert notes.digest("a", "bc") != notes.digest("ab", "c")
    assert notes.digest(b"a") == notes.digest("a")
