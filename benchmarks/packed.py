"""Rows 10 and 11: all test images of a run as one file of bits, and out of it again in another process."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from aectl import storage
from aectl.runs.opening import open_data, open_run

Call = Callable[[Sequence[str]], None]


def measured(run_dir: Path, call: Call) -> dict[str, Any]:
    """What the file takes, header and first bits included, in bits for each value, and the seconds by the clock.

    It ends where an image does not come back to the last bit. What was measured once is read again.
    """
    file, folder = run_dir.with_name(f"{run_dir.name}-test.aec"), run_dir.with_name(f"{run_dir.name}-decoded")
    kept = run_dir.with_name(f"{run_dir.name}-packed.json")
    if kept.is_file():
        return json.loads(kept.read_text())
    seconds = {}
    for name, words in (
        ("encode", [f"output={file}", "labels=false"]), ("decode", [f"input={file}", f"output={folder}"])
    ):  # fmt: skip
        began = time.perf_counter()
        call([name, f"run={run_dir}", *words, "overwrite=true"])
        seconds[f"{name}_seconds"] = round(time.perf_counter() - began, 1)
    images = open_data(open_run(str(run_dir), "best", torch.device("cpu")), None).test.pixels.numpy()
    for index, image in enumerate(images):
        with Image.open(folder / f"test{index:05d}.png") as decoded:
            if not np.array_equal(np.asarray(decoded), image[0]):
                raise SystemExit(f"{folder}: image {index} is not what went in")
    size = file.stat().st_size
    found = {"file_bytes": size, "file_bits_per_dim": 8 * size / images.size, **seconds}
    storage.replace(kept, storage.dump_json(found))
    return found
