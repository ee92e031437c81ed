"""What surrounds a command: the environment, Hydra's own settings, clocks, and files that lie about."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aectl import storage
from aectl.data.datasets import cache as pictures
from aectl.data.datasets import official
from aectl.data.datasets.synthetic import Synthetic
from aectl.errors import ConfigError
from aectl.files.pictures import decoding
from aectl.machine import load
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, papers
from aectl.runs.tracking import Tracker
from aectl.training import keeping, loop
from aectl.training.pace import Pace, per_second
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

FEW = train_config(
    dataset=Synthetic(val_size=10, test_size=10, synthetic_size=40, synthetic_shape=[1, 8, 8]),
    network=Mlp(hidden=[4]), epochs=2, device="cpu", figures_every=0, threads=1,
)  # fmt: skip

ODD = [
    "hydra.verbose=[1]", "hydra.verbose={a:1}", "hydra.job_logging.root.level=nosuch", "hydra.job_logging=[1]",
    "hydra.job_logging=null", "hydra/job_logging=nosuch", "hydra.job_logging.handlers.console.stream=ext://nosuch",
    "hydra.hydra_logging.root.level=7.5", "hydra.output_subdir=[1]", "hydra.mode=MULTIRUN", "hydra.mode=nosuch",
    "hydra.job.env_set={A:[1]}", "hydra.job.env_copy=[1]", "hydra.job.num=x", "hydra.callbacks={a:1}", "hydra=3",
    "hydra.searchpath=3", "hydra.nosuch=1",
]  # fmt: skip


@pytest.mark.parametrize("override", ODD)
def test_settings_that_hydra_stumbles_over_are_named_in_one_line(aectl, override):
    refused = aectl("runs", override)
    assert refused.status == ConfigError.exit_code, refused
    assert refused.err.count("\n") == 1
    assert refused.err.startswith(f"aectl: {override.partition('=')[0]}"), refused.err


def test_a_defect_of_ours_is_not_put_down_to_hydra(aectl, monkeypatch):
    def broken(*args: object) -> None:
        raise TypeError("ours")

    monkeypatch.setattr("aectl.commands.runs.run_runs", broken)
    with pytest.raises(TypeError, match="ours"):
        aectl("runs", "hydra.verbose=false")


def test_where_plots_would_be_shown_does_not_matter(tmp_path):
    code = "from aectl.cli import conduct; conduct.prepare(); import matplotlib; print('well')"
    env = {**os.environ, "MPLBACKEND": "nosuch"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=True
    )
    assert done.stdout == "well\n"


@pytest.mark.parametrize("command", ["train --help", "eval --help", "train --cfg job"])
def test_a_system_that_knows_no_letters_beyond_ascii(tmp_path, command):
    """As Windows, whose own encoding is another one than that of our files."""
    env = {**os.environ, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "LANGUAGE": "C"}
    line = [sys.executable, "-m", "aectl", *command.split()]
    done = subprocess.run(line, capture_output=True, cwd=tmp_path, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert done.stdout.isascii()


@pytest.mark.parametrize("clock", ["stands still", "goes back"])
def test_a_clock_that_fails_is_no_matter(tmp_path, monkeypatch, clock):
    now = [1e6]

    def tell() -> float:
        now[0] -= clock == "goes back"
        return now[0]

    for name in ("perf_counter", "time", "monotonic"):
        monkeypatch.setattr(time, name, tell)
    loop.train(FEW, tmp_path)
    records = papers.read_metrics(tmp_path)
    assert [record["images_per_s"] for record in records] == [0.0, 0.0]
    assert json.loads((tmp_path / "result.json").read_text())["seconds"] == 0


HOMES = [("", ".cache"), ("/c", "/c"), ("~/c", ".cache"), ("~nobody_/c", "~nobody_/c")]


@pytest.mark.parametrize(("cache", "expected"), HOMES)
def test_who_has_no_home_has_a_cache(monkeypatch, cache, expected):
    def unknown(*args: object) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    for name in ("AECTL_CACHE", "AECTL_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    assert pictures.root() == Path(expected) / "aectl/pictures"
    assert official.data_root(None) == Path(expected) / "aectl"


def test_a_rate_needs_time():
    assert (per_second(6, 2.0), per_second(6, 0.0), per_second(6, -1.0)) == (3.0, 0.0, 0.0)


def test_time_that_goes_back_counts_for_nothing(monkeypatch):
    pace, moment = Pace(), load.now()
    monkeypatch.setattr(load, "now", lambda: replace(moment, at=moment.at - 100))
    pace.look()
    assert pace.seconds == 0


def test_a_folder_that_is_no_text_is_refused_before_anything_is_made(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(ConfigError, match="is no UTF-8, which TensorBoard's files need"):
        Tracker(folder)
    assert not folder.exists()


def test_a_run_in_such_a_folder_can_be_used(aectl, small_run, tmp_path):
    here = tmp_path / os.fsdecode(b"caf\xe9 \n\x1b[31m")
    here.symlink_to(small_run)
    done = aectl("sample", f"run='{here}'", "mode=prior", "n=1", "hydra.run.dir=out")
    assert done.status == 0, done.err
    assert all(letter in "\n\t" or letter.isprintable() for letter in done.out + done.err)


# ------------------------------------------------------------------------------- what lies among checkpoints


def stray(folder: Path, kind: str) -> Path:
    path = folder / "checkpoints/.tmp-x"
    path.parent.mkdir(exist_ok=True)
    if kind == "file":
        path.write_text("x")
    else:
        (path / "sub").mkdir(parents=True)
    return path


@pytest.mark.parametrize("kind", ["file", "folder"])  # links are refused: test_links.py
def test_what_lies_among_checkpoints_is_removed_and_training_goes_on(tmp_path, kind):
    path = stray(tmp_path, kind)
    loop.train(FEW, tmp_path)
    assert not os.path.lexists(path)


def test_what_cannot_be_removed_stays_is_said_once_and_training_goes_on(tmp_path, monkeypatch, caplog):
    path, remove = stray(tmp_path, "folder"), checkpoint.storage.remove

    def refused(target: Path) -> None:
        if target == path:
            raise PermissionError(13, "Permission denied", "sub")
        remove(target)

    monkeypatch.setattr(checkpoint.storage, "remove", refused)
    loop.train(replace(FEW, epochs=3), tmp_path)
    said = [record.getMessage() for record in caplog.records if record.name == keeping.__name__]
    assert said == [f"note: {path} cannot be removed (Permission denied), and is in nobody's way"]
    assert layout.listing(tmp_path / "checkpoints")


def test_what_stands_in_a_checkpoints_place_makes_room(tmp_path):
    place = tmp_path / layout.name_of(0)
    place.write_text("x")
    storage.make_folder(place, {"a": b"b"})
    assert (place / "a").read_bytes() == b"b"


# ------------------------------------------------------------------------------------------- other libraries


def test_what_is_wrong_with_a_picture_has_no_address_of_an_object(monkeypatch):
    def failing(*args: object, **more: object) -> None:
        raise OSError(f"cannot identify image file {args[0]!r}")

    monkeypatch.setattr(decoding.Image, "open", failing)
    with pytest.raises(decoding.DataError) as refused:
        decoding.decode(b"x")
    assert "0x" not in str(refused.value)
    assert "the file" in str(refused.value)


def test_libtiff_is_not_heard():
    """It writes to descriptor 2, past Python."""
    code = (
        "import io, struct\nfrom aectl.cli import streams\nstreams.settle()\nfrom PIL import Image\n"
        "file = io.BytesIO()\nImage.new('L', (64, 64), 7).save(file, 'TIFF', compression='tiff_lzw')\n"
        "data = bytearray(file.getvalue())\ndata[8:40] = b'\\xff' * 32\n"
        "try: Image.open(io.BytesIO(bytes(data))).load()\nexcept Exception: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
