"""Every command with each of its streams closed, full, or a pipe whose reader has gone: a suite of `torture.py`."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aectl.runs import checkpoint, layout

AECTL = (sys.executable, "-m", "aectl")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "aectl")
SMALL = ("experiment=smoke", "epochs=2", "device=cpu", "threads=1", "explore=false", "figures_every=0")
STREAMS = ("stdin", "stdout", "stderr")
CLOSES = {"stdin": "<&-", "stdout": ">&-", "stderr": "2>&-"}  # in a shell
# What is done to which stream; the first is the one that nothing is done to.
DONE = ({}, {"stdin": "closed"}, *({name: how} for name in STREAMS[1:] for how in ("closed", "full", "gone")),
        dict.fromkeys(STREAMS, "closed"))  # fmt: skip
AT_ONCE = 2
READER_GONE, NO_ROOM = 128 + signal.SIGPIPE, 6


@dataclass(frozen=True)
class Command:
    """A command line that ends with `status`; `speaks`: whether it says anything on standard output.

    With `trains`, it makes runs in its folder `run`; of several processes torchrun has a status of its own.
    """

    words: tuple[str, ...]
    status: int = 0
    speaks: bool = True
    trains: bool = False
    program: tuple[str, ...] = AECTL

    def expected(self, done: dict[str, str]) -> int:
        """The status with some streams broken."""
        refused = {"full": NO_ROOM, "gone": READER_GONE}.get(done.get("stdout", ""), 0)
        if not refused or not self.speaks or self.status:
            return self.status
        return 1 if self.program == TORCHRUN else refused


def commands(run: Path) -> list[Command]:
    """Those that are tried, on a trained run."""
    return [
        Command(("--help",)), Command(("--version",)), Command(("train", "--help")), Command(("-sc", "query=bash")),
        Command(("runs",)), Command(("nosuch",), 2, speaks=False), Command((), 2, speaks=False),
        Command(("eval", "run=nosuch"), 4, speaks=False), Command(("eval", f"run={run}", "nll_samples=1")),
        Command(("sample", f"run={run}", "mode=prior", "n=4")), Command(("doctor", f"run={run}")),
        Command(("train", *SMALL, "hydra.run.dir=run"), trains=True),
        Command(("train", *SMALL, "lr=0.0001,1e30", "-m", "hydra.sweep.dir=run"), 5, trains=True),
        Command(("train", *SMALL, "latent=2,3", "-m", "hydra.sweep.dir=run"), trains=True),
        Command(("train", *SMALL, "hydra.run.dir=run"), trains=True, program=TORCHRUN),
    ]  # fmt: skip


@contextlib.contextmanager
def broken(how: str) -> Iterator[int]:
    """A file descriptor to write to that refuses."""
    if how == "full":
        with Path("/dev/full").open("wb") as file:
            yield file.fileno()
    else:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            yield writing
        finally:
            os.close(writing)


def tried(command: Command, done: dict[str, str], folder: Path) -> dict[str, int]:
    """Run it in a new folder: what went wrong, by kind."""
    folder.mkdir()
    closing = " ".join(CLOSES[name] for name in done if done[name] == "closed")
    line = ["bash", "-c", f'exec "$@" {closing}', "aectl", *command.program, *command.words]
    env = {**os.environ, "AECTL_CACHE": str(folder / "cache"), "COMP_LINE": "aectl tr", "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        given = {}
        for name in STREAMS[1:]:
            given[name] = stack.enter_context((folder / name).open("wb")).fileno()
            if name in done and done[name] != "closed":
                given[name] = stack.enter_context(broken(done[name]))
        status = subprocess.run(
            line, cwd=folder, env=env, stdin=subprocess.DEVNULL, timeout=540, check=False, **given
        ).returncode
    said = "".join((folder / name).read_text(errors="replace") for name in STREAMS[1:])
    logs = "".join(log.read_text(errors="replace") for log in folder.rglob("*.log"))
    raw = sum(line.strip() != "" and "aectl" not in line for line in (folder / "stderr").read_text().splitlines())
    wrong = status != command.expected(done)
    if wrong:
        print(f"{' '.join(command.words)} {done}: {status}\n{said[-600:]}", file=sys.stderr)
    ours = command.program == AECTL  # torchrun says in its own words that a process of its has failed
    return {
        "tried": 1, "wrong": int(wrong),
        "tracebacks": (said + logs).count("Traceback (most recent call last)") if ours else 0,
        "raw": raw if ours and command.words else 0,  # without words it is the help that stands there
    }  # fmt: skip


def weights(folder: Path) -> dict[str, bytes]:
    """The final weights of every run below a folder, each of its checkpoints verified."""
    found = {}
    for checkpoints in sorted(folder.rglob("checkpoints")):
        for path in layout.listing(checkpoints):
            checkpoint.verify(path)
        newest = layout.listing(checkpoints)[0]
        name = str(checkpoints.parent.relative_to(folder))
        found[name] = (newest / "model.safetensors").read_bytes()
        result = json.loads((checkpoints.parent / "result.json").read_text())
        assert isinstance(result["status"], str), result
    return found


def damaged(folder: Path, expected: dict[str, bytes]) -> int:
    """1 where the runs below a folder are not whole, or are others than those of an undisturbed command."""
    try:
        return int(weights(folder) != expected)
    except (ValueError, LookupError, OSError, AssertionError):
        return 1


def streams(stride: int = 1) -> dict[str, int]:
    """Each command with each stream in each state: its status, its words, and the runs that it leaves."""
    found = {"tried": 0, "wrong": 0, "tracebacks": 0, "raw": 0, "damaged": 0}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(AT_ONCE) as pool:
        top = Path(name)
        made = tried(Command(("train", *SMALL, "hydra.run.dir=run"), trains=True), {}, top / "first")
        assert not made["wrong"], made
        todo = list(itertools.product(commands(top / "first/run"), DONE))[::stride]
        undisturbed = {command: top / f"alone-{number}" for number, (command, _) in enumerate(todo) if command.trains}
        asked = [(command, done, top / str(number)) for number, (command, done) in enumerate(todo)]
        asked += [(command, {}, folder) for command, folder in undisturbed.items()]
        for result in pool.map(lambda one: tried(*one), asked):
            for key, value in result.items():
                found[key] += value
        for command, _, folder in asked:
            if command.trains:
                found["damaged"] += damaged(folder / "run", weights(undisturbed[command] / "run"))
    return found
