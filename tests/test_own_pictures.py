"""A folder of mixed and partly broken pictures of many sizes through every command; AECTL_PICTURES says how many."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import zoo
from PIL import Image

COUNT = int(os.environ.get("AECTL_PICTURES", "60"))
FAST = ("epochs=1", "figures_every=0", "threads=1", "device=cpu")
# Mode, suffix: what cameras, scanners and programs write.
KINDS = (
    ("RGB", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "gif"), ("RGB", "webp"), ("1", "bmp"), ("LA", "png"),
    ("I;16", "png"), ("F", "tif"), ("CMYK", "jpg"), ("RGB", "tiff"), ("I;16", "tif"), ("L", "jpeg"), ("P", "png"),
)  # fmt: skip


def scene(number: int) -> np.ndarray:
    """A picture of its own, (H, W, 4), float in [0, 1]: a slope of colours, a disc, a bar and a little noise."""
    rng = np.random.default_rng(number)
    height, width = (rng.integers(300, 700, 2) if number % 40 == 7 else rng.integers(9, 120, 2)).tolist()
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    a, b, c = rng.random((3, 4))
    picture = a * y[..., None] + b * x[..., None]
    centre = rng.random(2)
    picture = np.where(np.hypot(y - centre[0], x - centre[1])[..., None] < 0.3, c, picture / 2)
    picture[: height // 4] = 1 - picture[: height // 4]
    picture += 0.02 * rng.standard_normal(picture.shape)
    return picture.clip(0, 1)


def save(number: int, root: Path) -> str:
    """One of the pictures as a file of its kind; its name below `root`."""
    mode, suffix = KINDS[number % len(KINDS)]
    values = scene(number)
    if mode in ("I;16", "F"):
        deep = values[..., 0]
        image = Image.fromarray((deep * 65535).astype(np.uint16) if mode == "I;16" else deep.astype(np.float32))
    else:
        image = Image.fromarray((values * 255).astype(np.uint8), "RGBA")
        image = image if mode == "RGBA" else image.convert("RGB" if mode in ("P", "CMYK") else mode).convert(mode)
    name = f"{('cats', 'dogs', 'birds/small')[number % 3]}/{number // len(KINDS):04d} {number % 7}.{suffix}"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name)
    return name


@pytest.fixture
def folder(tmp_path) -> Path:
    """The pictures, and one of every kind of strange file."""
    for number in range(COUNT):
        save(number, tmp_path / "in")
    for number, kind in enumerate(zoo.KINDS):
        (tmp_path / f"in/strange/{number:02d}").mkdir(parents=True)
        zoo.make(kind, tmp_path / f"in/strange/{number:02d}")
    return tmp_path / "in"


def test_a_mixed_folder_goes_through_every_command(aectl, folder, tmp_path):
    train = ("train", "dataset=folder", "dataset.root=in", "dataset.size=[24,32]", "network=conv", *FAST)
    refused = aectl(*train)
    assert refused.status == 3
    assert "cannot be used, as listed above" in refused.err
    assert len(refused.err.splitlines()) == 1

    done = aectl(*train, "dataset.fit=crop", "dataset.on_bad=skip", "model=vae", "hydra.run.dir=vae")
    assert done.status == 0, done.err
    (bad_rows,) = [list(csv.reader(path.open(errors="surrogateescape"))) for path in tmp_path.glob("vae/bad_*.csv")]
    bad = {row[0] for row in bad_rows[1:]}
    assert bad, "some of the strange ones are broken"
    assert all(name.startswith("strange/") for name in bad), "and none of the others"
    assert aectl("eval", "run=vae").status == 0
    assert aectl("sample", "run=vae", "n=9").status == 0

    done = aectl("encode", "run=vae", "input=in", "output=codes.csv", "on_bad=skip")
    assert done.status == 0, done.err
    names = [row[0] for row in csv.reader((tmp_path / "codes.csv").open(errors="surrogateescape", newline=""))][1:]
    assert not bad & set(names)
    assert sum(not name.startswith("strange/") for name in names) == COUNT
    done = aectl("decode", "run=vae", "input=codes.csv", "output=decoded")
    assert done.status == 0, done.err
    assert sum(path.is_file() for path in (tmp_path / "decoded").rglob("*")) == len(names)

    done = aectl(*train, "dataset.fit=pad", "dataset.on_bad=skip", "model=dae", "hydra.run.dir=dae")
    assert done.status == 0, done.err
    assert aectl("denoise", "run=dae").status == 0
    done = aectl("denoise", "run=dae", "input=in", "output=cleaned", "on_bad=skip")
    assert done.status == 0, done.err
    for name in names:
        with Image.open(folder / name) as before, Image.open(tmp_path / "cleaned" / name) as after:
            turned = before.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            assert after.size == (before.size[::-1] if turned else before.size), name
            assert after.mode == before.mode or before.mode in ("PA", "RGB"), name
            assert after.format == before.format.replace("MPO", "JPEG"), name
