"""Any value at any key of any file that a run, a sweep, a cache or a set of codes has, and the commands that read it.

`Scene` has one of each; `Scene.attempt` puts a value in, calls a command, judges how it ended, and mends the file.
"""

import contextlib
import csv
import hashlib
import io
import json
import logging
import os
import random
import shutil
import signal
import struct
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import clean_process
from PIL import Image

import aectl
from aectl import sealed, storage
from aectl.cli import main, messages
from aectl.files import aec, codes
from aectl.measuring import endings
from aectl.runs import finding, opening, papers, states, sweeps
from aectl.runs.config import TrainConfig
from aectl.settings import typed

PLACE = "the-value-here"
DOCUMENTED = frozenset({0, 2, 3, 4, 5, 6, 7})
SLOWEST = 10.0  # seconds of a processor for a command; one that spins is stopped at twice that

# As JSON has them, or nearly: some are none.
VALUES = {
    "null": "null", "true": "true", "false": "false", "0": "0", "1": "1", "2": "2", "-1": "-1", "10^18": str(10**18),
    "2^63-1": str(2**63 - 1), "-2^63": str(-(2**63)), "10^30": str(10**30), "10^5000": "9" * 5000, "1.0": "1.0",
    "0.5": "0.5", "-0.5": "-0.5", "1e-300": "1e-300", "1e30": "1e30", "1e308": "1e308", "-1e308": "-1e308",
    "1e999": "1e999", "NaN": "NaN", "-Infinity": "-Infinity", "empty text": '""', "text": '"x"',
    "completed": '"completed"', "text of a number": '"1"', "lines": '"a\\nb\\r\\u2028c"',
    "escape": '"\\u001b[31mred\\u0007"', "zero byte": '"a\\u0000b"', "half a letter": '"\\ud800"',
    "half a byte": '"\\udce9"', "marks": '"<script>é</script>"', "path": '"../../../etc/passwd"',
    "long text": json.dumps("x" * 300_000), "long line": json.dumps("y" * 5000), "empty list": "[]",
    "list of null": "[null]", "list of numbers": "[1, 2]", "list of text": '["a", "b"]',
    "list of lists": "[[], [[]]]",
    "long list": json.dumps([1] * 20_000), "many empty": "[" + ",".join(["[]"] * 300_000) + "]",
    "deep list": "[" * 300 + "]" * 300, "very deep list": "[" * 100_000 + "]" * 100_000, "empty mapping": "{}",
    "mapping": '{"name": "x"}', "key twice": '{"name": "x", "name": "y"}',
    "deep mapping": '{"a":' * 300 + "1" + "}" * 300,
    "nothing": "",
}  # fmt: skip
# What YAML has beside.
OF_YAML = {
    "bomb": "[&a [x, x, x, x, x, x, x, x, x], " + ", ".join(
        f"&{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    ) + "]",
    "loop": "&a [*a]", "code": "!!python/object/apply:os.getcwd []", "binary": "!!binary aGk=", "tag": "!x y",
    "date": "2024-01-01", "no date": "2024-13-45", "sixties": "1:1:1", "many sixties": ":".join(["1"] * 400) + ".5",
    "infinite": ".inf", "hexadecimal": "0x10", "merge": "{<<: {a: 1}}", "merged list": "{<<: [{a: 1}]}",
    "no key": "{? [a] : b}", "number as key": "{1: 2}", "value": "=", "octal": "0o7", "set": "!!set {a}",
}  # fmt: skip


@dataclass(frozen=True)
class File:
    """A file that holds a document: where it lies in the scene, and who reads it.

    Attributes:
        path: below the scene; the first that fits the pattern.
        readers: names of commands of `Scene.commands`.
        load: from its bytes to a document of plain data.
        dump: from the text of the document, and the bytes as they were, to bytes.
        values: names of texts that are tried.
        spell: from a document to its text.
    """

    path: str
    readers: Sequence[str]
    load: Callable[[bytes], Any]
    dump: Callable[[str, bytes], bytes]
    values: Sequence[str]
    spell: Callable[[Any], str] = json.dumps


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code, what it printed as errors, how long it computed, a defect's traceback."""

    code: int | None
    err: str
    seconds: float
    defect: str | None

    @property
    def wrong(self) -> str | None:
        """Which promise is broken, if any."""
        if self.defect is not None:
            return "tracebacks"
        if self.code not in DOCUMENTED:
            return "undocumented"
        lines = self.err.splitlines()
        if len(lines) != (self.code != 0) or not "".join(lines).isprintable():
            return "lines"
        return "slow" if self.seconds > SLOWEST else None


class Late(BaseException):
    """A command has taken far too long."""


def text_of(file: "File", document: Any, place: tuple, value: str) -> str:
    """A document as text, with the text of a value at a place, a tuple of keys and indices."""
    return file.spell(_with(document, place, PLACE)).replace(file.spell(PLACE).splitlines()[0], value)


def _with(document: Any, place: tuple, value: Any) -> Any:
    if not place:
        return value
    changed = dict(document) if isinstance(document, dict) else list(document)
    inner = changed.get(place[0]) if isinstance(changed, dict) else changed[place[0]]
    changed[place[0]] = _with(inner, place[1:], value)
    return changed


def places_in(document: Any) -> Iterator[tuple]:
    """Every key of it, one that it has not, the first three and the last of each list, and all of it."""
    yield ()
    if isinstance(document, dict):
        yield ("surprise",)
        for key, value in document.items():
            yield from ((key, *rest) for rest in places_in(value))
    elif isinstance(document, list) and document:
        for index in sorted({*range(3), len(document) - 1} & set(range(len(document)))):
            yield from ((index, *rest) for rest in places_in(document[index]))


def _json(data: bytes) -> Any:
    return json.loads(data)


def _plain(text: str, before: bytes) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _lines(data: bytes) -> Any:
    return [json.loads(line) for line in data.splitlines()]


def _as_lines(text: str, before: bytes) -> bytes:
    """One list as lines; the last one is changed where all of it is."""
    rows = _rows(text)
    return "".join(f"{row}\n" for row in rows).encode("utf-8", "surrogatepass")


def _rows(text: str) -> list[str]:
    """The parts of a JSON list as text; all of what is no such list."""
    if not (text.startswith("[{") and text.endswith("}]")):
        return [text]
    return text[1:-1].replace("}, {", "}\0{").split("\0")


def _yaml(data: bytes) -> Any:
    import yaml

    return yaml.safe_load(data)


def _spelled_as_yaml(document: Any) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10**6)


def _as_yaml(text: str, before: bytes) -> bytes:
    return before.partition(b"\n")[0] + b"\n" + text.encode("utf-8", "surrogatepass")


def _sealed(data: bytes) -> Any:
    return sealed.unseal(data)


def _as_sealed(text: str, before: bytes) -> bytes:
    body = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _header(data: bytes) -> Any:
    length, _ = aec.FRAME.unpack_from(data, len(aec.MAGIC))
    start = len(aec.MAGIC) + aec.FRAME.size
    return json.loads(zlib.decompressobj(zdict=aec.COMMON).decompress(data[start : start + length]))


def _as_header(text: str, before: bytes) -> bytes:
    (length,) = struct.unpack_from("<I", before, len(aec.MAGIC))
    rest = before[len(aec.MAGIC) + aec.FRAME.size + length :]
    deflate = zlib.compressobj(9, zdict=aec.COMMON)
    packed = deflate.compress(text.encode("utf-8", "surrogatepass")) + deflate.flush()
    return aec.MAGIC + aec.FRAME.pack(len(packed), zlib.crc32(packed)) + packed + rest


def _cells(data: bytes) -> Any:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def _as_cells(text: str, before: bytes) -> bytes:
    """A table in which a cell is the text of the value; all of it where it is no table any more."""
    try:
        rows = json.loads(text)
        buffer = io.StringIO(newline="")
        csv.writer(buffer).writerows(rows)
        return buffer.getvalue().encode("utf-8", "surrogatepass")
    except (ValueError, TypeError, RecursionError, csv.Error):
        return text.encode("utf-8", "surrogatepass")


OPEN = ("runs", "doctor", "eval", "sample", "denoise", "encode", "pack", "decode", "unpack", "score", "explore",
        "export", "resume", "load")  # fmt: skip
OF_SWEEP = ("runs", "report", "resume sweep")
RUN, SWEEP = "outputs/train/*", "outputs/multirun/*/0_*"
JSON_VALUES, YAML_VALUES = tuple(VALUES), (*VALUES, *OF_YAML)
TEXTS = {**VALUES, **OF_YAML}
FILES = {
    "result": File(f"{RUN}/result.json", ("runs", "eval", "resume", "load"), _json, _plain, JSON_VALUES),
    "metrics": File(f"{RUN}/metrics.jsonl", ("runs", "resume", "explore", "load"), _lines, _as_lines, JSON_VALUES),
    "config": File(f"{RUN}/config.yaml", ("runs", "resume", "eval"), _yaml, _as_yaml, YAML_VALUES, _spelled_as_yaml),
    "split": File(f"{RUN}/split.json", ("eval", "resume", "explore", "score"), _json, _plain, JSON_VALUES),
    "saved config": File(f"{RUN}/checkpoints/*/config.json", OPEN, _json, _plain, JSON_VALUES),
    "state": File(f"{RUN}/checkpoints/*/trainer.json", OPEN, _json, _plain, JSON_VALUES),
    "manifest": File(f"{RUN}/checkpoints/*/manifest.json", OPEN, _json, _plain, JSON_VALUES),
    "job's result": File(f"{SWEEP}/result.json", OF_SWEEP, _json, _plain, JSON_VALUES),
    "job's metrics": File(f"{SWEEP}/metrics.jsonl", OF_SWEEP, _lines, _as_lines, JSON_VALUES),
    "job's config": File(f"{SWEEP}/config.yaml", OF_SWEEP, _yaml, _as_yaml, YAML_VALUES, _spelled_as_yaml),
    "job's state": File(f"{SWEEP}/checkpoints/*/trainer.json", OF_SWEEP, _json, _plain, JSON_VALUES),
    "index": File("cache/*/index.json", ("eval", "resume"), _sealed, _as_sealed, JSON_VALUES),
    "hashes": File("cache/hashes/*.json", ("eval", "resume"), _sealed, _as_sealed, JSON_VALUES),
    "codes": File("codes.csv", ("decode",), _cells, _as_cells, JSON_VALUES),
    "bits": File("bits.aec", ("unpack",), _header, _as_header, JSON_VALUES),
}  # fmt: skip
READING = "reading"
READINGS = {
    "outputs/train": ("seen", "loaded", "opened"), "outputs/multirun": ("seen", "compared", "begun"),
    "cache": ("opened",), "codes.csv": ("coded",), "bits.aec": ("packed",),
}  # fmt: skip
SMALL = ("device=cpu", "threads=1", "figures_every=0", "explore=false", "network.hidden=[6]", "epochs=2", "latent=2")
SWEPT = ("dataset=synthetic", "dataset.synthetic_size=60", "dataset.synthetic_shape=[1,8,8]", "dataset.val_size=12",
         "dataset.test_size=12", "model=vae", "seed=0,1", "hydra/launcher=basic")  # fmt: skip


class Scene:
    """A working folder with a run on pictures of one's own, a sweep of two jobs, codes, and a file of bits."""

    def __init__(self, folder: Path):
        """Make it in an empty folder, which must be the current one, with $AECTL_CACHE in it."""
        self.folder = folder
        rng = np.random.default_rng(0)
        for name in ("pictures", "some"):
            (folder / name).mkdir()
        for number in range(24):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"pictures/{number:02d}.png")
            os.utime(folder / f"pictures/{number:02d}.png", (1e9, 1e9))  # so long ago that its hash is remembered
            if number < 2:
                Image.fromarray(pixels).save(folder / f"some/{number}.png")
        own = ("dataset=folder", "dataset.root=pictures", "dataset.size=8", "model=vae", "likelihood=logistic256")
        self._must("train", *own, *SMALL, "dataset.val_size=4", "dataset.test_size=4")
        self._must("train", "-m", *SWEPT, *SMALL)
        self._must("encode", "input=some", "output=codes.csv", f"run={self.run}")
        self._must("encode", "input=some", "output=bits.aec", f"run={self.run}")
        shutil.rmtree(folder / "outputs/encode", ignore_errors=True)
        self.whole = folder.with_name(folder.name + "-whole")
        shutil.copytree(folder, self.whole)
        run, sweep, out = f"run={self.run}", self.sweep, ("output=out",)
        self.commands: dict[str, tuple[str, ...]] = {
            "runs": ("runs",), "doctor": ("doctor", run), "eval": ("eval", run), "sample": ("sample", run),
            "denoise": ("denoise", run, "input=some", *out),
            "encode": ("encode", run, "input=some", "output=out.npz"),
            "pack": ("encode", run, "input=some", "output=out.aec"), "score": ("score", run, "input=some"),
            "decode": ("decode", run, "input=codes.csv", *out), "unpack": ("decode", run, "input=bits.aec", *out),
            "explore": ("explore", run), "export": ("export", run, "format=safetensors", *out),
            "resume": ("train", f"resume={self.run}", "epochs=3", *SMALL[:3]),
            "report": ("report", f"sweep={sweep}"),
            "resume sweep": ("train", "-m", *SWEPT, *SMALL, f"sweep.resume={sweep}"),
        }  # fmt: skip

        config = next(folder.glob(SWEEP)) / "config.yaml"
        self.config = typed.from_dict(TrainConfig, _yaml(config.read_bytes()), "")

    @property
    def sweep(self) -> Path:
        """The folder of the sweep."""
        return next(self.folder.glob("outputs/multirun/*"))

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return next(self.folder.glob(RUN)).relative_to(self.folder)

    def _must(self, *words: str) -> None:
        ended = self.call(lambda: main.main(list(words)))
        if ended.code != 0:
            raise AssertionError(f"{words}: {ended}")

    def places(self, name: str) -> list[tuple]:
        """Every place of a file of `FILES`."""
        return list(places_in(self._document(name)))

    def _document(self, name: str) -> Any:
        return FILES[name].load(self._path(name, self.whole).read_bytes())

    def _path(self, name: str, folder: Path) -> Path:
        return sorted(folder.glob(FILES[name].path))[-1]

    def attempt(self, name: str, place: tuple, value: str, reader: str) -> Ended:
        """How the command `reader` ends where the file `name` has the text of a value at a place.

        The manifest of a checkpoint is made to fit. READING is all that is read of such a file, without a command.
        """
        file, path = FILES[name], self._path(name, self.folder)
        path.write_bytes(file.dump(text_of(file, self._document(name), place, value), path.read_bytes()))
        if path.parent.parent.name == "checkpoints" and path.name != "manifest.json":
            _seal(path.parent)
        try:
            return self._reading(name) if reader == READING else self.command(reader)
        finally:
            if reader != READING or file.path.startswith("cache"):
                self.mend()
            else:
                for one in (path, *path.parent.glob("manifest.json")):
                    shutil.copyfile(self.whole / one.relative_to(self.folder), one)

    def command(self, reader: str) -> Ended:
        """How a command ends."""
        if reader == "load":
            return self.call(self._loaded)
        return self.call(lambda: main.main(list(self.commands[reader])))

    def _reading(self, name: str) -> Ended:
        """The first reading of a file that breaks a promise, else the first that refuses it, else the last."""
        readings = next(some for place, some in READINGS.items() if FILES[name].path.startswith(place))
        ended = [self.call(getattr(self, f"_{reading}")) for reading in readings]
        return next((one for one in ended if one.wrong), next((one for one in ended if one.code), ended[-1]))

    def _seen(self) -> None:
        """What `aectl runs` looks at."""
        for one in states.all_of_them():
            states.described(papers.read_settings(one.path))
        finding.ids()

    def _opened(self) -> None:
        """What every command on a run reads."""
        run = opening.open_run(str(self.run), "last", torch.device("cpu"))
        opening.environment_of(run.checkpoint)
        run.progress.check_within(1)
        opening.open_data(run, None)

    def _compared(self) -> None:
        """What `aectl report` and the table of a sweep read."""
        jobs = sweeps.read_jobs(self.sweep)
        sweeps.table(jobs)
        endings.endings(jobs, sweeps.differing(jobs))
        sweeps.command(self.sweep)

    def _begun(self) -> None:
        """What is read of a job that is gone on with."""
        job = next(self.folder.glob(SWEEP))
        sweeps.begun(job, self.config)
        run = opening.open_run(str(job), "best", torch.device("cpu"))
        opening.environment_of(run.checkpoint)
        papers.read_metrics(job)

    def _coded(self) -> None:
        codes.read(self.folder / "codes.csv", 2)

    def _packed(self) -> None:
        aec.read(self.folder / "bits.aec")

    def _loaded(self) -> None:
        """What Python's users do; an error of ours says what the command would."""
        run = aectl.load(self.run, device="cpu")
        run.history, run.metrics, repr(run), run._repr_html_()

    def call(self, work: Callable[[], object]) -> Ended:
        """How work ends, in this process."""
        out, err = io.StringIO(), io.StringIO()
        code, defect, began = 0, None, time.process_time()

        def late(signum: int, frame: object) -> None:
            raise Late

        earlier = signal.signal(signal.SIGPROF, late)
        signal.setitimer(signal.ITIMER_PROF, 2 * SLOWEST)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), clean_process():
                sys.argv = ["aectl"]
                logging.getLogger().addHandler(logging.NullHandler())  # else Python prints notes as errors
                work()
        except SystemExit as end:
            code = int(end.code or 0)
        except Late:
            pass
        except Exception as error:
            code, message = messages.explain(error)
            defect = traceback.format_exc() if message is None else None
            err.write(f"{message}\n")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, earlier)
        return Ended(code, err.getvalue(), time.process_time() - began, defect)

    def mend(self) -> None:
        """All as it was."""
        for path in self.folder.iterdir():
            if not (self.whole / path.name).exists():
                storage.remove(path)
        for name in ("outputs", "cache"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.whole / name, self.folder / name)
        for name in ("codes.csv", "bits.aec"):
            shutil.copyfile(self.whole / name, self.folder / name)


def _seal(checkpoint: Path) -> None:
    """Make the manifest of a checkpoint fit its files."""
    files = json.loads((checkpoint / "manifest.json").read_bytes())["files"]
    for name in files:
        data = (checkpoint / name).read_bytes()
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (checkpoint / "manifest.json").write_text(json.dumps({"format": 1, "files": files}))


def attempts(scene: Scene, seed: int) -> Iterator[tuple[str, tuple, str, str]]:
    """File, place, name of a value and command: all values at all places, the commands that read it taking turns."""
    rng = random.Random(seed)
    for name, file in FILES.items():
        for place in scene.places(name):
            for value in file.values:
                yield name, place, value, rng.choice(file.readers)
