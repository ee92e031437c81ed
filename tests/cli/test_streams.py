"""The three streams closed, full or unread, each alone: the real command, since a test's own streams must stay."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aectl.cli import main, streams
from aectl.errors import StorageError

pytestmark = pytest.mark.usefixtures("without_pictures")

AECTL = f"{sys.executable} -m aectl"
NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full disk to offer")


def run(line: str, **more: str) -> subprocess.CompletedProcess:
    """A line of a shell in which `aectl` is the command; what is left of its streams is read."""
    line = f'aectl() {{ {AECTL} "$@"; }}; {line}'
    env = {**os.environ, **more}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, env=env)


def in_process(code: str, redirections: str, **more: str) -> subprocess.CompletedProcess:
    """Python with some streams, after `settle`; the code writes what it finds to the file `$SEEN`."""
    code = f"import os, sys\nfrom aectl.cli import streams\nstreams.settle()\n{code}"
    line = f'{sys.executable} -c "$CODE" {redirections}'
    env = {**os.environ, "CODE": code, **more}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.parametrize("line", ["--help", "--version", "eval --help", "-sc query=bash"])
@pytest.mark.parametrize("redirected", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_a_closed_stream_is_no_error(line, redirected):
    done = run(f"aectl {line} {redirected}", COMP_LINE="aectl tr")
    assert done.returncode == 0, done
    assert done.stderr == ""
    assert bool(done.stdout) == (">&- 2" not in redirected and redirected != ">&-")


@pytest.mark.parametrize("redirected", ["", ">&-", "2>&-", "<&-", "2>/dev/full", ">/dev/full", "2> >(true)"])
def test_an_error_keeps_its_status(redirected):
    done = run(f"aectl nosuch {redirected}")
    assert done.returncode == 2, done
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr


@NEEDS_FULL
@pytest.mark.parametrize("line", ["--help", "eval --help", "--version"])
def test_output_that_finds_no_room_is_said_in_one_line(line):
    done = run(f"aectl {line} >/dev/full")
    assert done.returncode == StorageError.exit_code, done
    assert done.stderr.startswith("aectl: standard output: No space left on device")
    assert done.stderr.count("\n") == 1


def test_a_reader_that_has_gone_has_the_status_of_its_signal():
    gone = "import os, subprocess, sys; r, w = os.pipe(); os.close(r); "
    gone += "sys.exit(subprocess.run([sys.executable, '-m', 'aectl', '--help'], stdout=w).returncode)"
    done = subprocess.run([sys.executable, "-c", gone], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (main.READER_GONE, "")


@pytest.mark.parametrize("redirected", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(tmp_path, redirected):
    code = "file = os.open(os.environ['SEEN'], os.O_CREAT | os.O_WRONLY)\nos.write(file, str(file).encode())"
    in_process(code, redirected, SEEN=str(tmp_path / "seen"))
    assert int((tmp_path / "seen").read_text()) > 2


def test_who_writes_past_python_is_not_heard_and_python_is(tmp_path):
    code = "os.write(2, b'raw'); os.system('echo child >&2'); print('ours', file=sys.stderr); print('out')"
    done = in_process(code, "")
    assert (done.stdout, done.stderr) == ("out\n", "ours\n")
    assert "raw" in in_process(code, "", AECTL_DEBUG="1").stderr


def test_a_warning_is_one_line():
    done = in_process("import warnings; warnings.warn('of\\x1b[31m something', stacklevel=1)", "")
    assert done.stderr == "aectl: note: of\\x1b[31m something\n"


def test_what_an_encoding_has_not_is_spelled_out():
    done = in_process("print('σ', file=sys.stderr); print('× \\udce9')", "", PYTHONIOENCODING="ascii")
    assert (done.stdout, done.stderr) == ("\\xd7 \\udce9\n", "\\u03c3\n")


def test_who_watches_is_still_asked_and_crashes_are_still_told(tmp_path):
    code = "import faulthandler; print(sys.stdout.isatty(), sys.stderr.fileno() > 2, faulthandler.is_enabled())"
    done = in_process(code, "", PYTHONFAULTHANDLER="1")
    assert done.stdout == "False True True\n"
    crash = in_process("import faulthandler; faulthandler._sigsegv()", "", PYTHONFAULTHANDLER="1")
    assert "Segmentation fault" in crash.stderr


def test_unbuffered_stays_unbuffered():
    done = in_process("print('a'); os._exit(0)", "", PYTHONUNBUFFERED="1")
    assert done.stdout == "a\n"


def test_a_program_that_calls_us_keeps_its_streams(aectl):
    before = sys.stdout, sys.stderr, os.fstat(2)
    assert aectl("--version").out.startswith("aectl ")
    assert (sys.stdout, sys.stderr, os.fstat(2)) == before


class Refusing(io.RawIOBase):
    """A file that refuses, or takes a part."""

    def __init__(self, answers: list[object]):
        self.answers, self.taken = answers, b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int | None:
        answer = self.answers.pop(0) if self.answers else len(data)
        if isinstance(answer, OSError):
            raise answer
        self.taken += bytes(data[: answer or 0])
        return answer


def test_all_is_written_that_can_be_and_the_first_refusal_is_remembered(monkeypatch):
    monkeypatch.setattr(streams, "PAUSE", 0.0)
    under = Refusing([1, None, 2])
    stream = streams.Enduring(under)
    assert stream.write(b"12345") == 5
    assert (under.taken, stream.refused) == (b"12345", None)
    first = OSError(28, "No space left on device")
    under.answers = [1, first]
    assert stream.write(b"67890") == 5
    under.answers = [OSError(5, "Input/output error")]
    stream.write(b"x")
    stream.write(b"later")
    assert (under.taken, stream.refused) == (b"123456later", first)


def test_what_was_refused_hides_no_error(aectl, monkeypatch):
    monkeypatch.setattr(streams, "refusal", lambda: OSError(28, "No space left on device"))
    assert (aectl("nosuch").status, aectl("--version").status) == (2, StorageError.exit_code)


def test_training_goes_on_with_no_stream_at_all(tmp_path):
    settings = "experiment=smoke epochs=2 device=cpu threads=1 explore=false figures_every=0 hydra.run.dir=run"
    done = run(f"cd {tmp_path}; aectl train {settings} <&- >&- 2>&-")
    assert done.returncode == 0
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "completed"
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2
