"""Strange pictures and strangers' checkpoints: one line, the right exit code, in bounded time, and no code runs."""

import hashlib
import json
import os
import pickle
import resource
import shutil
import struct
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
import zoo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl.cli import messages
from aectl.cli.composing import composed
from aectl.commands import cleaned, denoise
from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.drawing import before_after
from aectl.files.pictures import decoding
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, opening
from aectl.training import loop
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")
FORBIDDEN = ("pickle.find_class", "exec", "compile", "subprocess.Popen", "os.system", "os.exec", "os.fork", "socket.")
happened: list[str] = []
armed = False


def _watch(event: str, args: tuple) -> None:
    # Cython, once, for the traceback of its first error.
    if armed and event.startswith(FORBIDDEN) and args[:1] != (b"_getframe()",):
        happened.append(f"{event} {args!r:.100}")


sys.addaudithook(_watch)
before_after.page("", [], [])  # makes our own template a program, once


class Guard:
    """Inside it nothing forbidden may happen; it is quick, and takes little memory."""

    def __enter__(self):
        global armed
        happened.clear()
        self.began, self.memory = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        armed = True

    def __exit__(self, *exc):
        global armed
        armed = False
        assert not happened
        assert time.perf_counter() - self.began < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.memory < 400_000  # kilobytes


def explained(work) -> tuple[int, str]:
    """The exit code and the message that `aectl` would end with; a traceback is a failure."""
    try:
        work()
    except Exception as error:
        status, message = messages.explain(error)
        if message is None:
            raise
        assert "\n" not in message
        assert message.isprintable()
        return status, message
    return 0, ""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A small denoiser of 28×28 grey pictures."""
    folder = tmp_path_factory.mktemp("run")
    config = train_config(
        dataset=Synthetic(val_size=20, test_size=20, synthetic_size=100, synthetic_shape=[1, 28, 28]),
        noise=noises.Gaussian(sigma=0.3), network=Mlp(hidden=[8]), epochs=1, device="cpu",
        figures_every=0,
    )  # fmt: skip
    loop.train(config, folder)
    return folder


# ------------------------------------------------------------------------------------------ pictures


def test_the_zoo_is_large():
    assert len(zoo.KINDS) >= 50


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_a_strange_picture_is_cleaned_or_named(trained, tmp_path, monkeypatch, kind):
    opened = opening.open_run(str(trained), "best", CPU)
    monkeypatch.setattr(denoise, "open_run", lambda *args: opened)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    zoo.make(kind, tmp_path / "in")

    config = composed("denoise", "input=in", "output=out", "reference=in")
    with Guard():
        status, message = explained(lambda: denoise.run_denoise(config, tmp_path / "log"))
    assert status in (0, 3), message
    if status == 0:
        reports = cleaned.files(compared=True)
        (written,) = (path for path in (tmp_path / "out").iterdir() if path.name not in reports)
        before, after = (decoding.decode(path.read_bytes()) for path in (next((tmp_path / "in").iterdir()), written))
        assert (before.size, before.mode) == (after.size, after.mode)
    else:
        assert not (tmp_path / "out").exists(), "nothing half done"
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "kind", ["whole PNG", "whole JPEG", "png in mode 1", "exif orientation 6", "name with emoji"]
)
def test_what_fits_is_cleaned(trained, tmp_path, kind):
    (tmp_path / "in").mkdir()
    zoo.make(kind, tmp_path / "in")
    config = composed("denoise", f"run={trained}", f"input={tmp_path}/in", f"output={tmp_path}/out")
    assert explained(lambda: denoise.run_denoise(config, tmp_path))[0] == 0


# --------------------------------------------------------------------------------------- checkpoints


def header(data: bytes) -> dict:
    """The header of a safetensors file."""
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])


def with_header(data: bytes, changed: dict | bytes) -> bytes:
    """The same tensors behind another header."""
    text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + struct.unpack("<Q", data[:8])[0] :]


def edit_tensors(change):
    def edit(files: dict[str, bytes]) -> None:
        tensors = safetensors.torch.load(files["model.safetensors"])
        change(tensors)
        files["model.safetensors"] = safetensors.torch.save(tensors)

    return edit


def edit_config(change):
    def edit(files: dict[str, bytes]) -> None:
        config = json.loads(files["config.json"])
        change(config)
        files["config.json"] = json.dumps(config).encode()

    return edit


def edit_header(change):
    def edit(files: dict[str, bytes]) -> None:
        data = files["model.safetensors"]
        head = header(data)
        change(head)
        files["model.safetensors"] = with_header(data, head)

    return edit


def put(name: str, data: bytes):
    return lambda files: files.update({name: data})


def first(mapping: dict) -> str:
    return min(name for name in mapping if name != "__metadata__")


def rename(mapping: dict) -> None:
    mapping["surprise"] = mapping.pop(first(mapping))


MODEL, CONFIG = "model.safetensors", "config.json"
# Each edits the files of a whole checkpoint; its manifest is then made to fit, as a stranger would.
EDITS = {
    "pickle as weights": put(MODEL, pickle.dumps(zoo.Payload())),
    "pickle as config": put(CONFIG, pickle.dumps(zoo.Payload())),
    "html as weights": put(MODEL, b"<html></html>"),
    "git-lfs pointer": put(MODEL, b"version https://git-lfs.github.com/spec/v1\n"),
    "torch zip as weights": put(MODEL, b"PK\x03\x04" + b"\0" * 100),
    "empty weights": put(MODEL, b""),
    "no tensors": put(MODEL, safetensors.torch.save({})),
    "header of 2^63": put(MODEL, struct.pack("<Q", 2**63) + b"{}"),
    "header not JSON": put(MODEL, struct.pack("<Q", 4) + b"nope"),
    "header a list": put(MODEL, struct.pack("<Q", 2) + b"[]"),
    "header nested": put(MODEL, struct.pack("<Q", 100_000) + b"[" * 100_000),
    "offsets beyond the file": edit_header(lambda h: h[first(h)].update(data_offsets=[0, 2**40])),
    "offsets backwards": edit_header(lambda h: h[first(h)].update(data_offsets=[8, 0])),
    "negative offsets": edit_header(lambda h: h[first(h)].update(data_offsets=[-8, 0])),
    "shape too large": edit_header(lambda h: h[first(h)].update(shape=[2**40, 2**40])),
    "shape negative": edit_header(lambda h: h[first(h)].update(shape=[-1])),
    "unknown dtype": edit_header(lambda h: h[first(h)].update(dtype="OBJECT")),
    "tensor renamed": edit_tensors(rename),
    "tensor missing": edit_tensors(lambda t: t.pop(first(t))),
    "tensor too many": edit_tensors(lambda t: t.update(extra=torch.zeros(1))),
    "tensor of another shape": edit_tensors(lambda t: t.update({first(t): torch.zeros(3, 3)})),
    "tensor of another dtype": edit_tensors(lambda t: t.update({first(t): t[first(t)].double()})),
    "NaN weights": edit_tensors(lambda t: t[first(t)].fill_(torch.nan)),
    "infinite weights": edit_tensors(lambda t: t[first(t)].fill_(torch.inf)),
    "config empty": put(CONFIG, b""),
    "config a list": put(CONFIG, b"[]"),
    "config null": put(CONFIG, b"null"),
    "config with NaN": put(CONFIG, b'{"train": NaN}'),
    "config with 1e999": put(CONFIG, b'{"train": {"lr": 1e999}}'),
    "config of 200,000 levels": put(CONFIG, b'{"a":' * 200_000),
    "config with a key twice": put(CONFIG, b'{"train": {}, "train": {}}'),
    "config not UTF-8": put(CONFIG, b'{"train": "\xff"}'),
    "config of nothing": put(CONFIG, b"{}"),
    "unknown setting": edit_config(lambda c: c["train"].update(surprise=1)),
    "_target_ in config": edit_config(lambda c: c["train"]["model"].update(_target_="os.system")),
    "latent a string": edit_config(lambda c: c["train"].update(latent="2")),
    "latent 10^9": edit_config(lambda c: c["train"].update(latent=10**9)),
    "latent other": edit_config(lambda c: c["train"].update(latent=3)),
    "latent true": edit_config(lambda c: c["train"].update(latent=True)),
    "latent a huge integer": edit_config(lambda c: c["train"].update(latent=10**4000)),
    "model unknown": edit_config(lambda c: c["train"]["model"].update(name="os.system")),
    "network a list": edit_config(lambda c: c["train"].update(network=[])),
    "widths huge": edit_config(lambda c: c["train"]["network"].update(hidden=[65536] * 9)),
    "widths too many": edit_config(lambda c: c["train"]["network"].update(hidden=[1] * 100_000)),
    "shape huge": edit_config(lambda c: c.update(shape=[65536, 65536, 65536])),
    "shape of two": edit_config(lambda c: c.update(shape=[28, 28])),
    "shape of floats": edit_config(lambda c: c.update(shape=[1.0, 28.0, 28.0])),
    "shape missing": edit_config(lambda c: c.pop("shape")),
    "state a list": put("trainer.json", b"[]"),
    "state without a step": put("trainer.json", b"{}"),
    "state with a wrong best": put("trainer.json", b'{"step": 5, "epoch": 1, "best": {"step": "../../x"}}'),
    "optimizer not tensors": put("trainer.safetensors", b"nope"),
}


def entries(entry: object) -> str:
    """A manifest that says the same of each file."""
    return json.dumps({"format": 1, "files": {name: entry for name in checkpoint.FILES}})  # noqa: C420


MANIFESTS = {
    "empty": "", "a list": "[]", "null": "null", "no format": "{}", "another format": '{"format": 2}',
    "NaN": '{"format": NaN}', "levels": "[" * 200_000, "a key twice": '{"format": 1, "format": 1}',
    "zero bytes": "\0" * 64,
    "parent folder": '{"format": 1, "files": {"../../x": {"bytes": 1, "sha256": ""}}}',
    "absolute name": '{"format": 1, "files": {"/etc/hostname": {"bytes": 1, "sha256": ""}}}',
    "entries of numbers": entries(3), "sizes of 10^30": entries({"bytes": 10**30, "sha256": ""}),
    "sizes negative": entries({"bytes": -1, "sha256": ""}), "entries empty": entries({}),
    "html": "<html>",
}  # fmt: skip


def seal(path: Path, files: dict[str, bytes]) -> None:
    """Write the files and a manifest that fits them."""
    for name, data in files.items():
        (path / name).write_bytes(data)
    entries = {n: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for n, data in files.items()}
    (path / checkpoint.MANIFEST).write_text(json.dumps({"format": checkpoint.FORMAT, "files": entries}))


@pytest.fixture
def stranger(trained, tmp_path, monkeypatch) -> Path:
    """A copy of a whole checkpoint, to be changed; one like it has been opened, so nothing is imported any more."""
    source = checkpoint.listing(layout.checkpoints_of(trained))[0]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run/checkpoints" / source.name
    shutil.copytree(source, path)
    opening.open_run(str(path), "best", CPU)
    return path


def refuse(path: Path) -> None:
    """Every way to open it, by any command, ends in one line and exit code 4."""
    for work in (
        lambda: opening.open_run(str(path), "best", CPU),
        lambda: opening.open_run(str(path.parent.parent), "best", CPU),
        lambda: loop.train(train_config(resume=str(path.parent.parent)), Path("unused")),
    ):
        with Guard():
            status, message = explained(work)
        assert status == 4, message
    assert not Path("canary").exists()


def test_there_are_many():
    assert len(EDITS) + len(MANIFESTS) >= 40


@pytest.mark.parametrize("name", EDITS)
def test_a_strangers_checkpoint_is_refused_and_runs_nothing(stranger, name):
    files = {file: (stranger / file).read_bytes() for file in checkpoint.FILES}
    EDITS[name](files)
    seal(stranger, files)
    refuse(stranger)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_strange_manifest_is_refused(stranger, name):
    (stranger / checkpoint.MANIFEST).write_text(MANIFESTS[name])
    refuse(stranger)


def test_special_files_in_a_checkpoint_are_not_opened(stranger):
    (stranger / MODEL).unlink()
    os.mkfifo(stranger / MODEL)
    refuse(stranger)
    (stranger / MODEL).unlink()
    (stranger / MODEL).symlink_to("/dev/zero")
    refuse(stranger)


def test_files_of_two_runs_do_not_mix(stranger, trained):
    other = checkpoint.load(stranger)
    mixed = {name: tensor + 1 for name, tensor in other.model.items()}
    (stranger / MODEL).write_bytes(safetensors.torch.save(mixed))
    refuse(stranger)


# -------------------------------------------------------------------------------------------- fuzzing

FUZZ = settings(
    max_examples=int(os.environ.get("AECTL_FUZZ", "60")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(st.binary(max_size=300))
def test_no_bytes_in_a_manifest_get_through(stranger, data):
    (stranger / checkpoint.MANIFEST).write_bytes(data)
    with Guard():
        assert explained(lambda: checkpoint.load(stranger))[0] == 4


@FUZZ
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["latent", "network", "model", "lr", "dataset", "noise", "seed"]),
)
def test_no_value_in_a_config_gets_through(stranger, value, key):
    files = {file: (stranger / file).read_bytes() for file in checkpoint.FILES}
    config = json.loads(files[CONFIG])
    before = config["train"][key]
    config["train"][key] = value
    files[CONFIG] = json.dumps(config).encode()
    seal(stranger, files)
    status, message = explained(lambda: opening.open_run(str(stranger), "best", CPU))
    config["train"][key] = before
    seal(stranger, {**files, CONFIG: json.dumps(config).encode()})
    assert status in (0, 4), message


@FUZZ
@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_no_bytes_in_a_tensor_header_get_through(stranger, position, data):
    files = {file: (stranger / file).read_bytes() for file in checkpoint.FILES}
    weights = files[MODEL]
    files[MODEL] = weights[:position] + data + weights[position + len(data) :]
    seal(stranger, files)
    with Guard():
        status, message = explained(lambda: opening.open_run(str(stranger), "best", CPU))
    seal(stranger, {**files, MODEL: weights})
    assert status in (0, 4), message


@settings(FUZZ, max_examples=FUZZ.max_examples // 3)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=25).filter(
        lambda t: t[0] != "-"
    )
)
def test_any_override_is_composed_or_refused_in_one_line(aectl, text):
    result = aectl("train", f"latent={text}", "--cfg", "job")
    assert result.status in (0, 2), result.err
    assert result.status == 0 or len(result.err.strip().splitlines()) == 1
