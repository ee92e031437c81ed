"""Pairs: the noisy picture of each scene is a known function of the clean one, mostly 255 − x: any shift shows."""

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from albums import own, png, put, zipped
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from aectl.data.images import Pair, Split
from aectl.data.split import build_dataset
from aectl.errors import ConfigError, DataError

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AECTL_CACHE", str(tmp_path / "cache"))


def scenes(count: int = 20, size: tuple[int, int] | None = None, colours: tuple[int, ...] = (3,)) -> list[np.ndarray]:
    """Random pictures, 12 pixels high, of several widths, or of one size."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, ((size or (12, 16 + i)) + colours), dtype=np.uint8) for i in range(count)]


def pairs(root: Path, pictures: list[np.ndarray]) -> tuple[Path, Path]:
    """Folders of clean pictures and of their negatives."""
    clean = put(root / "clean", {f"{i:02d}.png": png(values) for i, values in enumerate(pictures)})
    noisy = put(root / "noisy", {f"{i:02d}.png": png(255 - values) for i, values in enumerate(pictures)})
    return clean, noisy


def bytes_of(x: torch.Tensor) -> torch.Tensor:
    return (x * 255).round().int()


@pytest.mark.parametrize("memory_gb", [4, 0], ids=["in memory", "mapped"])
@pytest.mark.parametrize(("fit", "size"), [("crop", [12, 10]), ("pad", [12, 40]), ("resize", [9, 7]), ("patches", 8)])
def test_both_pictures_of_a_pair_are_cut_in_the_same_place(tmp_path, fit, size, memory_gb):
    clean, noisy = pairs(tmp_path, scenes())
    settings = {"fit": fit, "size": size, "patches": 3}
    split = build_dataset(own(clean, noisy=str(noisy), **settings), None, fresh=True, memory_gb=memory_gb)
    alone, negatives = (
        build_dataset(own(root, **settings), None, fresh=True, memory_gb=memory_gb) for root in (clean, noisy)
    )
    assert split.sizes() == alone.sizes() == negatives.sizes()
    assert fit == "patches" or (split.train.rows is not None) == (memory_gb == 0)
    index, rng = torch.arange(len(split.train)), torch.Generator()

    def shown(of: Split, seed: int = 0) -> list[Pair]:
        """What is trained on, validated and tested."""
        return [of.train.batch(index, rng.manual_seed(seed)), of.val.on(CPU), of.test.on(CPU)]

    for (x, seen), (clean_x, same), (noisy_x, _) in zip(shown(split), shown(alone), shown(negatives), strict=True):
        assert same is clean_x
        assert x.shape == seen.shape == (len(x), *split.train.shape)
        assert torch.equal(x, clean_x)
        assert torch.equal(seen, noisy_x)
        if fit in ("crop", "patches"):  # neither fills up nor rounds
            assert (bytes_of(x) + bytes_of(seen) == 255).all()
    again, _ = shown(split, 1)[0]
    assert torch.equal(again, shown(split)[0][0]) == (fit != "patches"), "patches are new each time"
    assert torch.equal(split.train.mean(), alone.train.mean())
    assert torch.equal(split.test.pixels, alone.test.pixels)
    few, of_few = split.val.spread(2), alone.val.spread(2)
    assert few.paired
    assert torch.equal(few.on(CPU)[0], of_few.on(CPU)[0])


def test_pairs_of_zips_with_other_suffixes_and_labels_by_folder(tmp_path):
    pictures = scenes(12, (6, 5), ())
    names = [f"{'cats' if i % 2 else 'dogs'}/{i:02d}" for i in range(12)]
    files = {f"{name}.png": png(values) for name, values in zip(names, pictures, strict=True)}
    clean = zipped(tmp_path / "clean.zip", files)
    noisy = tmp_path / "noisy"
    for name, values in zip(names, pictures, strict=True):
        (noisy / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 - values).save(noisy / f"{name}.bmp")
    split = build_dataset(own(clean, noisy=str(noisy), val_size=2, test_size=2), None)
    assert split.notes[0].startswith(f"12 pairs, the clean pictures in {clean}, the noisy ones in {noisy}; labels by")
    assert split.notes[1] == "paired though their suffixes differ: 12, such as cats/01.png with cats/01.bmp"
    assert [row[2] for row in split.manifest["test"]] == [f"{row[0][:-4]}.bmp" for row in split.manifest["test"]]
    x, seen = split.train.on(CPU)
    assert (bytes_of(x) + bytes_of(seen) == 255).all()
    assert split.train.labels.bincount().tolist() == [4, 4]


def test_one_colour_picture_of_either_kind_makes_the_set_colour(tmp_path):
    grey = scenes(10, (6, 5), ())
    clean, noisy = pairs(tmp_path, grey)
    (noisy / "03.png").write_bytes(png(np.repeat(255 - grey[3][:, :, None], 3, 2)))
    split = build_dataset(own(clean, noisy=str(noisy), val_size=0, test_size=0), None)
    assert split.train.shape == (3, 6, 5)
    x, seen = split.train.on(CPU)
    assert (bytes_of(x) + bytes_of(seen) == 255).all()


@pytest.mark.parametrize("size", [None, 8])
def test_a_pair_that_is_none_is_listed_and_stops_or_is_left_out(tmp_path, caplog, size):
    clean, noisy = pairs(tmp_path, scenes(15, (12, 16)))
    (noisy / "00.png").unlink()
    (clean / "01.png").unlink()
    (noisy / "02.png").write_bytes(png(np.zeros((12, 17, 3), np.uint8)))
    (noisy / "03.png").write_bytes(b"no picture")
    (clean / "04.png").write_bytes(b"no picture")
    for suffix in ("bmp", "tif"):
        shutil.copy(noisy / "05.png", noisy / f"05.{suffix}")
    (noisy / "05.png").unlink()
    config = own(clean, noisy=str(noisy), size=size)
    with pytest.raises(DataError, match=rf"dataset.root={clean}: 8 of 17 pictures cannot be used, as listed above"):
        build_dataset(config, None)
    assert len(caplog.messages) == 8
    split = build_dataset(own(clean, noisy=str(noisy), size=size, on_bad="skip"), None)
    assert split.sizes() == {"train": 7, "val": 1, "test": 1}
    reasons = dict(split.bad)
    assert len(reasons) == len(split.bad) == 8
    assert reasons["00.png"] == f"has no noisy picture in dataset.noisy={noisy}: none has its name"
    assert reasons["01.png"] == f"is in dataset.noisy={noisy}, and dataset.root={clean} has no picture for it"
    assert reasons["02.png"] == "is 16×12, and its noisy picture 17×12"
    assert reasons["03.png"].startswith("its noisy picture ")
    assert not reasons["04.png"].startswith("its noisy picture ")
    assert reasons["05.png"].endswith("which is its is not clear: 05.png, 05.bmp, 05.tif")
    assert {"05.bmp", "05.tif"} < set(reasons)
    for part in (split.train, split.val, split.test):
        x, seen = part.on(CPU)
        assert (bytes_of(x) + bytes_of(seen) - 255).abs().max() <= (size is not None)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_that_share_a_picture_are_in_one_part(tmp_path, seed):
    """Several takes of one scene, one noisy picture of several scenes, and such a chain; folders swapped as well."""
    pictures = [png(values) for values in scenes(40, (3, 4), ())]
    takes = {f"scene{i // 3:02d}_{i % 3}": (pictures[i // 3], pictures[10 + i]) for i in range(15)}
    chain = {f"chain{i}": (pictures[30 + i // 2], pictures[33 + (i + 1) // 2]) for i in range(5)}
    swapped = {"one": (pictures[37], pictures[38]), "other": (pictures[38], pictures[37])}
    flat = [png(np.full((3, 4), i, np.uint8)) for i in range(40)]
    others = {f"other{i}": (flat[i], flat[20 + i]) for i in range(20)}
    for name, both in (takes | chain | swapped | others).items():
        for folder, data in zip(("clean", "noisy"), both, strict=True):
            put(tmp_path / folder, {f"{name}.png": data})
    config = own(tmp_path / "clean", noisy=str(tmp_path / "noisy"), split_seed=seed, val_size=10, test_size=12)
    split = build_dataset(config, None)
    found = [{digest for row in rows for digest in row[1::2]} for rows in split.manifest.values()]
    assert sum(map(len, found)) == len(set.union(*found))
    assert sum(split.sizes().values()) == 15 + 5 + 2 + 20
    assert all(split.sizes().values())
    part = {row[0]: name for name, rows in split.manifest.items() for row in rows}
    assert len({part[f"chain{i}.png"] for i in range(5)}) == 1


def test_parts_by_folder_leave_out_scenes_that_are_measured(tmp_path):
    pictures = [png(values) for values in scenes(30, (3, 4), ())]
    for i in range(9):
        part = "train" if i < 6 else "test"
        clean = pictures[7] if i == 2 else pictures[i]  # another take of a scene of the test part
        put(tmp_path, {f"clean/{part}/{i}.png": clean, f"noisy/{part}/{i}.png": pictures[10 + i]})
    split = build_dataset(own(tmp_path / "clean", noisy=str(tmp_path / "noisy"), val_size=1), None)
    assert split.sizes() == {"train": 4, "val": 1, "test": 3}
    assert "train/2.png" not in {row[0] for rows in split.manifest.values() for row in rows}


def test_the_cache_goes_by_the_content_of_both(tmp_path, caplog):
    clean, noisy = pairs(tmp_path, scenes(10, (12, 16)))
    first = build_dataset(own(clean, noisy=str(noisy)), None)
    caches = {path.name for path in (tmp_path / "cache").iterdir()}
    shutil.copytree(noisy, tmp_path / "copy")
    again = build_dataset(own(clean, noisy=str(tmp_path / "copy")), None)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == caches
    assert again.manifest == first.manifest
    (tmp_path / "copy/03.png").write_bytes(png(np.zeros((12, 16, 3), np.uint8)))
    changed = build_dataset(own(clean, noisy=str(tmp_path / "copy"), val_size=0, test_size=0), None)
    assert (changed.train.on(CPU)[1].amax((1, 2, 3)) == 0).sum() == 1
    assert not caplog.messages
    place = next((tmp_path / "cache").glob("*/pixels.bin"))
    place.write_bytes(place.read_bytes()[:-1])
    build_dataset(own(clean, noisy=str(tmp_path / "copy")), None)
    build_dataset(own(clean, noisy=str(noisy)), None)
    assert ["is a damaged cache" in line for line in caplog.messages] == [True]


def test_the_noisy_pictures_stay_where_they_were_if_they_have_not_moved_along(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs(tmp_path, scenes(10, (3, 4)))
    shutil.copytree("clean", "far/clean")
    split = build_dataset(own("clean", noisy="noisy"), "far/clean")
    assert split.notes[0].startswith("10 pairs, the clean pictures in far/clean, the noisy ones in noisy;")
    shutil.copytree("noisy", "far/noisy")
    split = build_dataset(own("clean", noisy="noisy"), "far/clean")
    assert split.notes[0].startswith("10 pairs, the clean pictures in far/clean, the noisy ones in far/noisy;")


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"noisy": "clean"}, "dataset.noisy=clean: is dataset.root itself"),
     ({"noisy": "nowhere"}, "dataset.noisy=nowhere: no such folder"),
     ({"noisy": "empty"}, "dataset.noisy=empty: has no pictures"),
     ({"noisy": "noisy", "binarize": "threshold"}, "dataset.binarize=threshold: with dataset.noisy pictures")],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(tmp_path, monkeypatch, settings, says):
    pairs(tmp_path, scenes(3))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, DataError)) as refused:
        build_dataset(own("clean", **settings), None)
    assert str(refused.value).startswith(says)


# ------------------------------------------------------------------------------------- the commands

TRAIN = ["train", "dataset=folder", "dataset.root=clean", "dataset.noisy=noisy", "noise=none", "epochs=1",
         "figures_every=0", "threads=1"]  # fmt: skip
UNET = ["network=unet", "network.channels=[4,6]", "likelihood.sigma=1"]


def held_out(root: Path, run: Path, part: str = "test") -> list[tuple[np.ndarray, np.ndarray]]:
    """The pairs of a part, as split.json names them, read by Pillow."""
    rows = json.loads((run / "split.json").read_text())["parts"][part]
    return [
        (np.asarray(Image.open(root / "clean" / row[0])), np.asarray(Image.open(root / "noisy" / row[2])))
        for row in rows
    ]


def metrics(path: Path) -> dict:
    return json.loads((path / "metrics.json").read_text())


@pytest.mark.pictures
def test_training_eval_and_denoise_see_the_given_pictures(aectl, tmp_path, drawn):
    """A U-net adds nothing to what it sees before its first step, and hardly anything where steps are tiny."""
    rng = np.random.default_rng(1)
    pictures = scenes(20, (12, 16))
    _, noisy = pairs(tmp_path, pictures)
    for i, values in enumerate(pictures):
        near = np.clip(values + rng.normal(0, 10 + i, values.shape), 0, 255).astype(np.uint8)
        (noisy / f"{i:02d}.png").write_bytes(png(near))
    done = aectl(*TRAIN, *UNET, "lr=1e-12", "hydra.run.dir=run")
    assert done.status == 0, done.err
    assert "20 pairs, the clean pictures in clean, the noisy ones in noisy" in done.out
    assert "unet dae" in done.out
    assert "aectl denoise run=run" in done.out
    (shown, _), *_ = drawn.rows
    (expected, given), *_ = held_out(tmp_path, tmp_path / "run", "val")
    assert list(shown) == ["original", "noisy", "denoised"]
    np.testing.assert_array_equal(bytes_of(shown["original"][0]).permute(1, 2, 0), expected)
    np.testing.assert_array_equal(bytes_of(shown["noisy"][0]).permute(1, 2, 0), given)

    record = json.loads((tmp_path / "run/metrics.jsonl").read_text())
    for part in ("train", "val"):
        errors = [np.square(x / 255 - y / 255).sum() for x, y in held_out(tmp_path, tmp_path / "run", part)]
        recon = np.mean(errors) / 2 + 12 * 16 * 3 * math.log(2 * math.pi) / 2
        assert record[f"{part}/recon"] == pytest.approx(recon, rel=1e-5)

    both = held_out(tmp_path, tmp_path / "run")
    before = np.mean([peak_signal_noise_ratio(x, y, data_range=255) for x, y in both])
    start = "run=run/checkpoints/step-00000000"
    for command in ("denoise", "eval"):
        done = aectl(command, start, f"hydra.run.dir={command}")
        assert done.status == 0, done.err
        assert metrics(tmp_path / command)["psnr_noisy"] == pytest.approx(before, abs=1e-4)
        assert metrics(tmp_path / command)["psnr_denoised"] == pytest.approx(before, abs=1e-4)
    assert "2 test images, given noisy pictures" in aectl("denoise", start).out


def test_a_run_on_pairs_resumes_exactly_and_keeps_its_split_where_both_folders_move(aectl, tmp_path):
    pairs(tmp_path, scenes(20, (16, 16)))
    line = [*TRAIN, *UNET, "noise=none", "dataset.fit=patches", "dataset.size=8", "dataset.patches=3", "batch_size=5"]
    assert aectl(*line, "epochs=2", "hydra.run.dir=whole").status == 0
    assert aectl(*line, "epochs=1", "hydra.run.dir=half").status == 0
    (tmp_path / "far").mkdir()
    for name in ("clean", "noisy"):
        (tmp_path / name).rename(tmp_path / "far" / name)
    put(tmp_path / "far", {f"{name}/new.png": png(np.zeros((16, 16, 3), np.uint8)) for name in ("clean", "noisy")})
    done = aectl("train", "resume=half", "epochs=2", "data.root=far/clean")
    assert done.status == 0, done.err
    assert "the parts are those of the run's split.json; in none of them: 1" in done.out
    weights = [
        (sorted((tmp_path / name / "checkpoints").glob("step-*"))[-1] / "model.safetensors").read_bytes()
        for name in ("whole", "half")
    ]
    assert weights[0] == weights[1]
    (changed, *_), *_ = json.loads((tmp_path / "half/split.json").read_text())["parts"]["test"]
    (tmp_path / "far/noisy" / changed).write_bytes(png(np.zeros((16, 16, 3), np.uint8)))
    lost = aectl("eval", "run=half", "data.root=far/clean")
    assert lost.status == 3
    assert f"1 of the run's pictures are not there any more, or have changed, the first is {changed}" in lost.err


def test_what_does_not_go_with_pairs_is_refused_and_what_was_left_out_is_written_down(aectl, tmp_path):
    _, noisy = pairs(tmp_path, scenes(20, (12, 16)))
    refused = aectl(*TRAIN, "noise=gaussian")
    assert refused.status == 2
    assert "noise=gaussian: dataset.noisy has the noisy pictures; set noise=none" in refused.err
    (noisy / "07.png").unlink()
    assert aectl(*TRAIN).status == 3
    done = aectl(*TRAIN, "model=vae", "network.hidden=[8]", "dataset.on_bad=skip")
    assert done.status == 0, done.err
    (run,) = (path for path in (tmp_path / "outputs/train").iterdir() if (path / "result.json").exists())
    assert "_denoising-vae-latent2-" in run.name
    rows = list(csv.reader((run / "bad_pictures.csv").read_text().splitlines()))
    assert [row[0] for row in rows] == ["file", "07.png"]
    assert aectl("eval", f"run={run}", "hydra.run.dir=eval").status == 0
    assert {"psnr_noisy", "psnr_denoised"} < set(metrics(tmp_path / "eval"))
