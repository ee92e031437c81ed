import csv
import hashlib
import io
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import zoo
from albums import GREY, bmp, many, own, png, put, zipped
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from aectl.data.datasets.array import Array
from aectl.data.images import Images
from aectl.data.split import build_dataset
from aectl.drawing import plots
from aectl.errors import ConfigError, DataError
from aectl.files import digests
from aectl.files.listing import Entry
from aectl.files.pictures import decoding, fitting
from aectl.measuring import evaluation, figures

pytestmark = pytest.mark.usefixtures("without_pictures")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))


# ---------------------------------------------------------------------------------------- decoding


def test_sixteen_bits_keep_their_range():
    deep = np.array([[0, 1, 256, 32768, 65535]], dtype=np.uint16)
    picture = decoding.decode(png(deep))
    np.testing.assert_allclose(picture.floats()[0], deep / 65535, atol=1e-7)
    assert fitting.to_8_bits(picture.values).tolist() == [[[0, 0, 1, 128, 255]]]


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation, kind):
    image = Image.fromarray(np.repeat(np.arange(0, 240, 30, dtype=np.uint8)[:, None], 24, 1).repeat(2, 0))
    exif = Image.Exif()
    exif[decoding.ORIENTATION] = orientation
    buffer = io.BytesIO()
    image.save(buffer, kind, exif=exif)
    turn = {1: [], 2: [np.fliplr], 3: [np.rot90, np.rot90], 4: [np.flipud], 5: [np.transpose],
            6: [np.rot90] * 3, 7: [np.transpose, np.rot90, np.rot90], 8: [np.rot90]}[orientation]  # fmt: skip
    expected = np.asarray(image)
    for step in turn:
        expected = step(expected)
    found = decoding.decode(buffer.getvalue())
    np.testing.assert_array_equal(found.values[0], expected)
    assert decoding.header(buffer.getvalue()) == (False, expected.shape)


def test_alpha_is_kept_and_lies_over_the_background_in_training_data():
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[..., 0], rgba[0, :, 3], rgba[1, 0, 3] = 200, 255, 128
    picture = decoding.decode(png(rgba))
    assert picture.alpha.tolist() == [[255, 255], [128, 0]]
    black, white = (fitting.with_channels(picture, 3, background) for background in (0, 255))
    assert black[0].tolist() == [[200, 200], [100, 0]]
    assert white[1].tolist() == [[0, 0], [127, 255]]
    assert fitting.with_channels(picture, 1, 0).shape == (1, 2, 2)


def test_a_palette_and_its_transparent_colour_are_resolved():
    image = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=1)
    picture = decoding.decode(buffer.getvalue())
    assert picture.values[:, 0, 0].tolist() == [10, 20, 30]
    assert picture.alpha.tolist() == [[255, 0]]


# ----------------------------------------------------------------------------------------- fitting


@pytest.mark.parametrize("shape", [(10, 20), (20, 10), (1, 30), (8, 8), (31, 7)])
@pytest.mark.parametrize("fit", ["resize", "crop", "pad"])
def test_every_policy_gives_the_size(shape, fit):
    values = np.full((3, *shape), 77, dtype=np.uint8)
    found = fitting.fitted(values, (8, 12), fit, 255)
    assert found.shape == (3, 8, 12)
    assert set(np.unique(found)) <= ({77, 255} if fit == "pad" else {77})


def test_crop_takes_the_middle_and_pad_keeps_everything():
    values = np.zeros((1, 4, 12), dtype=np.uint8)
    values[:, :, 4:8] = 200
    assert (fitting.fitted(values, (4, 4), "crop", 0) == 200).all()
    padded = fitting.fitted(values, (12, 12), "pad", 9)
    np.testing.assert_array_equal(padded[:, 4:8], values)
    assert (padded[:, :4] == 9).all()
    assert (padded[:, 8:] == 9).all()


# ------------------------------------------------------------------------------------- the data set


def test_a_folder_gives_images_labels_and_a_stratified_split(tmp_path):
    split = build_dataset(own(many(tmp_path / "in")), None)
    assert split.sizes() == {"train": 32, "val": 4, "test": 4}
    assert split.train.shape == (1, 12, 16)
    assert split.val.labels.tolist() == [0, 0, 1, 1]
    names = {name for part in split.manifest.values() for name, _ in part}
    assert names == {str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*.png")}
    (name, _), *_ = split.manifest["test"]
    np.testing.assert_array_equal(split.test.pixels[0, 0], np.roll(GREY, int(Path(name).stem)))


def test_a_zip_is_as_good_as_its_folder(tmp_path):
    many(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in (tmp_path / "in").rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path / "in"))
    one, other = (build_dataset(own(tmp_path / name), None) for name in ("in", "in.zip"))
    assert torch.equal(one.train.pixels, other.train.pixels)
    assert one.manifest == other.manifest


def test_flat_folders_have_no_labels_and_hidden_files_are_passed_over(tmp_path):
    many(tmp_path, labels=("flat",))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/a.png").write_bytes(b"x")
    (tmp_path / "flat/.a.png").write_bytes(b"x")
    assert build_dataset(own(tmp_path / "flat"), None).train.labels is None


def test_the_cache_is_used_and_follows_content_and_settings(tmp_path, monkeypatch):
    many(tmp_path / "in")
    first = build_dataset(own(tmp_path / "in"), None)
    monkeypatch.setattr(decoding, "decode", None)  # a second decoding would fail
    assert torch.equal(build_dataset(own(tmp_path / "in"), None).train.pixels, first.train.pixels)
    with pytest.raises(TypeError):
        build_dataset(own(tmp_path / "in", size=8), None)
    (tmp_path / "in/cats/000.png").write_bytes(png(np.zeros((12, 16), np.uint8)))
    with pytest.raises(TypeError):
        build_dataset(own(tmp_path / "in"), None)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".tmp")]


def test_the_cache_goes_by_content_and_reads_only_what_may_have_changed(tmp_path, monkeypatch):
    many(tmp_path / "in")
    for path in (tmp_path / "in").rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    first = build_dataset(own(tmp_path / "in"), None)
    monkeypatch.setattr(decoding, "decode", None)  # a second decoding would fail
    shutil.copytree(tmp_path / "in", tmp_path / "moved", copy_function=shutil.copyfile)  # other times, same content
    assert torch.equal(build_dataset(own(tmp_path / "moved"), None).train.pixels, first.train.pixels)

    read = Mock(wraps=Entry.read)
    monkeypatch.setattr(Entry, "read", lambda entry: read(entry))
    build_dataset(own(tmp_path / "in"), None)
    assert read.call_count == 0
    os.utime(tmp_path / "in/cats/000.png")
    build_dataset(own(tmp_path / "in"), None)
    build_dataset(own(tmp_path / "in"), None)  # just written: it might change again without another time
    assert [call.args[0].name for call in read.call_args_list] == ["cats/000.png"] * 2


def test_a_picture_that_changes_between_hashing_and_decoding_is_not_used(tmp_path, monkeypatch):
    many(tmp_path / "in")
    monkeypatch.setattr(digests, "hashes", lambda entries, memory: ["0" * 64 for _ in entries])
    with pytest.raises(DataError, match="cannot be used"):
        build_dataset(own(tmp_path / "in"), None)


def test_beyond_the_budget_pixels_are_mapped_and_the_same(tmp_path):
    many(tmp_path / "in")
    kept, mapped = (build_dataset(own(tmp_path / "in"), None, memory_gb=gb) for gb in (4, 0))
    assert mapped.train.rows is not None
    assert mapped.train.stored.data_ptr() == mapped.test.stored.data_ptr()
    for part in ("train", "val", "test"):
        a, b = getattr(kept, part), getattr(mapped, part)
        assert torch.equal(a.pixels, b.pixels)
        assert torch.equal(a.mean(), b.mean())
        index, rng = torch.tensor([2, 0]), torch.Generator()
        assert torch.equal(a.batch(index, rng)[0], b.batch(index, rng)[0])
        assert torch.equal(a.spread(3).pixels, b.spread(3).pixels)


# ------------------------------------------------------------------------------------------- parts


def parts_of(split) -> dict[str, set[str]]:
    return {name: {picture for picture, _ in rows} for name, rows in split.manifest.items()}


def grey(count: int, folder: str, first: int = 0) -> dict[str, bytes]:
    """Pictures of different content in a folder."""
    return {f"{folder}/{i:02d}.bmp": bmp(i) for i in range(first, first + count)}


def test_official_parts_are_taken_and_what_is_missing_is_drawn_from_training(tmp_path):
    training = grey(10, "train/a") | grey(10, "train/b", 10)
    put(tmp_path, training | grey(3, "test/a", 50) | grey(2, "other", 60))
    split = build_dataset(own(tmp_path), None)
    parts = parts_of(split)
    assert parts["test"] == set(grey(3, "test/a", 50))
    assert len(parts["val"]) == 2
    assert parts["val"] | parts["train"] == set(training)
    assert split.train.labels.bincount().tolist() == [9, 9]
    assert split.test.labels.tolist() == [0, 0, 0]

    put(tmp_path, grey(4, "valid/b", 70))
    parts = parts_of(build_dataset(own(tmp_path), None))
    assert (parts["train"], parts["val"]) == (set(training), set(grey(4, "valid/b", 70)))
    for key in ("val_size", "test_size"):
        with pytest.raises(ConfigError, match=f"dataset.{key}=null"):
            build_dataset(own(tmp_path, **{key: 1}), None)


def test_a_part_whose_pictures_are_all_unusable_is_said(tmp_path):
    put(tmp_path, grey(20, "train/a") | {"test/a/0.bmp": b"no picture", "test/a/1.bmp": b""})
    split = build_dataset(own(tmp_path, on_bad="skip"), None)
    line = "of the folder test no picture can be used: that part is drawn from the others"
    assert line in split.notes
    assert split.sizes() == {"train": 16, "val": 2, "test": 2}
    put(tmp_path, grey(1, "test/a", 50))
    assert line not in build_dataset(own(tmp_path, on_bad="skip"), None).notes


def test_an_official_test_picture_is_not_trained_on_where_training_has_it_too(tmp_path):
    put(tmp_path, grey(10, "train") | grey(4, "test", 8) | grey(4, "val", 6))
    split = build_dataset(own(tmp_path), None)
    assert split.sizes() == {"train": 6, "val": 2, "test": 4}
    assert "left out, since an official part for measuring has the same: 6 pictures" in split.notes


@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val", "test")])
def test_nothing_to_train_on_is_one_line(tmp_path, parts):
    for part in parts:
        put(tmp_path, grey(8, part))
    with pytest.raises(DataError, match="has no picture to train on beside the parts val and test"):
        build_dataset(own(tmp_path), None)


@pytest.mark.parametrize("labels", [("cats", "dogs"), ("all",)])
@pytest.mark.parametrize("seed", range(5))
def test_equal_files_are_in_one_part(tmp_path, seed, labels):
    """Pairs and triples among 60 files, some of them in two classes."""
    greys = [*range(20), *range(20), *range(10), *range(100, 110)]
    files = {f"{labels[i % len(labels)]}/{i:02d}.bmp": bmp(value) for i, value in enumerate(greys)}
    put(tmp_path, files)
    split = build_dataset(own(tmp_path, split_seed=seed, val_size=7, test_size=10), None)
    found = [{digest for _, digest in rows} for rows in split.manifest.values()]
    assert sum(map(len, found)) == len(set.union(*found)) == 30
    sizes = split.sizes()
    assert sum(sizes.values()) == 60
    assert 8 <= sizes["test"] <= 10
    assert 5 <= sizes["val"] <= 7
    assert "equal to others, and drawn together with them: 30 pictures" in split.notes


def test_a_set_of_pairs_has_a_test_part(tmp_path):
    put(tmp_path, grey(8, "a") | grey(8, "b"))
    split = build_dataset(own(tmp_path, test_size=1, val_size=1), None)
    assert split.sizes() == {"train": 12, "val": 2, "test": 2}
    put(tmp_path / "same", {f"{i}.bmp": bmp(1) for i in range(9)})
    with pytest.raises(DataError, match="no training image is left"):
        build_dataset(own(tmp_path / "same"), None)


def test_a_split_that_0_1_0_saved_is_taken_again(tmp_path):
    """Its folders train and test were labels, and its equal files lie in several parts."""
    greys = [i // 4 if i < 12 else i for i in range(24)]
    names = [f"{'train' if i % 2 else 'test'}/{'cats' if i % 3 else 'dogs'}/{i:02d}.bmp" for i in range(24)]
    put(tmp_path, {name: bmp(value) for name, value in zip(names, greys, strict=True)})
    test, val = ["test/dogs/06.bmp", "train/dogs/15.bmp"], ["test/cats/22.bmp", "train/cats/05.bmp"]
    saved = {"train": sorted(set(names) - {*test, *val}), "test": test, "val": val}
    hashes = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in names}
    manifest = {part: [[name, hashes[name]] for name in rows] for part, rows in saved.items()}
    split = build_dataset(own(tmp_path), None, manifest=manifest)
    assert split.manifest == manifest
    for part, rows in saved.items():
        assert getattr(split, part).pixels[:, 0, 0, 0].tolist() == [greys[names.index(name)] for name in rows]


def test_pictures_without_a_label_are_left_out_of_what_codes_know_of_labels(monkeypatch):
    rng = np.random.default_rng(0)
    codes, labels = rng.normal(size=(60, 2)), rng.choice([-1, -1, -1, 0, 1, 2], 60)
    codes[labels >= 0, 0] += 9 * labels[labels >= 0]
    codes[labels < 0, 0] = 9 * rng.integers(0, 3, (labels < 0).sum())  # they would mislead
    train, test = (Images(torch.zeros(30, 1, 1, 1), torch.from_numpy(part)) for part in (labels[:30], labels[30:]))
    of = {id(train): torch.from_numpy(codes[:30]).float()}
    monkeypatch.setattr(evaluation, "codes_of", lambda model, images, device: of[id(images)])
    subject = Mock(data=Mock(train=train), images=test, scores=Mock(codes=torch.from_numpy(codes[30:]).float()))
    known, asked = labels[:30] >= 0, labels[30:] >= 0
    found = figures.values(evaluation.codes(subject))
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    for name, model in (("knn_accuracy", KNeighborsClassifier(5)), ("linear_probe_accuracy", probe)):
        model.fit(codes[:30][known], labels[:30][known])
        assert found[name] == model.score(codes[30:][asked], labels[30:][asked]), name
    subject.images = replace(test, labels=torch.full((30,), -1))
    assert evaluation.codes(subject) == []


def test_pictures_without_a_label_are_grey_in_the_plane_of_codes():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    def colours(labels: list[int]) -> set[tuple[int, ...]]:
        shown = plots.scatter(points, torch.tensor(labels), "", ("", ""))
        return {tuple(pixel) for pixel in shown.reshape(-1, shown.shape[-1]).tolist() if len(set(pixel)) > 1}

    assert colours([-1, -1, -1]) == set(), "nothing but greys"
    assert colours([-1, 0, 0])


def test_the_start_of_a_run_says_what_was_found(aectl, tmp_path):
    files = grey(10, "set/train/cats") | grey(10, "set/train/dogs", 20) | grey(4, "set/test/dogs", 40)
    zipped(tmp_path / "in.zip", files | {"cover.bmp": bmp(99), "notes.txt": b""} | grey(1, "set/train", 60))
    done = aectl("train", "dataset=folder", "dataset.root=in.zip", *TINY, "hydra.run.dir=run")
    assert done.status == 0, done.err
    assert (
        "26 pictures in in.zip; parts by folder: train 21, test 4; in none of them and left out: 1, such as "
        "cover.bmp; labels by folder: 0 cats (10), 1 dogs (14); outside of these folders, without a label: 1, "
        "such as set/train/60.bmp" in done.out
    )
    assert "passed over: .txt 1" in done.out
    assert "19 train, 2 val, 4 test" in done.out
    saved = json.loads((tmp_path / "run/split.json").read_text())["parts"]
    assert {name for name, _ in saved["test"]} == set(grey(4, "set/test/dogs", 40))
    assert aectl("eval", "run=run").status == 0


def test_several_sizes_need_a_policy(tmp_path):
    many(tmp_path)
    (tmp_path / "cats/wide.png").write_bytes(png(np.zeros((5, 50), np.uint8)))
    with pytest.raises(DataError, match=r"2 sizes .40 are 16×12, cats.wide.png is not.*dataset.fit"):
        build_dataset(own(tmp_path), None)
    split = build_dataset(own(tmp_path, size=[6, 9], fit="pad"), None)
    assert split.train.shape == (1, 6, 9)


def test_one_colour_picture_makes_the_set_colour_unless_told(tmp_path):
    many(tmp_path)
    (tmp_path / "cats/c.png").write_bytes(png(np.zeros((12, 16, 3), np.uint8)))
    assert build_dataset(own(tmp_path), None).train.shape == (3, 12, 16)
    assert build_dataset(own(tmp_path, channels=1), None).train.shape == (1, 12, 16)


@pytest.mark.parametrize("kind", zoo.KINDS)
def test_no_picture_crashes_a_data_set(tmp_path, kind):
    many(tmp_path / "in", 12)
    (tmp_path / "in/cats/strange").mkdir()
    zoo.make(kind, tmp_path / "in/cats/strange")
    split = build_dataset(own(tmp_path / "in", size=8, on_bad="skip"), None)
    assert sum(split.sizes().values()) in (12, 13)
    assert sum(split.sizes().values()) + len(split.bad) <= 14
    for _, reason in split.bad:
        assert reason


# ----------------------------------------------------------------------------------------- patches


def photographs(root: Path) -> Path:
    """Pictures of several sizes whose every pixel says which picture and which row it is of."""
    root.mkdir()
    for i in range(20):
        array = np.empty((20 + i, 30, 3), np.uint8)
        array[..., 0], array[..., 1], array[..., 2] = i, np.arange(20 + i)[:, None], np.arange(30)
        (root / f"{i:02d}.png").write_bytes(png(array))
    return root


def test_patches_are_crops_fresh_in_training_and_fixed_elsewhere(tmp_path):
    config = own(photographs(tmp_path / "in"), fit="patches", size=[8, 10], patches=5)
    split, again = (build_dataset(config, None, fresh=True) for _ in range(2))
    assert split.sizes() == {"train": 80, "val": 10, "test": 10}
    assert split.train.shape == (3, 8, 10)
    index = torch.arange(80)
    first, second = (split.train.batch(index, torch.Generator().manual_seed(seed))[0] for seed in (0, 1))
    assert torch.equal(first, again.train.batch(index, torch.Generator().manual_seed(0))[0])
    assert not torch.equal(first, second)
    assert torch.equal(split.val.pixels, again.val.pixels)
    pixels = (first * 255).round().long()
    assert (pixels[:, 0] == pixels[:, 0, :1, :1]).all(), "each is of one picture"
    assert (pixels[:, 1].diff(dim=1) == 1).all(), "rows follow each other"
    assert (pixels[:, 2].diff(dim=2) == 1).all()
    assert len(pixels[:, 1, 0, 0].unique()) > 5
    assert pixels[:, 2, 0, 0].max() == 20, "the last place is reached"
    train, test = ({name for name, _ in split.manifest[part]} for part in ("train", "test"))
    assert len(train) == 16
    assert not train & test
    assert set(split.test.pixels[:, 0].unique().tolist()) == {int(Path(name).stem) for name in test}


def test_patches_need_no_validation_part(tmp_path):
    split = build_dataset(own(photographs(tmp_path / "in"), fit="patches", size=8, val_size=0), None)
    assert split.sizes() == {"train": 288, "val": 0, "test": 32}


def test_patches_train_resume_exactly_and_are_evaluated(aectl, tmp_path):
    photographs(tmp_path / "in")
    (tmp_path / "in/small.png").write_bytes(png(np.zeros((5, 50, 3), np.uint8)))
    arguments = ["dataset=folder", "dataset.root=in", "dataset.fit=patches", "dataset.size=8", *TINY,
                 "network=unet", "network.channels=[4,6]"]  # fmt: skip
    arguments = [argument for argument in arguments if not argument.startswith("network.hidden")]
    refused = aectl("train", *arguments)
    assert refused.status == 3
    assert "smaller than a patch of 8×8" in refused.out
    arguments.append("dataset.on_bad=skip")
    assert aectl("train", *arguments, "epochs=2", "hydra.run.dir=whole").status == 0
    assert aectl("train", *arguments, "hydra.run.dir=half").status == 0
    assert aectl("train", "resume=half", "epochs=2").status == 0
    one, other = (
        (sorted((tmp_path / name / "checkpoints").glob("step-*"))[-1] / "model.safetensors").read_bytes()
        for name in ("whole", "half")
    )
    assert one == other
    assert aectl("eval", "run=whole").status == 0


# ------------------------------------------------------------------------------------- the commands

TINY = ("network.hidden=[8]", "epochs=1", "figures_every=0", "threads=1")


def test_bad_files_are_listed_and_stop_or_are_skipped_and_written_down(aectl, only_run, tmp_path):
    many(tmp_path / "in")
    (tmp_path / "in/cats/empty.png").write_bytes(b"")
    (tmp_path / "in/dogs/cut.png").write_bytes(png(GREY)[:50])
    stopped = aectl("train", "dataset=folder", "dataset.root=in", *TINY)
    assert stopped.status == 3
    assert "2 of 42 pictures cannot be used" in stopped.err
    assert "dataset.on_bad=skip" in stopped.err
    assert "cats/empty.png: " in stopped.out
    assert "dogs/cut.png: " in stopped.out
    assert aectl("train", "dataset=folder", "dataset.root=in", "dataset.on_bad=skip", *TINY).status == 0
    rows = list(csv.reader((only_run() / "bad_pictures.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["file", "cats/empty.png", "dogs/cut.png"]
    assert len(json.loads((only_run() / "split.json").read_text())["parts"]["train"]) == 32


def test_a_run_keeps_its_split_though_pictures_come_and_move(aectl, tmp_path, monkeypatch):
    many(tmp_path / "in")
    assert aectl("train", "dataset=folder", "dataset.root=in", *TINY, "hydra.run.dir=run").status == 0
    assert aectl("eval", "run=run", "hydra.run.dir=before").status == 0
    for i in range(5):
        (tmp_path / f"in/cats/new{i}.png").write_bytes(png(np.roll(GREY, 50 + i)))
    (tmp_path / "in").rename(tmp_path / "moved")
    lost = aectl("eval", "run=run")
    assert lost.status == 3
    assert aectl("eval", "run=run", "data.root=moved", "hydra.run.dir=after").status == 0
    monkeypatch.setenv("AECTL_TEST_MOVED", "moved")
    assert aectl("eval", "run=run", "data.root=${oc.env:AECTL_TEST_MOVED}").status == 0
    before, after = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("before", "after"))
    assert (before["loss"], before["images"]) == (after["loss"], after["images"])
    next((tmp_path / "moved/cats").glob("0*.png")).unlink()
    gone = aectl("eval", "run=run", "data.root=moved")
    assert gone.status == 3
    assert "not there any more" in gone.err


def test_a_checkpoint_by_its_folder_keeps_the_runs_split_and_is_said_to_be_chosen_so(aectl, tmp_path):
    many(tmp_path / "in")
    assert aectl("train", "dataset=folder", "dataset.root=in", *TINY, "hydra.run.dir=run").status == 0
    (tmp_path / "in/cats/new.png").write_bytes(png(np.roll(GREY, 50)))
    for name, run in (("best", "run"), ("first", "run/checkpoints/step-00000000")):
        assert aectl("eval", f"run={run}", f"hydra.run.dir={name}").status == 0
    best, first = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("best", "first"))
    assert best["sizes"] == first["sizes"] == {"train": 32, "val": 4, "test": 4}
    assert best["epoch_chosen_by"] == "the validation objective"
    assert first["epoch_chosen_by"] == "the command line"


@pytest.mark.parametrize("value", ["dataset.channels=1.0", "dataset.channels=true", "dataset.size=[8,8,8]",
                                   "dataset.size=8.0", "dataset.patches=null", "dataset.fit=stretch"])  # fmt: skip
def test_settings_of_a_folder_are_checked_before_it_is_opened(aectl, value):
    refused = aectl("train", "dataset=folder", "dataset.root=nowhere", value)
    assert refused.status == 2
    assert value.partition("=")[0] in refused.err


@pytest.mark.parametrize(
    ("array", "shape"),
    [(np.zeros((30, 5, 7), np.uint8), (1, 5, 7)), (np.zeros((30, 5, 7, 3), np.uint8), (3, 5, 7)),
     (np.zeros((30, 3, 5, 7), np.float32), (3, 5, 7)), (np.ones((30, 5, 7), np.float64), (1, 5, 7))],
)  # fmt: skip
def test_arrays_of_every_layout(tmp_path, array, shape):
    np.save(tmp_path / "a.npy", array)
    split = build_dataset(Array(val_size=None, test_size=None, root=str(tmp_path / "a.npy")), None)
    assert split.train.shape == shape
    assert split.sizes() == {"train": 24, "val": 3, "test": 3}
    assert split.train.pixels.max() == 255 * array.max()


def test_labels_of_an_npz_are_kept(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((30, 5, 7), np.uint8), labels=np.arange(30) % 3)
    split = build_dataset(Array(val_size=6, test_size=None, root=str(tmp_path / "a.npz")), None)
    assert split.val.labels.bincount().tolist() == [2, 2, 2]


def test_arrays_that_are_none_are_refused(tmp_path):
    objects = np.empty(3, dtype=object)
    objects[:] = [zoo.Payload()] * 3
    np.save(tmp_path / "pickled.npy", objects, allow_pickle=True)
    np.save(tmp_path / "floats.npy", np.full((4, 5, 5), 3.0))
    np.save(tmp_path / "ints.npy", np.zeros((4, 5, 5), int))
    np.save(tmp_path / "flat.npy", np.zeros(5, np.uint8))
    np.savez(tmp_path / "other.npz", pictures=np.zeros((4, 5, 5), np.uint8))
    (tmp_path / "text.npy").write_text("hello")
    for name in ("pickled.npy", "floats.npy", "ints.npy", "flat.npy", "other.npz", "text.npy", "none.npy"):
        with pytest.raises(DataError, match=name):
            build_dataset(Array(val_size=None, test_size=None, root=str(tmp_path / name)), None)
    assert not Path("canary").exists()
