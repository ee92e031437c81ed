"""Runs that were not made here, and every command over them under an audit hook: what they read, write and open.

A stranger's run names places outside of it in its configuration, or has links in the place of its files and folders.
All that they lead to are canaries: nothing there may be listed, opened, made or changed, and no socket made.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from conftest import clean_process
from PIL import Image

import aectl as package
from aectl.cli import main, messages
from aectl.data.datasets.synthetic import Synthetic
from aectl.models.autoencoder import Ae, Vae
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout
from aectl.training import loop
from configs import train_config

ROOT = Path(__file__).resolve().parent.parent
SIDE = 28
DOCUMENTED = (0, 2, 3, 4, 5, 6, 7)

# ------------------------------------------------------------------------------------------- what happens

# What torch keeps of its compiler, wherever that is when it is first imported.
TORCHS = os.path.join(tempfile.gettempdir(), "torchinductor_")  # noqa: PTH118 (the beginning of a name)
FOLLOWS = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.truncate", "os.chmod", "os.chdir", "os.utime")
NAMES = ("os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree", "shutil.move")
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.Request")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass
class Seen:
    """What has happened while the hook was armed, in words."""

    connections: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.connections, *self.folders, *self.reads, *self.writes]


_seen: Seen | None = None
_inside: Callable[[str], bool] = bool
_busy = False


def _watch(event: str, args: tuple) -> None:
    global _busy
    if _seen is None or _busy:
        return
    _busy = True
    try:
        _note(event, args)
    finally:
        _busy = False


def _note(event: str, args: tuple) -> None:
    if event == "subprocess.Popen" and args[0] == "uname":  # Python's own platform module
        return
    if (event.startswith("socket.") and event != "socket.gethostname") or event.startswith(STARTS):
        _seen.connections.append(f"{event} {args!r:.200}")
        return
    if event not in FOLLOWS and event not in NAMES:
        return
    if event == "os.symlink":  # whose first name is a text
        args = args[1:2]
    for path in args[:2] if event in NAMES else args[:1]:
        if not isinstance(path, str | bytes | os.PathLike):
            continue
        typed = Path.cwd() / os.fsdecode(path)
        # What takes a name away, or gives it, follows links to its folder alone.
        full = os.path.realpath(typed) if event in FOLLOWS else f"{os.path.realpath(typed.parent)}/{typed.name}"
        if _inside(full):
            continue
        line = f"{event} {full}"
        if event == "os.mkdir":
            _seen.folders.append(line)
        elif event in NAMES or (event == "open" and _writes(args)):
            _seen.writes.append(line)
        else:
            _seen.reads.append(line)


def _writes(args: tuple) -> bool:
    mode, flags = args[1], args[2]
    if isinstance(mode, str):
        return bool(set("wax+") & set(mode))
    return isinstance(flags, int) and bool(flags & WRITES)


sys.addaudithook(_watch)


@contextlib.contextmanager
def watched(inside: Callable[[str], bool]) -> Iterator[Seen]:
    """What happens in the block at paths that `inside` does not take, and to sockets."""
    global _seen, _inside
    found = Seen()
    _inside, _seen = inside, found
    try:
        yield found
    finally:
        _seen = None


# ------------------------------------------------------------------------------------------- the place


@dataclass
class Ended:
    """How a command ended: its status, what it printed, and what it did elsewhere."""

    status: int
    out: str
    err: str
    seen: Seen
    changed: bool

    @property
    def clean(self) -> bool:
        """Whether it ended as documented, in one line if it failed."""
        said = [line for line in self.err.splitlines() if line.startswith("aectl: ")]
        whole = "Traceback" not in self.out + self.err and self.status in DOCUMENTED
        return whole and (self.status == 0 or len(said) == 1)


class Place:
    """A folder with a person's working folder, home and key, a stranger's runs, and canaries elsewhere."""

    def __init__(self, base: Path):
        self.base = base.resolve()
        self.work, self.home, self.elsewhere = (self.base / name for name in ("work", "home", "elsewhere"))
        self.pictures = self.base / "given"  # what the command line names
        for folder in (self.work, self.home, self.elsewhere, self.pictures, self.base / "keys"):
            folder.mkdir()
        (self.base / "tmp").mkdir()
        self._fill(self.elsewhere)
        self._fill(self.home)
        _draw(self.pictures / "clean", 12)
        _draw(self.pictures / "noisy", 12)
        self.made = {"vae": self._made("vae", model=Vae(posterior="logvar")), "ae": self._made("ae", model=Ae())}
        self.number = 0

    def _fill(self, folder: Path) -> None:
        for name in ("clean", "noisy", "secret"):
            _draw(folder / name, 12)
        np.save(folder / "images.npy", np.full((12, SIDE, SIDE), 9, np.uint8))
        for name in ("canary", "canary.json", "canary.log"):
            (folder / name).write_text('{"canary": 1}\n')
        (folder / "folder").mkdir()
        (folder / "folder/canary").write_text("sings\n")

    def _made(self, name: str, **changes: Any) -> Path:
        config = train_config(
            dataset=Synthetic(val_size=8, test_size=8, synthetic_size=40, synthetic_shape=[1, SIDE, SIDE]),
            network=Mlp(hidden=[4]), epochs=1, latent=2, batch_size=64, device="cpu", threads=1, figures_every=0,
            **changes,
        )  # fmt: skip
        with self.environment("theirs"):
            loop.train(config, self.base / f"made/{name}")
        (self.base / f"made/{name}/train.log").write_text("began\n")
        return self.base / f"made/{name}"

    @contextlib.contextmanager
    def environment(self, key: str = "mine") -> Iterator[None]:
        """As the person works, with that key."""
        own = {
            "HOME": str(self.home), "AECTL_KEY": str(self.base / "keys" / key),
            "AECTL_CACHE": str(self.base / "cache"), "TMPDIR": str(self.base / "tmp"),
        }  # fmt: skip
        before, here, argv, temporary = dict(os.environ), Path.cwd(), sys.argv, tempfile.tempdir
        for name in ("AECTL_DATA", "XDG_CACHE_HOME", "XDG_STATE_HOME", "AECTL_STAMP", "AECTL_UNIQUE"):
            os.environ.pop(name, None)
        os.environ.update(own)
        tempfile.tempdir = own["TMPDIR"]
        os.chdir(self.work)
        try:
            with clean_process():
                yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)
            sys.argv, tempfile.tempdir = argv, temporary

    # --------------------------------------------------------------------------------- strangers' runs

    def copied(self, kind: str = "vae") -> Path:
        """A new copy of a run that somebody else has made."""
        self.number += 1
        return shutil.copytree(self.made[kind], self.base / f"stranger/{self.number}", symlinks=True)

    def naming(self, dataset: dict[str, Any], root: str | None = None, kind: str = "vae") -> Path:
        """One whose configuration has this data set and this data.root."""
        run = self.copied(kind)

        def edit(train: dict[str, Any]) -> None:
            train["dataset"] = dataset
            train["data"]["root"] = root

        return edited(run, edit)

    def sweep(self, runs: list[Path]) -> Path:
        """A sweep whose jobs are these runs."""
        self.number += 1
        folder = self.base / f"stranger/sweep{self.number}"
        for number, run in enumerate(runs):
            shutil.copytree(run, folder / str(number), symlinks=True)
        return folder

    # --------------------------------------------------------------------------------- commands

    def inside(self, path: str) -> bool:
        """Whether a path is one that a command may touch: what it was given, its own, or the machine's software."""
        if path.startswith((str(self.elsewhere), str(self.home))):
            return False
        if path.startswith(TORCHS):
            return True
        allowed = (
            self.work, self.base / "cache", self.base / "keys", self.base / "tmp", self.base / "stranger",
            self.base / "made",
            self.pictures, self.base / "out", ROOT, Path(package.__file__).parent, sys.prefix, sys.base_prefix,
            "/usr", "/lib", "/etc", "/proc", "/sys", "/dev", os.path.realpath(sys.prefix), *sys.path[1:],
        )  # fmt: skip
        return any(path == str(one) or path.startswith(f"{one}{os.sep}") for one in allowed if str(one))

    def run(self, *words: str) -> Ended:
        """A command, watched."""
        return self.watch(lambda: main.main(list(words)))

    def watch(self, work: Callable[[], object]) -> Ended:
        """Some work as a command would end, watched."""
        before = _state(self.elsewhere), _state(self.home)
        out, err, status = io.StringIO(), io.StringIO(), 0
        with (
            self.environment(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            watched(self.inside) as seen,
        ):
            try:
                work()
            except SystemExit as end:
                status = int(end.code or 0)
            except ValueError as error:
                status, message = messages.explain(error)
                print(f"aectl: {message}", file=sys.stderr)
        return Ended(
            status, out.getvalue(), err.getvalue(), seen, before != (_state(self.elsewhere), _state(self.home))
        )

    def loaded(self, run: Path) -> Ended:
        """A run opened from Python, and what of it needs its data."""

        def work() -> None:
            opened = package.load(run, device="cpu")
            opened.sample(4)
            opened.score(np.zeros((2, SIDE, SIDE), np.uint8), "error" if opened.module.prior is None else "elbo")

        return self.watch(work)


def _state(folder: Path) -> list[tuple[str, int, int, bytes]]:
    """What there is below a folder: names, modes, times of change and contents."""
    found = []
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else b""
        found.append((str(path), status.st_mode, status.st_mtime_ns, content))
    return found


def _draw(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(folder.name))
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / f"{number:02d}.png")


def edited(run: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """A run whose configuration somebody has changed, everywhere, with manifests that fit."""
    import yaml

    for step in checkpoint.listing(layout.checkpoints_of(run)) or list((run / "checkpoints").iterdir()):
        config = json.loads((step / "config.json").read_text())
        edit(config["train"])
        (step / "config.json").write_text(json.dumps(config))
        manifest = json.loads((step / "manifest.json").read_text())
        data = (step / "config.json").read_bytes()
        manifest["files"]["config.json"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (step / "manifest.json").write_text(json.dumps(manifest))
    saved = yaml.safe_load((run / "config.yaml").read_text())
    edit(saved)
    (run / "config.yaml").write_text(f"# aectl train -m seed=0\n{yaml.safe_dump(saved)}")
    return run


# ------------------------------------------------------------------------------------------- what it names


def own_folder(root: str, **more: Any) -> dict[str, Any]:
    """The settings of dataset=folder."""
    return {
        "name": "folder", "root": root, "noisy": None, "channels": 1, "size": None, "fit": "resize", "patches": 16,
        "background": "black", "on_bad": "stop", "scale": None, "picture_gb": 4.0, "val_size": 3, "test_size": 3,
        "labels": None, "split_seed": 0, "binarize": "none", **more,
    }  # fmt: skip


def array(root: str) -> dict[str, Any]:
    """Those of dataset=array."""
    return {
        "name": "array", "root": root, "val_size": 3, "test_size": 3, "labels": None, "split_seed": 0,
        "binarize": "none",
    }  # fmt: skip


def official(name: str) -> dict[str, Any]:
    """Those of a set that would be downloaded."""
    return {"name": name, "val_size": 10, "labels": None, "split_seed": 0, "binarize": "none"}


def named(place: Place) -> dict[str, tuple[dict[str, Any], str | None]]:
    """Data sets and data.root of a stranger's configuration, by what they name."""
    there = place.elsewhere
    up = os.path.relpath(there, place.work)
    return {
        "an absolute folder": (own_folder(f"{there}/clean"), None),
        "a folder above": (own_folder(f"{up}/clean"), None),
        "the home": (own_folder("~/clean"), None),
        "the folder of the command line by another way": (own_folder(f"{place.work}/../elsewhere/clean"), None),
        "a share": (own_folder("\\\\127.0.0.1\\share\\clean"), None),
        "a web address": (own_folder("http://127.0.0.1:9/clean.zip"), None),
        "a file's address": (own_folder(f"file://{there}/clean"), None),
        "the environment": (own_folder("${oc.env:HOME}/clean"), None),
        "data.root": (own_folder("clean"), f"{there}/clean"),
        "pairs": (own_folder(f"{there}/clean", noisy=f"{there}/noisy"), None),
        "pairs, one above the other": (own_folder("clean", noisy=f"../{up}/noisy"), f"{there}/clean"),
        "an array": (array(f"{there}/images.npy"), None),
        "an official set": (official("mnist"), str(there / "new")),
        "an official set by checksum": (official("svhn"), str(there / "new")),
    }


# ------------------------------------------------------------------------------------------- where it leads

FILES = (
    ".lock", "train.log", "metrics.jsonl", "config.yaml", "result.json", "split.json", "explore.html", ".made-here",
    "bad_pictures.csv", "projector_config.pbtxt", "figures/reconstructions.png", "figures/new.png",
)  # fmt: skip
FOLDERS = ("figures", "validation", "checkpoints", "00000099", ".tmp-x", "checkpoints/.tmp-x")


def _replaced(run: Path, name: str, make: Callable[[Path], object]) -> None:
    path = run / name
    path.parent.mkdir(exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()
    make(path)


def _newest(run: Path) -> Path:
    return max(run.glob("checkpoints/step-*"))


def leads(place: Place) -> dict[str, Callable[[Path], None]]:
    """What makes a run lead elsewhere, by its words: each takes the run's folder."""
    there, found = place.elsewhere, {}
    for name in FILES:
        found[f"{name} is a link"] = lambda run, name=name: _replaced(
            run, name, lambda path: path.symlink_to(there / "canary.json")
        )
    for name in FOLDERS:
        found[f"{name} is a link"] = lambda run, name=name: _replaced(
            run, name, lambda path: path.symlink_to(there / "folder")
        )
    whole = there / "whole"
    if not whole.exists():
        shutil.copytree(place.made["vae"], whole)
    found["checkpoints is a link to whole ones"] = lambda run: _replaced(
        run, "checkpoints", lambda path: path.symlink_to(whole / "checkpoints")
    )

    def step(run: Path) -> None:
        one = _newest(run)
        _replaced(run, f"checkpoints/{one.name}", lambda path: path.symlink_to(whole / "checkpoints" / one.name))

    def file(run: Path) -> None:
        one = _newest(run)
        target = whole / "checkpoints" / one.name / "config.json"
        _replaced(run, f"checkpoints/{one.name}/config.json", lambda path: path.symlink_to(target))

    found["a checkpoint is a link"] = step
    found["a checkpoint's file is a link"] = file
    found["a link that leads nowhere"] = lambda run: _replaced(
        run, "train.log", lambda path: path.symlink_to(there / "new.log")
    )
    found["a link to itself"] = lambda run: _replaced(run, "train.log", lambda path: path.symlink_to("train.log"))
    found["a log that is a hard link"] = lambda run: _replaced(
        run, "train.log", lambda path: path.hardlink_to(there / "canary.log")
    )
    found["a lock that is a hard link"] = lambda run: _replaced(
        run, ".lock", lambda path: path.hardlink_to(there / "canary.log")
    )
    found["a log that is a FIFO"] = lambda run: _replaced(run, "train.log", os.mkfifo)
    found["metrics that are a FIFO"] = lambda run: _replaced(run, "metrics.jsonl", os.mkfifo)
    return found


# ------------------------------------------------------------------------------------------- all commands


def reading(place: Place, run: Path, sweep: Path) -> dict[str, Callable[[], Ended]]:
    """Every command that reads a run or a sweep, by its words."""
    place.number += 1
    n, at = place.number, f"run={run}"
    given = f"input={place.pictures}/clean"
    codes = place.base / "out/codes.npz"
    if not codes.exists():
        codes.parent.mkdir(exist_ok=True)
        np.savez(codes, names=np.array(["a"]), codes=np.zeros((1, 2), np.float32))
    lines = {
        "eval": ["eval", at],
        "sample": ["sample", at, "n=4"],
        "sample posterior": ["sample", at, "n=4", "mode=posterior"],
        "denoise": ["denoise", at],
        "denoise a folder": ["denoise", at, given, f"output={place.base}/out/denoised{n}"],
        "encode": ["encode", at, f"output={place.base}/out/{n}.csv"],
        "encode a folder": ["encode", at, given, f"output={place.base}/out/{n}f.csv"],
        "decode": ["decode", at, f"input={codes}", f"output={place.base}/out/decoded{n}"],
        "score": ["score", at],
        "score a folder": ["score", at, given, f"output={place.base}/out/{n}s.csv"],
        "explore": ["explore", at],
        "export": ["export", at, f"output={place.base}/out/exported{n}", "format=safetensors"],
        "doctor": ["doctor", at],
        "report": ["report", f"sweep={sweep}"],
        "runs": ["runs"],
    }
    found: dict[str, Callable[[], Ended]] = {
        name: lambda words=words: place.run(*words) for name, words in lines.items()
    }
    found["aectl.load"] = lambda: place.loaded(run)
    return found


def writing(place: Place, run: Path, sweep: Path) -> dict[str, Callable[[], Ended]]:
    """Every command that writes into what is there."""
    small = ("experiment=smoke", "device=cpu", "threads=1", "explore=false", "hydra/launcher=basic", "seed=0")
    lines = {
        "train resume": ["train", f"resume={run}", "epochs=2"],
        "train sweep.resume": ["train", "-m", f"sweep.resume={sweep}", *small],
        "train into it": ["train", *small[:4], "epochs=1", f"hydra.run.dir={run}"],
        "eval into it": ["eval", f"run={place.made['vae']}", f"hydra.run.dir={run}"],
    }
    found: dict[str, Callable[[], Ended]] = {
        name: lambda words=words: place.run(*words) for name, words in lines.items()
    }
    found["aectl.train"] = lambda: place.watch(lambda: package.train(f"resume={run}", "epochs=2"))
    return found


OF_DATA = ("sample", "score", "encode", "aectl.load")  # what asks a run without a prior for its pictures


def suite(base: Path, stride: int = 1) -> dict[str, int]:
    """Every command over every stranger's run, or each `stride`-th: how many, and what happened elsewhere."""
    place = Place(base)
    found = dict.fromkeys(("commands", "connections", "folders", "reads", "writes", "changed", "failed"), 0)

    def count(what: str, ended: Ended, wanted: tuple[int, ...]) -> None:
        found["commands"] += 1
        for name in ("connections", "folders", "reads", "writes"):
            found[name] += len(getattr(ended.seen, name))
        found["changed"] += ended.changed
        wrong = not ended.clean or ended.status not in wanted
        found["failed"] += wrong
        if wrong or ended.changed or ended.seen.all:
            print(f"{what}: {ended.status} {ended.seen.all[:3]} {ended.err[-400:]}", file=sys.stderr)

    turn = 0
    for words, (dataset, root) in named(place).items():
        for kind, some in (("vae", None), ("ae", OF_DATA)):
            run = place.naming(dataset, root, kind)
            sweep = place.sweep([run])
            commands = reading(place, run, sweep) | writing(place, run, sweep)
            for name, work in commands.items():
                if some is not None and name not in some:
                    continue
                turn += 1
                if turn % stride == 0:
                    count(f"{words}, {kind}, {name}", work(), DOCUMENTED)
    for words, make in leads(place).items():
        for name in [*reading(place, place.base, place.base), *writing(place, place.base, place.base)]:
            turn += 1
            if turn % stride:
                continue
            run = place.copied()
            sweep = place.sweep([run])
            make(run)
            make(sweep / "0")
            writes = writing(place, run, sweep)
            commands = reading(place, run, sweep) | writes
            count(f"{words}, {name}", commands[name](), (6,) if name in writes else DOCUMENTED)
            shutil.rmtree(run)
            shutil.rmtree(sweep)
    return found
