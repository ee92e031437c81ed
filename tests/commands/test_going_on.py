"""A command that writes folders or files, killed at any moment: repeated it goes on, and ends as one undisturbed."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import filelock
import numpy as np
import pytest
from albums import png, put

from aectl import storage
from aectl.cli.composing import composed
from aectl.commands import cleaning
from aectl.commands.table import COMMANDS
from aectl.data.datasets.synthetic import Synthetic
from aectl.files import unfinished
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.logistic import Logistic256
from aectl.models.networks.mlp import Mlp
from aectl.training import loop
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

NAMES = ["a/1.png", "a/2.png", "b/3.png", "b/4.png"]


@pytest.fixture(scope="module")
def packing_run(tmp_path_factory) -> Path:
    """A run that makes pictures bits without loss."""
    folder = tmp_path_factory.mktemp("going_on") / "run"
    config = train_config(
        dataset=Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=[1, 12, 10]),
        network=Mlp(hidden=[8]), model=Vae(posterior="logvar"), likelihood=Logistic256(components=1), epochs=1,
        device="cpu", figures_every=0,
    )  # fmt: skip
    loop.train(config, folder)
    return folder


def noise(seed: int) -> bytes:
    return png(np.random.default_rng(seed).integers(0, 256, (14, 11), dtype=np.uint8))


@pytest.fixture
def pictures(tmp_path) -> None:
    """Four of them in `in`, one that cannot be used, and references in `clean`."""
    put(tmp_path / "in", {name: noise(index) for index, name in enumerate(NAMES)} | {"b/bad.png": b"none"})
    put(tmp_path / "clean", {name: noise(index + 10) for index, name in enumerate(NAMES)} | {"b/bad.png": b"none"})


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Stops:
    """What a SIGKILL would leave of a folder at each moment: before a file is written, half written, in its place."""

    def __init__(self, folder: Path, snapshots: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.snapshots, self.moments = folder, snapshots, []
        real, append = storage.replace, storage.appending
        self.watching = True

        def replace(path: Path, data: bytes, temporary: Path | None = None) -> None:
            if self.watching and path.absolute().is_relative_to(folder):
                temporary.write_bytes(data[: len(data) // 2])
                self.keep()
                temporary.unlink()
            real(path, data, temporary)
            if self.watching and path.absolute().is_relative_to(folder):
                self.keep()

        @contextlib.contextmanager
        def appending(path: Path, size: int):
            with append(path, size) as add:

                def add_torn(data: bytes) -> None:
                    if self.watching:
                        self.keep()
                        with (self.moments[-1] / path.name).open("ab") as note:
                            note.write(data[: len(data) // 2])
                    add(data)

                yield add_torn

        monkeypatch.setattr(storage, "replace", replace)
        monkeypatch.setattr(storage, "appending", appending)

    def keep(self) -> None:
        self.moments.append(self.snapshots / str(len(self.moments)))
        shutil.copytree(self.folder, self.moments[-1])

    def again(self, moment: Path) -> None:
        """Put the folder back to where it was then."""
        self.watching = False
        shutil.rmtree(self.folder)
        shutil.copytree(moment, self.folder)


DENOISE = ["denoise", "input=in", "output=out", "on_bad=skip", "threads=1"]
WORKS = {
    "plain": DENOISE,
    "references": [*DENOISE, "reference=clean"],
    "noise": [*DENOISE, "noise=gaussian", "noise.sigma=0.2"],
    "decode": ["decode", "input=codes.npz", "output=out", "threads=1"],
    "unpack": ["decode", "input=made.aec", "output=out", "threads=1"],
    "encode": ["encode", "input=in", "output=out/codes.csv", "on_bad=skip", "threads=1"],
    "pack": ["encode", "input=in", "output=out/made.aec", "on_bad=skip", "threads=1"],
    "score": ["score", "input=in", "output=out/scores.csv", "on_bad=skip", "threads=1"],
    "explore": ["explore", "output=out/page.html", "threads=1"],
}


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.usefixtures("pictures")
def test_from_any_moment_the_same_command_gives_what_an_undisturbed_one_gives(
    aectl, autoencoder, packing_run, tmp_path, monkeypatch, name
):
    run = packing_run if name in ("pack", "unpack") else autoencoder
    words = [*WORKS[name], f"run={run}"]
    if name == "decode":
        assert aectl("encode", f"run={run}", "input=in", "output=codes.npz", "on_bad=skip").status == 0
    if name == "unpack":
        assert aectl("encode", f"run={run}", "input=in", "output=made.aec", "on_bad=skip").status == 0
    monkeypatch.setattr("aectl.commands.decode.SOME", 3)
    stops = Stops(tmp_path / "out", tmp_path / "moments", monkeypatch)
    settings, (_, work) = composed(words[0], *words[1:]), COMMANDS[words[0]].load()
    (tmp_path / "own").mkdir()
    told = []
    monkeypatch.setattr(unfinished, "tell", lambda there, *_: told.append(there))
    work(settings, tmp_path / "own")
    expected = below(tmp_path / "out")
    assert not [file for file in expected if Path(file).name.startswith(".")]
    # All moments of one work, and of the others some.
    for moment in stops.moments if name == "references" else stops.moments[::5]:
        stops.again(moment)
        work(settings, tmp_path / "own")
        assert below(tmp_path / "out") == expected, moment.name
        if name in ("plain", "references", "decode", "unpack"):
            assert told[-1] == len([file for file in below(moment) if file in expected and file.count("/")])


# ----------------------------------------------------------------------------- what is different meanwhile


@pytest.fixture
def stopped(aectl, autoencoder, tmp_path, monkeypatch, pictures):
    """A folder `out` of two pictures of four, as a killed command has left it, and the command."""
    words = [*DENOISE, "reference=clean", f"run={autoencoder}"]
    with monkeypatch.context() as patch:
        stops = Stops(tmp_path / "out", tmp_path / "moments", patch)
        assert aectl(*words).status == 0
        expected = below(tmp_path / "out")
        stops.again(next(one for one in stops.moments if len(list(one.rglob("?/*.png"))) == 2))
    cleaned = []
    real = cleaning.through
    monkeypatch.setattr(cleaning, "through", lambda *given: (cleaned.append(1), real(*given))[1])
    return words, expected, cleaned


def test_what_is_there_is_not_made_again(aectl, stopped, tmp_path):
    words, expected, cleaned = stopped
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("?/*.png")}
    done = aectl(*words)
    assert done.status == 0
    assert done.out.count("going on: 2 of 4 pictures are in out already\n") == 1
    assert below(tmp_path / "out") == expected
    assert len(cleaned) == 2
    assert all(path.stat().st_ino == inode for path, inode in before.items())


@pytest.mark.parametrize("place", ["in", "clean"])
def test_a_picture_or_a_reference_that_has_changed_is_made_anew(aectl, stopped, tmp_path, place):
    words, expected, cleaned = stopped
    given = tmp_path / place / NAMES[0]
    status, data = given.stat(), noise(99)
    given.write_bytes(data)
    os.utime(given, ns=(status.st_atime_ns, status.st_mtime_ns))  # its content decides, no time
    assert aectl(*words).status == 0
    assert len(cleaned) == 3
    found = below(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert aectl(*words).status == 0
    assert found == below(tmp_path / "out")
    assert found["psnr_ssim.csv"] != expected["psnr_ssim.csv"]


def test_pictures_that_went_take_their_outputs_along_and_new_ones_get_theirs(aectl, stopped, tmp_path):
    words, _, _ = stopped
    assert (tmp_path / "out/a").is_dir()
    for place in ("in", "clean"):
        shutil.rmtree(tmp_path / place / "a")
        put(tmp_path / place, {"c/5.png": noise(5)})
    assert aectl(*words).status == 0
    found = below(tmp_path / "out")
    assert {name for name in found if "/" in name} == {"b/3.png", "b/4.png", "c/5.png"}
    assert not (tmp_path / "out/a").exists()
    shutil.rmtree(tmp_path / "out")
    assert aectl(*words).status == 0
    assert found == below(tmp_path / "out")


@pytest.mark.parametrize(
    ("more", "differs"),
    [(["seed=1"], "seed"), (["scale=100"], "scale"), (["input=other"], "input"), (["run=other_run"], "weights"),
     (["reference=null"], "reference"), (["noise=masking", "reference=null"], "noise, reference")],
)  # fmt: skip
def test_other_work_is_refused_by_what_is_other(aectl, small_run, stopped, tmp_path, more, differs):
    words, _, _ = stopped
    shutil.copytree(tmp_path / "in", tmp_path / "other")
    shutil.copytree(small_run, tmp_path / "other_run")
    words = [word for word in words if not any(word.startswith(one.partition("=")[0] + "=") for one in more)]
    before = below(tmp_path / "out")
    refused = aectl(*words, *more)
    assert refused.status == 6
    assert "output=out: holds what other work has left unfinished (it differs in " in refused.err
    assert differs in refused.err
    assert "overwrite=true" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert below(tmp_path / "out") == before


def test_settings_that_change_no_picture_are_the_same_work(aectl, stopped, tmp_path):
    words, expected, cleaned = stopped
    assert aectl(*words, "picture_gb=3", "overwrite=true", "device=cpu").status == 0
    assert below(tmp_path / "out") == expected
    assert len(cleaned) == 2


def test_a_picture_that_somebody_changed_is_not_replaced_unasked(aectl, stopped, tmp_path):
    words, expected, _ = stopped
    (tmp_path / "out" / NAMES[1]).write_bytes(b"mine")
    refused = aectl(*words)
    assert refused.status == 6
    assert "a/2.png is not as this command left it" in refused.err
    assert (tmp_path / "out" / NAMES[1]).read_bytes() == b"mine"
    assert aectl(*words, "overwrite=true").status == 0
    assert below(tmp_path / "out") == expected


def test_a_picture_that_somebody_put_there_or_took_away(aectl, stopped, tmp_path):
    words, expected, _ = stopped
    (tmp_path / "out" / NAMES[0]).unlink()
    put(tmp_path / "out", {NAMES[3]: b"mine"})
    refused = aectl(*words)
    assert refused.status == 6
    assert "output=out: has b/4.png already; choose another folder or set overwrite=true" in refused.err
    (tmp_path / "out" / NAMES[3]).unlink()
    assert aectl(*words).status == 0
    assert below(tmp_path / "out") == expected


def test_a_finished_folder_is_refused_as_ever(aectl, stopped):
    words, _, _ = stopped
    assert aectl(*words).status == 0
    refused = aectl(*words)
    assert refused.status == 6
    assert "output=out: has a/1.png already; choose another folder or set overwrite=true" in refused.err


def test_overwriting_that_was_stopped_goes_on_and_leaves_no_mix(aectl, autoencoder, pictures, tmp_path, monkeypatch):
    words = [*DENOISE, f"run={autoencoder}"]
    assert aectl(*words, "noise=gaussian", "noise.sigma=0.5").status == 0
    old = below(tmp_path / "out")
    with monkeypatch.context() as patch:
        stops = Stops(tmp_path / "out", tmp_path / "moments", patch)
        assert aectl(*words, "overwrite=true").status == 0
        expected = below(tmp_path / "out")
        stops.again(stops.moments[len(stops.moments) // 2])
    refused = aectl(*words)
    assert refused.status == 6, "what was there before has not been given away by that"
    assert "already; choose another folder or set overwrite=true" in refused.err
    done = aectl(*words, "overwrite=true")
    assert done.status == 0
    assert "going on: " in done.out
    assert below(tmp_path / "out") == expected
    assert {name for name in old if not name.startswith("noisy/")} - {"psnr_ssim.csv", "best_and_worst.png"} <= {
        name for name in expected if expected[name] != old.get(name) or name == "bad_pictures.csv"
    }


# ------------------------------------------------------------------------------------------- the note


@pytest.mark.parametrize("line", [b"hello\n", b'{"seed": "0"}\n{"files": {"../in/a/1.png": "0"}, "of": ""}\n'])
def test_a_strange_note_is_nobodys_and_nothing_is_touched(aectl, stopped, tmp_path, line):
    words, expected, _ = stopped
    (tmp_path / "out" / unfinished.NOTE).write_bytes(line)
    before, given = below(tmp_path / "out"), below(tmp_path / "in")
    refused = aectl(*words)
    assert refused.status == 6
    assert f"out/{unfinished.NOTE}: is no note of an unfinished command" in refused.err
    assert "overwrite=true" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert below(tmp_path / "out") == before
    assert aectl(*words, "overwrite=true").status == 0
    found = below(tmp_path / "out")
    assert expected.items() <= found.items()
    assert set(found) - set(expected) <= {name for name in before if name.count(".tmp-")}
    assert below(tmp_path / "in") == given


@pytest.mark.parametrize("kind", ["folder", "fifo", "link"])
def test_a_note_that_is_no_file_is_neither_read_nor_written(aectl, stopped, tmp_path, kind):
    words, _, _ = stopped
    note, elsewhere = tmp_path / "out" / unfinished.NOTE, tmp_path / "elsewhere"
    elsewhere.write_bytes(note.read_bytes())
    note.unlink()
    {"folder": note.mkdir, "fifo": lambda: os.mkfifo(note), "link": lambda: note.symlink_to(elsewhere)}[kind]()
    before = elsewhere.read_bytes()
    for more in ([], ["overwrite=true"]):
        refused = aectl(*words, *more)
        assert refused.status == 6
        assert f"out/{unfinished.NOTE}: is no note of an unfinished command" in refused.err
        assert len(refused.err.splitlines()) == 1
        assert elsewhere.read_bytes() == before


def test_a_note_without_a_whole_line_or_without_files_is_in_nobodys_way(aectl, stopped, tmp_path):
    words, expected, _ = stopped
    note = tmp_path / "out" / unfinished.NOTE
    head = note.read_bytes().partition(b"\n")[0]
    for left in (b"", head[:20], b'{"seed": "0"}\n{"files": {"gone.png": "0"}, "of": ""}\n'):
        shutil.rmtree(tmp_path / "out")
        put(tmp_path / "out", {unfinished.NOTE: left})
        assert aectl(*words).status == 0
        assert below(tmp_path / "out") == expected


def test_a_folder_of_the_output_that_became_a_link_loses_nothing(aectl, stopped, tmp_path):
    words, _, _ = stopped
    (tmp_path / "out/a").rename(tmp_path / "moved")
    (tmp_path / "out/a").symlink_to(tmp_path / "moved")
    put(tmp_path / "moved", {storage.temporary_of(Path("1.png")).name: b"mine"})
    before = below(tmp_path / "moved")
    shutil.rmtree(tmp_path / "in/a")
    shutil.rmtree(tmp_path / "clean/a")
    assert aectl(*words).status == 0
    assert below(tmp_path / "moved") == before


# ------------------------------------------------------------------------------------- two, and refusals


def test_a_second_command_of_the_same_output_is_refused(aectl, stopped, tmp_path, monkeypatch):
    words, expected, _ = stopped
    monkeypatch.setattr(unfinished, "PATIENCE", 0.05)
    before = below(tmp_path / "out")
    with filelock.FileLock(tmp_path / "out" / unfinished.LOCK):
        refused = aectl(*words)
        assert refused.status == 6
        assert refused.err.strip() == (
            "aectl: output=out: another command is writing there; wait for it to end, or choose another"
        )
        assert before.items() <= below(tmp_path / "out").items()
    assert aectl(*words).status == 0
    assert below(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("name", "at", "number"),
    [("references", 8, errno.ENOSPC), ("references", 9, errno.EIO), ("encode", 3, errno.ENOSPC),
     ("score", 4, errno.ENOSPC)],
)  # fmt: skip
@pytest.mark.usefixtures("pictures")
def test_a_disk_that_refuses_in_the_middle(aectl, autoencoder, tmp_path, monkeypatch, name, at, number):
    words = [*WORKS[name], f"run={autoencoder}"]
    assert aectl(*words).status == 0
    expected = below(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    real, written = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        if str(tmp_path / "out") in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            written.append(descriptor)
            if len(written) == at:  # half of it, then no more
                real(descriptor, data[: len(data) // 2])
                raise OSError(number, os.strerror(number))
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        refused = aectl(*words)
    assert refused.status == 6
    assert refused.err.rstrip().endswith("repeat the command")
    assert len(refused.err.splitlines()) == 1
    assert not list((tmp_path / "out").rglob(".tmp-*"))
    done = aectl(*words)
    assert done.status == 0, done.err
    assert below(tmp_path / "out") == expected


@pytest.mark.parametrize(("end", "status"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_a_signal_in_the_middle(aectl, stopped, tmp_path, monkeypatch, end, status):
    words, expected, _ = stopped
    shutil.rmtree(tmp_path / "out")
    with monkeypatch.context() as patch:
        real, made = cleaning._clean_one, []

        def stop(*given):
            if len(made) == 2:
                raise end
            made.append(1)
            return real(*given)

        patch.setattr(cleaning, "_clean_one", stop)
        done = aectl(*words)
    assert done.status == status
    assert done.err == ""
    assert "not done: out; the same command goes on with it" in done.out
    assert not (tmp_path / "out" / unfinished.LOCK).exists()
    assert aectl(*words).status == 0
    assert below(tmp_path / "out") == expected


def test_bits_of_pictures_that_are_there_are_not_decoded_again(aectl, packing_run, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("aectl.coding.coders.BitsBack.room", 14 * 11)  # a block for each picture
    assert aectl("encode", f"run={packing_run}", "input=in", "output=made.aec", "on_bad=skip").status == 0
    words = ["decode", f"run={packing_run}", "input=made.aec", "output=out"]
    with monkeypatch.context() as patch:
        stops = Stops(tmp_path / "out", tmp_path / "moments", patch)
        assert aectl(*words).status == 0
        expected = below(tmp_path / "out")
        stops.again(stops.moments[-3])
    from aectl.commands import unpacking

    real, decoded = unpacking._unpacked, []
    monkeypatch.setattr(unpacking, "_unpacked", lambda *given: (decoded.append(1), real(*given))[1])
    assert aectl(*words).status == 0
    assert below(tmp_path / "out") == expected
    assert len(decoded) < 4


# --------------------------------------------------------------------------------------------- export


def test_an_export_that_was_killed_leaves_nothing_once_it_is_repeated(aectl, autoencoder, tmp_path, monkeypatch):
    words = ["export", f"run={autoencoder}", "output=made/out", "format=safetensors", "threads=1"]
    (tmp_path / "made").mkdir()
    assert aectl(*words).status == 0
    old = below(tmp_path / "made")
    temporary = storage.temporary_of(tmp_path / "made/out")
    # Killed while the new one grew; between the two renames; before what stood there was gone.
    put(temporary, {"README.md": b"half"})
    assert aectl(*words, "overwrite=true").status == 0
    assert below(tmp_path / "made") == old
    (tmp_path / "made/out").rename(storage.aside(temporary))
    put(temporary, {"README.md": b"whole"})
    assert aectl(*words, "overwrite=true").status == 0
    assert below(tmp_path / "made") == old
    put(storage.aside(temporary), {"README.md": b"old"})
    assert aectl(*words, "overwrite=true").status == 0
    assert below(tmp_path / "made") == old
    # Where the new one cannot have the place, what stood there has it again.
    real = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.absolute() == temporary:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    assert aectl(*words, "overwrite=true").status == 6
    assert below(tmp_path / "made") == old
