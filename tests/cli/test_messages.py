"""What to do about a disk that refuses: said of the command that failed and of the setting that led there."""

import errno
import shlex
from pathlib import Path

import pytest
from conftest import SMALL

from aectl import errors, storage
from aectl.cli.messages import Task, explain
from aectl.commands.table import COMMANDS
from aectl.runs import checkpoint


def remedy(code: int, path: str, command: str, **places: str) -> str:
    named = {key.replace("__", "."): Path(place) for key, place in places.items()}
    status, line = explain(OSError(code, "It refused", path), Task(command, named))
    assert status == 6
    assert line.startswith(f"{path}: It refused; ")
    return line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_only_a_run_with_a_checkpoint_can_be_gone_on_with(tmp_path, command, code):
    run = tmp_path / "my run"
    line = remedy(code, str(run / "train.log"), command, hydra__run__dir=str(run))
    assert "resume" not in line
    assert line.endswith("repeat the command")
    assert ("hydra.run.dir=" in line) == (code != errno.EIO)
    (run / "checkpoints/step-00000000").mkdir(parents=True)
    line = remedy(code, str(run / "train.log"), command, hydra__run__dir=str(run))
    assert (shlex.join(["aectl", "train", f"resume={run}"]) in line) == (command == "train")


def test_a_sweep_goes_on_as_a_sweep(tmp_path):
    (tmp_path / "s/0_x/checkpoints/step-00000000").mkdir(parents=True)
    line = remedy(errno.ENOSPC, str(tmp_path / "s/0_x/a"), "train", hydra__sweep__dir=str(tmp_path / "s"))
    assert f"repeat the command with sweep.resume={tmp_path / 's'}; what was saved is whole" in line


@pytest.mark.parametrize(
    ("path", "key"),
    [("cache/x/pixels.bin", "AECTL_CACHE"), ("out/a.png", "output"), (".tmp-codes.npz-1", "output2"),
     ("outputs/eval/1/eval.log", "hydra.run.dir"), ("outputs", "hydra.run.dir"), ("elsewhere/x", None)],
)  # fmt: skip
def test_the_setting_is_the_one_that_led_there(path, key):
    output = "codes.npz" if key == "output2" else "out"
    places = {"AECTL_CACHE": "cache", "output": output, "hydra__run__dir": "outputs/eval/1", "run": "/runs/1"}
    line = remedy(errno.EACCES, path, "denoise", **places)
    assert ("=<path>" in line) == (key is not None)
    assert key is None or f"{key.removesuffix('2')}=<path>" in line


def test_without_a_command_or_a_file_there_is_no_setting_to_name():
    assert explain(OSError(errno.ENOSPC, "No space left")) == (
        6, "No space left; free some space, then repeat the command")  # fmt: skip


def test_the_commands_name_what_refused_them(aectl, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert aectl("train", *SMALL, "epochs=1", "hydra.run.dir=r").status == 0
    for arguments, key in (
        (["encode", "run=r", "output=file/c.npz"], "output"), (["doctor", "run=r"], None),
        (["sample", "run=r", "hydra.run.dir=file"], "hydra.run.dir"),
        (["train", "-m", "latent=1,2", "hydra.sweep.dir=file/s"], "hydra.sweep.dir"),
    ):  # fmt: skip
        refused = aectl(*arguments)
        assert refused.status == (6 if key else 0), refused.err
        assert key is None or f"or name another place with {key}=<path>, then repeat the command" in refused.err
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "file"))
    assert "AECTL_CACHE=<path>" in aectl("train", "dataset=folder", "dataset.root=r/figures").err


@pytest.mark.parametrize("name", ["folder", "array"])
def test_a_setting_that_has_to_be_given_is_asked_for_by_its_key(aectl, name):
    refused = aectl("train", f"dataset={name}")
    assert refused.status == 2
    assert refused.err == "aectl: dataset.root: must be given: dataset.root=<value> (--help says what it is)\n"


def test_a_full_disk_in_training_names_the_run_to_go_on_with(aectl, monkeypatch):
    real = storage.make_folder

    def full(target, contents):
        if target.name > checkpoint.name_of(0):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(target, contents)

    monkeypatch.setattr(storage, "make_folder", full)
    refused = aectl("train", *SMALL, "hydra.run.dir=my run")
    assert refused.status == 6
    assert "free some space or name another place with hydra.run.dir=<path>, then go on: " in refused.err
    monkeypatch.undo()
    words = shlex.split(refused.err.partition("go on: ")[2].partition(";")[0])
    assert words == ["aectl", "train", "resume=my run"]


def test_things_are_counted_in_words():
    assert [errors.counted(n, "picture") for n in (0, 1, 2, 1000)] == [
        "0 pictures", "1 picture", "2 pictures", "1,000 pictures"
    ]  # fmt: skip
