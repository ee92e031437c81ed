"""Make folders of pairs from photographs that come with packages: clean pictures, and noisy ones of the same scenes.

    python benchmarks/pairs.py <folder>

docs/pairs.md has what was trained on them. `clean/`, `noisy_a/` and `noisy_b/` hold the same names, and in each
`train/`, `val/` and `test/` are of different photographs, cut into squares: scikit-learn's two, and some of those in
scikit-image's package (pip install 'aectl[bench]'). The noise is that of a sensor, photons and then electronics:
Poisson(x·PEAK)/PEAK + SIGMA·n, clipped to [0, 1] and kept as 8 bits; a and b have it independently. It is drawn from
the name of the picture, so that each run of this script writes the same pixels.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image

SIDE = 128
PEAK = 50  # photons of a white value
SIGMA = 0.05  # standard deviation of the electronics
PARTS = {
    "train": ["china.jpg", "flower.jpg", "astronaut.png", "ihc.png", "rocket.jpg"],
    "val": ["motorcycle_left.png"],
    "test": ["chelsea.png", "coffee.png"],
}
FOLDERS = (Path(sklearn.__file__).parent / "datasets/images", Path(skimage.__file__).parent / "data")


def squares(photograph: Path) -> dict[str, np.ndarray]:
    """The whole squares of a photograph by name, (SIDE, SIDE, 3), uint8."""
    with Image.open(photograph) as file:
        values = np.asarray(file.convert("RGB"))
    places = np.ndindex(values.shape[0] // SIDE, values.shape[1] // SIDE)
    return {
        f"{photograph.stem}_{row}_{column}.png": values[row * SIDE :, column * SIDE :][:SIDE, :SIDE]
        for row, column in places
    }


def noisy(values: np.ndarray, *key: str) -> np.ndarray:
    """The picture as a sensor would see it; the same for the same key."""
    rng = np.random.default_rng([zlib.crc32(word.encode()) for word in key])
    x = values / 255
    found = rng.poisson(x * PEAK) / PEAK + SIGMA * rng.standard_normal(x.shape)
    return np.rint(255 * found.clip(0, 1)).astype(np.uint8)


def write(path: Path, values: np.ndarray) -> None:
    """One PNG, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def main() -> None:
    """Write all three folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for part, photographs in PARTS.items():
        count = 0
        for photograph in photographs:
            place = next(place / photograph for place in FOLDERS if (place / photograph).is_file())
            for name, values in squares(place).items():
                write(folder / "clean" / part / name, values)
                for kind in ("noisy_a", "noisy_b"):
                    write(folder / kind / part / name, noisy(values, kind, name))
                count += 1
        print(f"{part}: {count} scenes")


if __name__ == "__main__":
    main()
