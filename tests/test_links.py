"""Nothing is written through a link, into a FIFO, or into a file that has a second name."""

import os

import pytest
from albums import GREY, many, png, put

from aectl import storage
from aectl.errors import StorageError
from aectl.files import places, unfinished
from aectl.files.unfinished import Work
from aectl.runs import layout, locks

pytestmark = pytest.mark.usefixtures("without_pictures")

ODD = {
    "a link": lambda at, there: at.symlink_to(there),
    "a link that leads nowhere": lambda at, there: at.symlink_to(there.with_name("nowhere")),
    "a link to itself": lambda at, there: at.symlink_to(at),
    "a FIFO": lambda at, there: os.mkfifo(at),
}
WRITERS = {
    "replace": lambda path: storage.replace(path, b"new"),
    "append": lambda path: storage.append(path, "new"),
    "make_folder": lambda path: storage.make_folder(path, {"a": b"new"}),
    "appending": lambda path: storage.appending(path, 0).__enter__(),
    "refuse": lambda path: Work(path, {}, overwrite=True, folder=False).refuse([path.name]),
    "alone": lambda path: unfinished.alone(path.parent, path).__enter__(),
    "prepare": lambda path: places.prepare([path]),
}


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("old")
    return tmp_path / "there/file"


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("odd", ODD)
def test_no_writer_writes_there(tmp_path, there, odd, writer):
    ODD[odd](tmp_path / "at", there)
    before = (tmp_path / "at").lstat()
    with pytest.raises(StorageError, match=f"{tmp_path}/at: is (a link|neither)"):
        WRITERS[writer](tmp_path / "at")
    assert (tmp_path / "at").lstat() == before
    assert there.read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["at", "file", "there"]


def test_a_second_name_is_not_written_into(tmp_path, there):
    (tmp_path / "at").hardlink_to(there)
    with pytest.raises(StorageError, match="is a hard link"):
        storage.append(tmp_path / "at", "new")
    storage.replace(tmp_path / "at", b"new")  # which gives the name to another file
    assert there.read_text() == "old"
    storage.append(tmp_path / "at", "er")
    assert (tmp_path / "at").read_text() == "newer\n"


def test_the_last_name_is_opened_without_following(tmp_path, there, monkeypatch):
    """Also where a link has come between the look and the opening."""
    monkeypatch.setattr(storage, "refuse_odd", lambda *args, **more: None)
    (tmp_path / "at").symlink_to(there)
    with pytest.raises(OSError, match="at"):
        storage.append(tmp_path / "at", "new")
    assert there.read_text() == "old"


def test_a_file_that_is_made_once_is_never_replaced(tmp_path, there):
    storage.create(there, b"new", 0o600)
    assert there.read_text() == "old"
    storage.create(tmp_path / "new", b"new", 0o600)
    assert (tmp_path / "new").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "there"]


DEEP = ["train.log", "a", "figures/a.png", "checkpoints/step-00000001/model.safetensors", "x/y/z/deep"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("name", DEEP)
def test_a_folder_that_leads_elsewhere_at_any_depth_is_refused(tmp_path, there, odd, name):
    at = tmp_path / "run" / name
    at.parent.mkdir(parents=True)
    (tmp_path / "run/whole").write_text("")
    layout.refuse_leads(tmp_path / "run")
    ODD[odd](at, there)
    with pytest.raises(StorageError, match=f"{at}: is"):
        layout.refuse_leads(tmp_path / "run")
    with pytest.raises(StorageError), locks.locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "run/.lock").exists()


@pytest.mark.parametrize("name", ["train.log", ".lock", "figures/other.log"])
def test_what_grows_in_place_has_no_second_name(tmp_path, there, name):
    put(tmp_path / "run", {"config.yaml": b"", "figures/a.png": b""})
    (tmp_path / "run/model.safetensors").hardlink_to(tmp_path / "run/figures/a.png")  # as in copies that share
    layout.refuse_leads(tmp_path / "run")
    (tmp_path / "run" / name).hardlink_to(there)
    with pytest.raises(StorageError, match="is a hard link"):
        layout.refuse_leads(tmp_path / "run")


def test_the_folder_itself_may_be_a_link_and_what_is_not_there_is_fine(tmp_path):
    (tmp_path / "disk/run").mkdir(parents=True)
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    (tmp_path / "itself").symlink_to(tmp_path / "disk/run")
    for name in ("outputs/run", "itself", "nowhere"):
        layout.refuse_leads(tmp_path / name)


def test_where_people_work_only_what_bears_our_names_is_looked_at(tmp_path, there, monkeypatch):
    (tmp_path / "work/.venv/bin").mkdir(parents=True)
    (tmp_path / "work/.venv/bin/python").symlink_to(there)
    (tmp_path / "work/data").symlink_to(there.parent)
    monkeypatch.chdir(tmp_path / "work")
    layout.refuse_leads(tmp_path / "work")
    layout.refuse_leads(tmp_path)
    for name in ("train.log", "figures", "checkpoints", "00000100", ".lock"):
        (tmp_path / "work" / name).symlink_to(there)
        with pytest.raises(StorageError, match=name):
            layout.refuse_leads(tmp_path / "work")
        (tmp_path / "work" / name).unlink()
    (tmp_path / "work/figures").mkdir()
    (tmp_path / "work/figures/a.png").symlink_to(there)
    with pytest.raises(StorageError, match=r"a\.png"):
        layout.refuse_leads(tmp_path / "work")


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "sub/deep/a.png"])
def test_outputs_lie_behind_no_link_below_the_folder_that_was_named(tmp_path, there, name):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    assert places.prepare([tmp_path / "out" / name], tmp_path / "out") is not None, "that itself may be one"
    first = name.partition("/")[0]
    if first == "sub":
        (tmp_path / "out/moved").symlink_to(there.parent)
        name = name.replace("sub", "moved")
    else:
        (tmp_path / "out" / name).symlink_to(there)
    with pytest.raises(StorageError, match="is a link"):
        places.prepare([tmp_path / "out/new/b.png", tmp_path / "out" / name], tmp_path / "out")
    assert not (tmp_path / "out/new").exists(), "what was made is taken away again"
    assert os.listdir(there.parent) == ["file"]  # noqa: PTH208


OUTPUTS = {
    "denoise": ("out", "sub/a.png", ["denoise", "input=in", "output=out"]),
    "decode": ("out", "sub/a.png", ["decode", "input=codes.csv", "output=out", "overwrite=true"]),
    "encode": (".", "codes.npz", ["encode", "input=in", "output=codes.npz", "overwrite=true"]),
    "score": (".", "scores.csv", ["score", "input=in", "output=scores.csv", "overwrite=true"]),
    "score's sheet": (".", "scores_oddest.png", ["score", "input=in", "output=scores.csv", "overwrite=true"]),
    "explore": (".", "page.html", ["explore", "output=page.html", "overwrite=true"]),
    "export": (".", "exported", ["export", "output=exported", "format=safetensors", "overwrite=true"]),
    "sample": ("run", "images", ["sample", "n=2", "hydra.run.dir=run"]),
    "eval": ("run", "figures", ["eval", "hydra.run.dir=run"]),
}


@pytest.mark.parametrize("command", OUTPUTS)
@pytest.mark.parametrize("kind", ["file", "folder", "nowhere"])
def test_no_command_writes_through_a_link(aectl, tmp_path, there, autoencoder, command, kind):
    folder, name, words = OUTPUTS[command]
    put(tmp_path / "in", {"sub/a.png": png(GREY)})
    (tmp_path / "codes.csv").write_text(
        "name," + ",".join(f"z{i}" for i in range(1, 7)) + "\nsub/a.png,0,0,0,0,0,0\n"
    )
    target = {"file": there, "folder": there.parent, "nowhere": tmp_path / "there/nowhere"}[kind]
    at = tmp_path / folder / name
    if command in ("denoise", "decode"):  # a folder below the one that was named
        at = at.parent
    at.parent.mkdir(exist_ok=True)
    at.symlink_to(target)
    ended = aectl(*words[:1], f"run={autoencoder}", "device=cpu", *words[1:])
    assert ended.status == 6, ended.err
    assert ended.err.count("\n") == 1
    assert at.is_symlink()
    assert there.read_text() == "old"
    assert [path.name for path in there.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["hashes", "hashes/x"])
def test_the_cache_has_no_links_either(aectl, tmp_path, there, name):
    many(tmp_path / "in")
    small = ["dataset=folder", "dataset.root=in", "epochs=1", "device=cpu", "explore=false", "network.hidden=[4]"]
    if name == "hashes":
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache/hashes").symlink_to(there.parent)
    else:
        assert aectl("train", *small).status == 0
        (remembered,) = (tmp_path / "cache/hashes").iterdir()
        remembered.unlink()
        remembered.symlink_to(there)
    ended = aectl("train", *small)
    assert there.read_text() == "old"
    assert [path.name for path in there.parent.iterdir()] == ["file"]
    # A memory of hashes is taken away where it is none, a link as anything else.
    assert ended.status == (6 if name == "hashes" else 0), ended.err
