"""Official data sets: read from their files, damage named, nothing written over, fetched where missing."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import zoo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aectl.data.datasets._torchvision import datasets
from aectl.data.datasets.table import DATASETS
from aectl.data.split import build_dataset
from aectl.errors import DataError

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
TRAIN_LABELS, TEST_LABELS = "train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"
NAMES = (TRAIN, TRAIN_LABELS, TEST, TEST_LABELS)
CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


def header(kind: int, *shape: int) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)


def idx(array: np.ndarray) -> bytes:
    """The file of an array of bytes; the torchvision reader's own format, built by hand."""
    return header(8, *array.shape) + array.tobytes()


def files(train: int = 60, test: int = 20, side: int = 28) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    made = {}
    for images, labels, n in ((TRAIN, TRAIN_LABELS, train), (TEST, TEST_LABELS, test)):
        made[images] = idx(rng.integers(0, 256, (n, side, side), dtype=np.uint8))
        made[labels] = idx((np.arange(n) % 10).astype(np.uint8))
    return made


@pytest.fixture
def raw(tmp_path) -> Path:
    """The folder of a small MNIST, whole."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(autouse=True)
def asked(monkeypatch) -> list[str]:
    """No network: the addresses that were asked for."""
    found = []

    def refuse(request, **kwargs):
        found.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return found


def built(root: Path, name: str = "mnist", **more):
    return build_dataset(DATASETS[name](val_size=10, **more), str(root))


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("packed", [False, True])
def test_its_files_are_read_as_torchvision_reads_them_and_the_test_part_is_kept(tmp_path, asked, name, packed):
    folder = tmp_path / CLASSES[name] / "raw"
    folder.mkdir(parents=True)
    for file, data in files().items():
        (folder / file).write_bytes(data)
    theirs = [getattr(datasets, CLASSES[name])(str(tmp_path), train=train) for train in (True, False)]
    if packed:
        for file, data in files().items():
            (folder / f"{file}.gz").write_bytes(gzip.compress(data))
            (folder / file).unlink()
    split = built(tmp_path, name)
    assert split.sizes() == {"train": 50, "val": 10, "test": 20}
    assert split.test.shape == (1, 28, 28)
    np.testing.assert_array_equal(split.test.pixels[:, 0], theirs[1].data)
    np.testing.assert_array_equal(split.test.labels, theirs[1].targets)
    pairs = zip(theirs[0].data.numpy(), theirs[0].targets.tolist(), strict=True)
    rows = {image.tobytes(): label for image, label in pairs}
    assert [rows[image.numpy().tobytes()] for image in split.train.pixels] == split.train.labels.tolist()
    assert not asked


def test_emnist_is_turned_upright_and_its_letters_begin_at_one(tmp_path, asked):
    folder = tmp_path / "EMNIST/raw"
    folder.mkdir(parents=True)
    made = files()
    pixels = np.frombuffer(made[TEST][16:], np.uint8).reshape(20, 28, 28)
    letters = (np.arange(60) % 26 + 1).astype(np.uint8)
    for part, n, images in (("train", 60, TRAIN), ("test", 20, TEST)):
        (folder / f"emnist-letters-{part}-images-idx3-ubyte").write_bytes(made[images])
        (folder / f"emnist-letters-{part}-labels-idx1-ubyte").write_bytes(idx(letters[:n]))
    split = built(tmp_path, "emnist", emnist_split="letters")
    np.testing.assert_array_equal(split.test.pixels[:, 0], pixels.transpose(0, 2, 1))
    assert split.test.labels.tolist() == list(range(1, 21))
    (folder / "emnist-letters-test-labels-idx1-ubyte").write_bytes(idx(np.full(20, 27, np.uint8)))
    with pytest.raises(DataError, match="label 27"):
        built(tmp_path, "emnist", emnist_split="letters")
    assert not asked


whole = files()
DAMAGES = {
    "a web page": (TRAIN, b"<!DOCTYPE html><html>404</html>", "web page"),
    "a web page with blank lines": (TRAIN_LABELS, b"\n \n<html></html>", "web page"),
    "text": (TEST, b"version https://git-lfs.github.com/spec/v1", "is not an IDX file"),
    "zeros": (TEST, bytes(16 + 20 * 784), "is not an IDX file"),
    "empty": (TEST_LABELS, b"", "is empty"),
    "two bytes": (TEST_LABELS, b"\0\0", "is not an IDX file"),
    "cut in the header": (TRAIN, whole[TRAIN][:10], "ends in its header"),
    "a header alone": (
        TRAIN,
        whole[TRAIN][:16],
        "47040 bytes after its header, for 60×28×28, and has only 0",
    ),
    "gzip under the raw name": (
        TRAIN,
        gzip.compress(whole[TRAIN]),
        "is compressed with gzip; its name should",
    ),
    "truncated": (TRAIN, whole[TRAIN][:-1], "has only 47039"),
    "labels truncated": (TEST_LABELS, whole[TEST_LABELS][:-5], "has only 15"),
    "a byte too many": (TEST, whole[TEST] + b"\0", "has more"),
    "32-bit integers": (TRAIN, header(12, 60, 28, 28) + bytes(4 * 47040), "holds 32-bit integers"),
    "signed bytes": (TRAIN_LABELS, header(9, 60) + bytes(60), "holds signed bytes"),
    "floats": (TRAIN, header(13, 60, 28, 28) + bytes(4 * 47040), "holds 32-bit floats"),
    "labels for images": (TRAIN, whole[TRAIN_LABELS], "has 1 dimensions, not 3"),
    "images for labels": (TEST_LABELS, whole[TEST], "has 3 dimensions, not 1"),
    "flat images": (TRAIN, header(8, 60, 784) + whole[TRAIN][16:], "has 2 dimensions, not 3"),
    "another side": (TEST, files(side=32)[TEST], "has the shape 20×32×32, not N×28×28"),
    "no images": (TEST, header(8, 0, 28, 28), "has the shape 0×28×28"),
    "an endless shape": (TEST, header(8, 2**32 - 1, 28, 28), "would have"),
    "fewer labels": (
        TRAIN_LABELS,
        idx(np.zeros(50, np.uint8)),
        "50 labels, and train-images-idx3-ubyte 60 images",
    ),
    "fewer images": (TRAIN, files(train=30)[TRAIN], "has 60 labels, and train-images-idx3-ubyte 30 images"),
    "a label beyond the classes": (TRAIN_LABELS, idx(np.full(60, 10, np.uint8)), "has the label 10"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named_with_reason_and_remedy(raw, asked, damage):
    name, data, says = DAMAGES[damage]
    (raw / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        built(raw.parent.parent)
    line = str(caught.value)
    assert line.count("\n") == 0
    assert caught.value.exit_code == 3
    assert says in line
    assert line.startswith(str(raw / (TRAIN_LABELS if damage == "fewer images" else name)))
    assert "downloaded again, from https://" in line
    assert "download failed" not in line
    assert (raw / name).read_bytes() == data
    assert not asked, "and nothing is downloaded over it"


packed = gzip.compress(whole[TRAIN])
PACKED_DAMAGES = {
    "not compressed": (whole[TRAIN], "is not compressed with gzip"),
    "truncated": (packed[:-20], "cannot be unpacked"),
    "cut in gzip's header": (packed[:9], "cannot be unpacked"),
    "a wrong checksum": (packed[:-8] + bytes(8), "cannot be unpacked"),
    "a byte too few": (gzip.compress(whole[TRAIN][:-1]), "has only 47039"),
    "a byte too many": (gzip.compress(whole[TRAIN] + b"1"), "has more"),
    "a web page": (gzip.compress(b"<html>"), "web page"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("damage", PACKED_DAMAGES)
def test_a_damaged_compressed_file_too(raw, asked, damage):
    data, says = PACKED_DAMAGES[damage]
    (raw / TRAIN).unlink()
    (raw / f"{TRAIN}.gz").write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        built(raw.parent.parent)
    assert str(caught.value).startswith(str(raw / f"{TRAIN}.gz"))
    assert not asked


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(NAMES), st.integers(0, 20), st.binary(max_size=6), st.integers(0, 6))
def test_any_damage_of_a_header_is_named_or_no_damage(raw, name, start, data, lost):
    (raw / name).write_bytes(whole[name][:start] + data + whole[name][start + lost :])
    try:
        split = built(raw.parent.parent)
    except DataError as error:
        said = str(error)
    else:
        said = str(raw)
        assert split.sizes() == {"train": 50, "val": 10, "test": 20}
    finally:
        (raw / name).write_bytes(whole[name])
    assert said.startswith(str(raw))
    assert "download failed" not in said


def test_a_folder_or_a_pipe_under_its_name_is_named(raw):
    for make in (Path.mkdir, os.mkfifo):
        (raw / TEST).unlink() if (raw / TEST).is_file() else (raw / TEST).rmdir()
        make(raw / TEST)
        with pytest.raises(DataError, match=f"{TEST}: is not a file") as caught:
            built(raw.parent.parent)
        assert caught.value.exit_code == 3
        if make is os.mkfifo:
            (raw / TEST).unlink()


def test_by_the_command_it_is_one_line_and_exit_code_3(aectl, raw):
    (raw / TRAIN_LABELS).write_bytes(b"<html>")
    refused = aectl("train", "dataset=mnist", f"data.root={raw.parent.parent}", "dataset.val_size=10")
    assert refused.status == 3
    assert len(refused.err.strip().splitlines()) == 1
    assert TRAIN_LABELS in refused.err
    assert not list(Path("outputs").rglob("*.log"))


def test_what_is_missing_and_cannot_be_downloaded_is_named_with_its_folder(tmp_path):
    for name, more in (("mnist", {}), ("emnist", {"emnist_split": "letters"}), ("cifar10", {}), ("svhn", {})):
        with pytest.raises(DataError, match=r"not found in .*, and the download failed .*no network") as caught:
            built(tmp_path, name, **more)
        assert str(tmp_path) in str(caught.value)
        assert "mnist5k, digits, synthetic" in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")]


def serve(monkeypatch, pages: dict[str, bytes]) -> list[str]:
    """A network that has these files, by their last part; the names that were asked for."""
    found = []

    def answer(request, **kwargs):
        name = request.full_url.rpartition("/")[2]
        if name not in pages:
            raise urllib.error.HTTPError(request.full_url, 404, "not there", None, None)
        found.append(name)
        response = io.BytesIO(pages[name])
        response.url, response.length = request.full_url, len(pages[name])
        return response

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return found


def test_what_is_missing_alone_is_downloaded_and_nothing_is_written_over(raw, monkeypatch):
    pages = {f"{name}.gz": gzip.compress(data) for name, data in files(train=40, test=20).items()}
    sums = [(name, hashlib.md5(data).hexdigest()) for name, data in pages.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", sums)
    found = serve(monkeypatch, pages)
    own = (raw / TRAIN).read_bytes()
    (raw / TEST).unlink()
    (raw / TEST_LABELS).unlink()
    assert built(raw.parent.parent).sizes() == {"train": 50, "val": 10, "test": 20}
    assert set(found) == {f"{TEST}.gz", f"{TEST_LABELS}.gz"}
    assert (raw / TRAIN).read_bytes() == own
    assert sorted(path.name for path in raw.iterdir()) == sorted(NAMES)


def test_a_download_that_is_not_the_official_file_is_not_kept(raw, monkeypatch):
    serve(monkeypatch, {f"{TEST}.gz": b"<html>", f"{TEST_LABELS}.gz": b"<html>"})
    (raw / TEST).unlink()
    with pytest.raises(DataError, match=f"{TEST} not found in .*, and the download failed"):
        built(raw.parent.parent)
    assert sorted(path.name for path in raw.iterdir()) == sorted({*NAMES} - {TEST})


def test_of_emnist_the_split_that_is_asked_for_is_taken_out_of_its_archive(tmp_path, monkeypatch):
    made, buffer = files(), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("digits", "letters"):
            for part, images, labels in (("train", TRAIN, TRAIN_LABELS), ("test", TEST, TEST_LABELS)):
                name = f"gzip/emnist-{split}-{part}"
                archive.writestr(f"{name}-images-idx3-ubyte.gz", gzip.compress(made[images]))
                archive.writestr(f"{name}-labels-idx1-ubyte.gz", gzip.compress(made[labels]))
    monkeypatch.setattr(datasets.EMNIST, "md5", hashlib.md5(buffer.getvalue()).hexdigest())
    found = serve(monkeypatch, {"gzip.zip": buffer.getvalue()})
    folder = tmp_path / "EMNIST/raw"
    folder.mkdir(parents=True)
    own = folder / "emnist-digits-test-labels-idx1-ubyte"
    own.write_bytes(idx(np.full(20, 7, np.uint8)))
    split = built(tmp_path, "emnist", emnist_split="digits")
    assert split.test.labels.tolist() == [7] * 20
    assert sorted(path.name for path in folder.iterdir()) == [
        own.name.replace("test-labels-idx1", "test-images-idx3"), own.name,
        *(f"emnist-digits-train-{file}-ubyte" for file in ("images-idx3", "labels-idx1")), "gzip.zip",
    ]  # fmt: skip
    assert built(tmp_path, "emnist", emnist_split="letters").sizes()["test"] == 20
    assert set(found) == {"gzip.zip"}


# ------------------------------------------------------------------------------- with known checksums


def cifar10(root: Path, monkeypatch) -> np.ndarray:
    """A small CIFAR-10 and its checksums; returns its test images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng, sums = np.random.default_rng(0), {}
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        pixels = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10)) * 2}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    kind = datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [[name, sums[name]] for name in ("data_batch_1", "data_batch_2")])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["batches.meta"]})
    return pixels


def test_cifar10_is_read_in_colour(tmp_path, monkeypatch, asked):
    pixels = cifar10(tmp_path, monkeypatch)
    split = built(tmp_path, "cifar10")
    assert split.sizes() == {"train": 30, "val": 10, "test": 20}
    np.testing.assert_array_equal(split.test.pixels, pixels.reshape(-1, 3, 32, 32))
    assert not asked


@pytest.mark.parametrize("name", ["data_batch_2", "test_batch", "batches.meta"])
@pytest.mark.parametrize("data", [b"<html>", b"", pickle.dumps(zoo.Payload())], ids=["page", "empty", "payload"])
def test_a_changed_pickle_of_cifar10_is_named_and_never_loaded(tmp_path, monkeypatch, asked, name, data):
    monkeypatch.chdir(tmp_path)
    cifar10(tmp_path, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / name
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"MD5.*downloaded again, from https://") as caught:
        built(tmp_path, "cifar10")
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == data
    assert not (tmp_path / "canary").exists()
    assert not asked


def test_svhn_is_read_and_a_changed_file_named(tmp_path, monkeypatch, asked):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8)
    split_list = {}
    for part in ("train", "test"):
        path = tmp_path / f"{part}_32x32.mat"
        scipy.io.savemat(path, {"X": pixels, "y": np.arange(30)[:, None] % 10 + 1})
        split_list[part] = [f"http://x.org/{path.name}", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)
    split = built(tmp_path, "svhn")
    np.testing.assert_array_equal(split.test.pixels, pixels.transpose(3, 2, 0, 1))
    assert split.test.labels.tolist() == [*range(1, 10), 0] * 3
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="MD5") as caught:
        built(tmp_path, "svhn")
    assert str(caught.value).startswith(str(path))
    assert not asked
    content = (tmp_path / "train_32x32.mat").read_bytes()
    path.unlink()
    split_list["test"][2] = split_list["train"][2]
    assert serve(monkeypatch, {path.name: content}) == []
    assert built(tmp_path, "svhn").sizes()["test"] == 30
    assert path.read_bytes() == content
