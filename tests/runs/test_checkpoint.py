import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from aectl import storage
from aectl.errors import CheckpointError
from aectl.runs import checkpoint

MODEL = {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([1.5])}


def save(folder, step=1):
    return checkpoint.save(folder, step, MODEL, {"a": 1}, {"sums": torch.zeros(3)}, {"step": step, "best": None})


def test_what_is_saved_comes_back(tmp_path):
    loaded = checkpoint.load(save(tmp_path, 12))
    assert loaded.path.name == "step-00000012"
    assert loaded.config == {"a": 1}
    assert loaded.state["step"] == 12
    for name, tensor in MODEL.items():
        assert torch.equal(loaded.model[name], tensor)


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o027, 0o640), (0o077, 0o600)])
def test_files_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = save(tmp_path)
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {mode}


def test_every_flipped_bit_is_found(tmp_path):
    path = save(tmp_path)
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        for position in range(0, len(data), max(1, len(data) // 12)):
            damaged = bytearray(data)
            damaged[position] ^= 4
            file.write_bytes(damaged)
            with pytest.raises(CheckpointError, match=str(path)):
                checkpoint.load(path)
        file.write_bytes(data)
    checkpoint.load(path)


@pytest.mark.parametrize("name", [*checkpoint.FILES, checkpoint.MANIFEST])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer"])
def test_damaged_files_are_named(tmp_path, name, damage):
    path = save(tmp_path)
    data = (path / name).read_bytes()
    (path / name).unlink()
    if damage != "missing":
        (path / name).write_bytes({"empty": b"", "truncated": data[:-3], "longer": data + b"x"}[damage])
    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(path)


@pytest.mark.parametrize(
    "manifest",
    [
        "[]", "{}", "null", '{"format": 2}', '{"format": NaN}', "[" * 200_000, '{"format": 1, "format": 1}', "\x00",
        '{"format": 1, "files": {"../x": {}}}', '{"format": 1, "files": {"/etc/passwd": {}}}',
        json.dumps({"format": 1, "files": dict.fromkeys(checkpoint.FILES, 3)}),
    ],
)  # fmt: skip
def test_strange_manifests_are_refused_in_one_line(tmp_path, manifest):
    path = save(tmp_path)
    (path / checkpoint.MANIFEST).write_text(manifest)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_by_another_name_is_not_opened(tmp_path):
    import hashlib
    import pickle

    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self):
            return (os.mkdir, (str(canary),))

    path = save(tmp_path)
    data = pickle.dumps(Payload())
    (path / "model.safetensors").write_bytes(data)
    manifest = json.loads((path / checkpoint.MANIFEST).read_text())
    manifest["files"]["model.safetensors"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (path / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="not the safetensors it should be"):
        checkpoint.load(path)
    assert not canary.exists()


def test_the_newest_whole_one_is_found_and_the_others_are_reported(tmp_path):
    save(tmp_path, 1)
    damaged = save(tmp_path, 2)
    (damaged / "model.safetensors").write_bytes(b"")
    (tmp_path / ".tmp-step-00000003-1").mkdir()
    found, passed_over = checkpoint.newest(tmp_path)
    assert found.state["step"] == 1
    assert len(passed_over) == 1
    assert "step-00000002" in passed_over[0]


def test_none_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        checkpoint.newest(tmp_path / "checkpoints")


def test_rotation_keeps_what_it_is_told_and_clears_the_rest(tmp_path):
    for step in (1, 2, 3, 4):
        save(tmp_path, step)
    (tmp_path / ".tmp-step-00000009-1").mkdir()
    checkpoint.rotate(tmp_path, keep=[4, 3, 1])
    assert [checkpoint.step_of(path) for path in checkpoint.listing(tmp_path)] == [4, 3, 1]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failed_save_leaves_the_others_and_no_rest(tmp_path, monkeypatch):
    save(tmp_path, 1)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    checkpoint.load(tmp_path / "step-00000001")


def test_everything_is_flushed_before_it_gets_its_name_and_the_name_after(tmp_path, monkeypatch):
    real_open, real_fsync, real_rename = os.open, os.fsync, os.rename
    names, done = {}, []

    def opened(path, *args, **more):
        descriptor = real_open(path, *args, **more)
        names[descriptor] = Path(path).name
        return descriptor

    def flushed(descriptor):
        done.append(("flush", names[descriptor]))
        real_fsync(descriptor)

    def renamed(source, target):
        done.append(("rename", Path(target).name))
        real_rename(source, target)

    for name, function in (("open", opened), ("fsync", flushed), ("rename", renamed)):
        monkeypatch.setattr(os, name, function)
    path = save(tmp_path, 7)
    named = done.index(("rename", path.name))
    for file in (*checkpoint.FILES, checkpoint.MANIFEST):
        assert ("flush", file) in done[:named]
    assert done.index(("flush", checkpoint.MANIFEST)) > done.index(("flush", "model.safetensors"))
    assert done[named - 1][1].startswith(".tmp-"), "the folder itself, before its name changes"
    assert ("flush", tmp_path.name) in done[named:]


def test_a_damaged_checkpoint_of_the_same_step_is_replaced(tmp_path):
    path = save(tmp_path, 1)
    shutil.rmtree(path)
    path.mkdir()
    checkpoint.load(save(tmp_path, 1))


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        storage.dump_json({"loss": float("nan")})
