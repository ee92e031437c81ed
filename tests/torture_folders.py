"""A suite of `torture.py`: commands that write folders or files, killed at random moments and repeated until done."""

import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import filelock  # noqa: F401  (imported here once, not in each child)
import numpy as np
from torture import MODELS, SMALL, child, ended, wait

from aectl.cli.composing import composed
from aectl.commands.table import COMMANDS
from aectl.files.pictures import png
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.logistic import Logistic256
from aectl.training import loop

PICTURES = 40
MOST = 12  # kills of one command; the one after them is left alone
DOCUMENTED = (0, 2, 3, 4, 5, 6, 7, 130, 143, -signal.SIGKILL)


def material(folder: Path) -> None:
    """Pictures, their references, one that cannot be used, and two runs."""
    rng = np.random.default_rng(0)
    for index in range(PICTURES):
        picture = rng.integers(0, 256, (24 + index % 3, 31), dtype=np.uint8)
        for place, values in (("in", picture), ("clean", picture // 2)):
            path = folder / place / f"{'ab'[index % 2]}/{index:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png.of_image(values[None]))
        (folder / f"in/a/{PICTURES}.png").write_bytes(b"no picture")
        (folder / f"clean/a/{PICTURES}.png").write_bytes(b"no picture")
    loop.train(MODELS["dae"], folder / "dae")
    loop.train(replace(SMALL, model=Vae(posterior="logvar"), likelihood=Logistic256(components=1)), folder / "vae")


def works(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Each work's command and what it is given; those that read what others write come after them."""
    pictures = [f"input={folder}/in", "on_bad=skip"]
    dae, vae = [f"run={folder}/dae", "threads=1"], [f"run={folder}/vae", "threads=1"]
    made = {
        "denoise": ("denoise", [*dae, *pictures], ""),
        "denoise with references": ("denoise", [*dae, *pictures, f"reference={folder}/clean"], ""),
        "denoise with noise": ("denoise", [*dae, *pictures, "noise=gaussian", "noise.sigma=0.2"], ""),
        "encode to npz": ("encode", [*vae, *pictures], "/codes.npz"),
        "encode to csv": ("encode", [*vae, *pictures, "sample=true"], "/codes.csv"),
        "encode to bits": ("encode", [*vae, *pictures], "/pictures.aec"),
        "decode": ("decode", [*vae, f"input={folder}/made/encode to npz/codes.npz"], ""),
        "decode bits": ("decode", [*vae, f"input={folder}/made/encode to bits/pictures.aec"], ""),
        "score": ("score", [*vae, *pictures], "/scores.csv"),
        "explore": ("explore", vae, "/page.html"),
        "export": ("export", [*vae, "format=safetensors"], "/it"),
    }
    return {
        name: (command, [*given, f"output='{folder}/made/{name}{place}'"])
        for name, (command, given, place) in made.items()
    }


def files_below(place: Path) -> dict[str, bytes]:
    """The bytes of every file by its name."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def folders(count: int, seed: int) -> dict[str, int]:
    """SIGKILL commands that write folders or files at random moments until `count` have died; repeat each until done.

    Its end must be that of one which nobody disturbed, to the byte and without a file more.
    """
    rng = random.Random(seed)
    found = {"kills": 0, "works": 0, "gone_on": 0, "different": 0, "leftovers": 0, "failed": 0, "tracebacks": 0}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        material(folder)
        expected, longest, work = {}, {}, {}
        for name, (command, given) in works(folder).items():
            settings, (_, function) = composed(command, *given), COMMANDS[command].load()
            work[name] = lambda function=function, settings=settings: function(settings, folder / "own")
            (folder / "own").mkdir(exist_ok=True)
            began = time.perf_counter()
            assert wait(child(work[name])) == 0, name
            longest[name], expected[name] = time.perf_counter() - began, files_below(folder / "made" / name)
        names = list(work)
        while found["kills"] < count:
            name = names[found["works"] % len(names)]
            shutil.rmtree(folder / "made" / name)
            made = {}
            for attempt in range(MOST + 1):
                pid, status = child(work[name]), None
                moment = time.perf_counter() + (rng.uniform(0, longest[name]) if attempt < MOST else 600)
                while status is None and time.perf_counter() < moment:
                    time.sleep(0.001)
                    status = ended(pid)
                if status is None:
                    os.kill(pid, signal.SIGKILL)
                    status = wait(pid)
                found["kills"] += status == -signal.SIGKILL
                found["tracebacks"] += status not in DOCUMENTED
                found["gone_on"] += bool(made) and status == 0
                made = files_below(folder / "made" / name)
                # One that was killed when all was done has nothing to go on with.
                if status != -signal.SIGKILL or made == expected[name]:
                    found["failed"] += status not in (0, -signal.SIGKILL)
                    break
            found["works"] += 1
            found["leftovers"] += len(made.keys() - expected[name].keys())
            found["different"] += made != expected[name]
    return found
