"""Commands that get too little memory, and small files that would take very much: the suite `torture.py memory`.

Every command is a real process that may have only so many bytes of addresses (`ulimit -v`), from what its imports
take upward. Each must end with 0, or with 2 or 7 and one line; the checkpoints that it leaves must be whole.
"""

import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

MIB = 2**20
STEPS = (8, 96, 224, 352, 640)  # MiB beside what the imports take
LONGEST = 240  # seconds, after which a command is taken to hang; two run side by side, perhaps on a busy machine
# What a small file may take that would become very much: CPU seconds, and MiB at the peak.
SECONDS, PEAK = 30, 1200
SPARE = 300  # MiB beside what the same images take that are not packed
IMPORTS = """
import hydra, hydra._internal.hydra, tensorboard.compat.proto.summary_pb2, torch.utils.tensorboard
import aectl.cli.main, aectl.training.loop, aectl.commands.table
for one in aectl.commands.table.COMMANDS.values():
    one.load()
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmPeak")))
"""
SMALL = ("experiment=smoke", "device=cpu", "threads=1")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its status (None: it hung), what it said on stderr, CPU seconds, MiB at the peak."""

    status: int | None
    said: str
    seconds: float
    peak: float

    @property
    def complaints(self) -> list[str]:
        """Lines that begin as ours do."""
        return [line for line in self.said.splitlines() if line.startswith("aectl: ")]

    @property
    def others(self) -> list[str]:
        """Lines on stderr that no command of ours writes: of libraries, or of a traceback."""
        return [
            line for line in self.said.splitlines() if line.strip() and not line.startswith(("aectl: ", "note: "))
        ]


def run(folder: Path, args: Sequence[str], limit: int | None = None) -> Ended:
    """`aectl` with these arguments, in `folder`, with at most `limit` bytes of addresses."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    env = {**os.environ, "AECTL_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "aectl", *args], cwd=folder, env=env, preexec_fn=limited,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        until = time.monotonic() + LONGEST
        while True:
            pid, status, used = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                process.kill()
                _, _, used = os.wait4(process.pid, 0)
                status = None
                break
            time.sleep(0.02)
        process.returncode = 0  # it has been waited for
        said.seek(0)
        words = said.read().decode(errors="replace")
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return Ended(code, words, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def pictures(folder: Path, count: int = 24, side: int = 48) -> None:
    """Grey pictures that differ."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8)).save(folder / f"{index:03d}.png")


def commands(place: Path) -> dict[str, list[str]]:
    """What is tried, by its name; `place` has a run, pictures and codes. What each writes goes below {out}."""
    one = [f"run={place / 'run'}", "threads=1", "device=cpu"]
    out, given = "output={out}", f"input={place / 'pictures'}"
    wide = ("network=conv", "batch_size=128", "epochs=1", "explore=false")
    folder = (
        "dataset=folder",
        f"dataset.root={place / 'pictures'}",
        "dataset.size=48",
        "epochs=1",
        "figures_every=0",
    )
    here = "hydra.run.dir={out}"
    return {
        "train": ["train", *SMALL, "explore=false", "figures_every=1", here],
        "train wide": ["train", *SMALL, *wide, "network.channels=[64,128]", here],
        "train iwae": ["train", *SMALL, "model=iwae", "objective.samples=300", "figures_every=0", here],
        "train folder": ["train", *folder, "device=cpu", "threads=1", "figures_every=0", here],
        "resume": ["train", "resume={out}", "epochs=4"],
        "eval": ["eval", *one, "nll_samples=20", here],
        "sample": ["sample", *one, "n=1000", here],
        "explore": ["explore", *one, "output={out}.html"],
        "encode": ["encode", *one, given, "output={out}.npz"],
        "encode bits": ["encode", f"run={place / 'binary'}", "threads=1", "output={out}.aec"],
        "decode": ["decode", *one, f"input={place / 'codes.npz'}", out],
        "denoise": ["denoise", *one, given, out],
        "score": ["score", *one, given, "output={out}.csv"],
        "export": ["export", f"run={place / 'run'}", "threads=1", "format=safetensors", out],
    }


def made(place: Path) -> None:
    """A run, pictures and codes, made with as much memory as it takes."""
    pictures(place / "pictures")
    begun = run(place, ["train", *SMALL, "explore=false", "figures_every=0", f"hydra.run.dir={place / 'run'}"])
    binary = ("dataset.binarize=threshold", "explore=false", "figures_every=0", f"hydra.run.dir={place / 'binary'}")
    assert run(place, ["train", *SMALL, *binary]).status == 0
    coded = run(place, ["encode", f"run={place / 'run'}", f"input={place / 'pictures'}", "output=codes.npz"])
    assert (begun.status, coded.status) == (0, 0), begun.said + coded.said


def ladder() -> int:
    """Bytes of addresses that the imports take."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True, env=env)
    return int(found.stdout.split()[-1]) * 1024


WRONG = ("tracebacks", "undocumented", "misnamed", "lines", "hung")


def limits(
    place: Path, steps: Sequence[int] = STEPS, only: Sequence[str] = (), *, tell: bool = False
) -> dict[str, int]:
    """Each command under each limit, two at a time; counts."""
    import torture

    least = ladder()
    found = dict.fromkeys(("commands", "done", "refused", *WRONG, "torn"), 0)
    jobs = [
        (f"{name} + {step} MiB", name, args, least + step * MIB)
        for step in steps
        for name, args in commands(place).items()
        if not only or name in only
    ]

    def one(number: int) -> tuple[int, Ended, int]:
        _, name, args, limit = jobs[number]
        out = place / f"out-{number}"
        if name == "resume":
            shutil.copytree(place / "run", out)
        ended = run(place, [arg.replace("{out}", str(out)) for arg in args], limit)
        torn = torture.torn(out) if (out / "checkpoints").is_dir() else 0
        for path in place.glob(f"out-{number}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return number, ended, torn

    with ThreadPoolExecutor(2) as pool:
        for number, ended, torn in pool.map(one, range(len(jobs))):
            bad = {
                "tracebacks": "Traceback" in ended.said or "Fatal Python error" in ended.said,
                "undocumented": ended.status is not None and ended.status not in (0, 2, 3, 4, 5, 6, 7),
                "misnamed": ended.status in (3, 4, 5, 6),
                "lines": ended.status not in (0, None) and (len(ended.complaints) != 1 or bool(ended.others)),
                "hung": ended.status is None,
                "torn": torn > 0,
            }
            found["commands"] += 1
            found["done"] += ended.status == 0
            found["refused"] += ended.status in (2, 7)
            for name, is_so in bad.items():
                found[name] += is_so
            if tell and any(bad.values()):
                which = [name for name, is_so in bad.items() if is_so]
                print(
                    f"{jobs[number][0]}: {which}, exit {ended.status}\n{ended.said[:1500]}",
                    file=sys.stderr,
                    flush=True,
                )
    return found


# ------------------------------------------------------------------------------------------- bombs


def zip_of_zeros(path: Path, members: int = 4, size: int = 500 * MIB) -> None:
    """A zip of some MB whose members, called pictures, are `size` zeros each."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        zeros = bytes(MIB)
        for index in range(members):
            info = zipfile.ZipInfo(f"{index}.png")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                for _ in range(size // MIB):
                    file.write(zeros)


def arrays_of_zeros(path: Path, **arrays: tuple[tuple[int, ...], str]) -> None:
    """An .npz whose arrays, by name a shape and a type, are zeros."""
    zeros = bytes(MIB)
    with zipfile.ZipFile(path, "w") as archive:
        for name, (shape, kind) in arrays.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": kind, "fortran_order": False, "shape": shape})
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as file:
                file.write(header.getvalue())
                left = int(np.prod(shape)) * np.dtype(kind).itemsize
                while left:
                    file.write(zeros[: min(left, MIB)])
                    left -= min(left, MIB)


def codes_that_repeat(path: Path, rows: int = 9_000_000) -> None:
    """A .parquet of some hundred kB with millions of equal codes."""
    import pyarrow
    import pyarrow.parquet

    names = pyarrow.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["a.png"])
    zeros = np.zeros(rows, np.float32)
    pyarrow.parquet.write_table(pyarrow.table({"name": names, "z1": zeros, "z2": zeros}), path, compression="zstd")


def names_that_count(path: Path, rows: int = 9_000_000) -> None:
    """As `codes_that_repeat`, but every name is another, told by its difference from the one before."""
    import pyarrow
    import pyarrow.parquet

    names = pyarrow.array([f"{index:08d}" for index in range(rows)])
    zeros = np.zeros(rows, np.float32)
    pyarrow.parquet.write_table(
        pyarrow.table({"name": names, "z1": zeros, "z2": zeros}), path, compression="zstd", use_dictionary=False,
        column_encoding={"name": "DELTA_BYTE_ARRAY"},
    )  # fmt: skip


def bombs(place: Path, *, tell: bool = False) -> dict[str, float]:
    """Small files that would become very much, through every command that reads such: how often one took it."""
    zip_of_zeros(place / "bomb.zip")
    arrays_of_zeros(place / "bomb.npz", images=((500_000, 28, 28, 1), "<f8"))
    arrays_of_zeros(place / "images.npz", images=((60_000, 224, 224), "|u1"))
    arrays_of_zeros(place / "floats.npz", images=((2_000, 224, 224), "<f8"))
    arrays_of_zeros(place / "codes_bomb.npz", names=((5_000_000,), "<U64"), codes=((5_000_000, 2), "<f4"))
    codes_that_repeat(place / "equal.parquet")
    names_that_count(place / "counting.parquet")
    (place / "wide").mkdir()
    Image.new("1", (40_000, 40_000)).save(place / "wide" / "a.png")
    one = [f"run={place / 'run'}", "threads=1", "device=cpu"]
    train = [
        "train",
        "network.hidden=[8]",
        "figures_every=0",
        "explore=false",
        "device=cpu",
        "threads=1",
        "hydra.run.dir={out}",
    ]
    lines = []
    for name in ("bomb.zip", "wide"):
        lines.append([*train, "dataset=folder", f"dataset.root={place / name}", "dataset.size=28"])
    for name in ("bomb.npz", "images.npz", "floats.npz"):
        lines.append([*train, "dataset=array", f"dataset.root={place / name}", "epochs=1"])
    for name in ("bomb.zip", "wide", "bomb.npz", "images.npz"):
        lines.append(["encode", *one, f"input={place / name}", "output={out}.npz"])
        lines.append(["score", *one, f"input={place / name}", "output={out}.csv"])
    for name in ("bomb.zip", "wide"):
        lines.append(["denoise", *one, f"input={place / name}", "output={out}"])
    for name in ("codes_bomb.npz", "equal.parquet", "counting.parquet"):
        lines.append(["decode", *one, f"input={place / name}", "output={out}"])
    # The one that is small enough to be trained on: what a network and its pictures take is not the file's doing.
    np.save(place / "usual.npy", np.zeros((2_000, 224, 224), np.uint8))
    usual = [*train, "dataset=array", f"dataset.root={place / 'usual.npy'}", "epochs=1"]
    room = {str(place / "floats.npz"): run(place, [arg.replace("{out}", str(place / "usual")) for arg in usual]).peak}
    found: dict[str, float] = {"bombs": 0, "went off": 0, "most seconds": 0.0, "most MiB": 0.0}
    for number, args in enumerate(lines):
        most = next((room[name] + SPARE for name in room if any(arg.endswith(name) for arg in args)), PEAK)
        ended = run(place, [arg.replace("{out}", str(place / f"bomb-{number}")) for arg in args])
        found["bombs"] += 1
        is_bad = ended.status not in (0, 3, 7) or len(ended.complaints) != (ended.status != 0)
        is_bad = is_bad or ended.seconds > SECONDS or ended.peak > most
        found["went off"] += is_bad
        found["most seconds"] = max(found["most seconds"], round(ended.seconds, 1))
        found["most MiB"] = max(found["most MiB"], round(ended.peak))
        if tell:
            words = " ".join(args[:1] + [Path(arg).name for arg in args if "input=" in arg or "root=" in arg])
            print(f"{words}: exit {ended.status}, {ended.seconds:.1f} s, {ended.peak:.0f} MiB\n  {ended.said[-300:]}",
                  file=sys.stderr, flush=True)  # fmt: skip
    return found


def suite() -> dict[str, float]:
    """Both, in a folder of their own; `failed` counts what must not have happened."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made(place)
        found = {**limits(place, tell=True), **bombs(place, tell=False)}
    return {**found, "failed": sum(found[name] for name in (*WRONG, "went off"))}
