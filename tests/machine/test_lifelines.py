"""Processes that end with the one that started them, and a wish to stop that comes from no signal."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from aectl import signals
from aectl.cli import workers
from aectl.errors import OtherSweepError
from aectl.machine import lifelines

WORK = """
import os, pathlib, signal, time
from aectl import signals
from aectl.errors import OtherSweepError, StorageError
from aectl.machine import lifelines

def begin(piece):
    pathlib.Path(f"{piece}.begun").write_text(str(os.getpid()))

def sleep(piece):  # as while data are read
    begin(piece)
    time.sleep(60)

def train(piece):  # heeds a wish, and then saves
    with signals.StopRequest() as request:
        begin(piece)
        while request.signal is None:
            time.sleep(0.01)
        pathlib.Path(f"{piece}.saved").touch()
        request.stop()

def deaf(piece):
    lifelines.GRACE = 0.3
    with signals.StopRequest():
        begin(piece)
        time.sleep(60)

def die_at_1(piece):
    begin(piece)
    if piece == 1:
        os.kill(os.getpid(), signal.SIGKILL)

def refuse(piece):
    print("said", piece, flush=True)
    os.write(1, b"raw"), os.write(2, b"raw")
    raise [OtherSweepError("another"), StorageError("full"), KeyError("ours")][piece]

def share(piece):
    pathlib.Path(f"{piece}.begun").write_text(os.environ["OMP_NUM_THREADS"])
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "work.py").write_text(WORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("work", None)


def start(place: Path, work: str, pieces: int, number: int) -> subprocess.Popen:
    code = f"""
    if __name__ == "__main__":
        import sys, work
        from aectl.cli import conduct, workers
        conduct.prepare()
        try:
            workers.work_through(work.{work}, range({pieces}), {number})
        except KeyboardInterrupt:
            sys.exit(130)
    """
    (place / "parent.py").write_text(textwrap.dedent(code))
    return subprocess.Popen(
        [sys.executable, "parent.py"], cwd=place, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def when_begun(place: Path, pieces: int) -> list[psutil.Process]:
    end = time.monotonic() + 60
    while not all((place / f"{n}.begun").is_file() and (place / f"{n}.begun").read_text() for n in range(pieces)):
        assert time.monotonic() < end
        time.sleep(0.02)
    return [psutil.Process(int((place / f"{n}.begun").read_text())) for n in range(pieces)]


def assert_gone(processes: list[psutil.Process], seconds: float) -> None:
    _, left = psutil.wait_procs(processes, seconds)
    left = [one for one in left if one.status() != psutil.STATUS_ZOMBIE]
    for one in left:
        one.kill()
    assert not left


@pytest.mark.parametrize("work", ["sleep", "train", "deaf"])
def test_workers_end_with_their_parent_when_it_is_killed(place, work):
    parent = start(place, work, 3, 2)
    children = when_begun(place, 2)
    everybody = psutil.Process(parent.pid).children(recursive=True)
    parent.kill()
    assert_gone([*children, *everybody], 4)
    assert parent.communicate()[1] == ""
    assert (place / "0.saved").exists() == (place / "1.saved").exists() == (work == "train")
    assert not (place / "2.begun").exists()


@pytest.mark.parametrize(
    ("number", "group", "status"),
    [(signal.SIGTERM, False, 143), (signal.SIGINT, False, 130), (signal.SIGINT, True, 130),
     (signal.SIGHUP, True, 143)],
)  # fmt: skip
def test_a_signal_to_the_parent_or_to_all_lets_workers_save(place, number, group, status):
    parent = start(place, "train", 2, 2)
    children = when_begun(place, 2)
    (os.killpg if group else os.kill)(parent.pid, number)
    _, err = parent.communicate(timeout=30)
    assert_gone(children, 1)
    assert (parent.returncode, err) == (status, "")
    assert (place / "0.saved").exists()
    assert (place / "1.saved").exists()


def test_a_second_signal_waits_for_nobody(place):
    parent = start(place, "deaf", 2, 2)
    children = when_begun(place, 2)
    parent.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert parent.poll() is None
    parent.send_signal(signal.SIGTERM)
    parent.communicate(timeout=10)
    assert parent.returncode == 143
    assert_gone(children, 1)


def test_who_dies_takes_one_piece_along(place):
    import work

    workers.work_through(work.die_at_1, range(4), 1)
    assert sorted(path.name for path in place.glob("*.begun")) == [f"{n}.begun" for n in range(4)]


def test_what_a_piece_raises_is_raised_here_and_nothing_is_printed(place, capfd):
    import work

    with pytest.raises(OtherSweepError, match="another"):
        workers.work_through(work.refuse, [0], 1)
    with pytest.raises(ValueError, match="full"):
        workers.work_through(work.refuse, [1], 1)
    with pytest.raises(RuntimeError, match=r"KeyError\('ours'\) in another process:\nTraceback"):
        workers.work_through(work.refuse, [2], 1)
    assert capfd.readouterr() == ("", "")
    assert not multiprocessing.active_children()


def test_each_process_has_its_share_of_the_cores(place, monkeypatch):
    import work

    monkeypatch.setattr(workers.load, "cores", lambda: list(range(12)))
    monkeypatch.delenv("OMP_NUM_THREADS")
    workers.work_through(work.share, range(2), 4)
    assert (place / "0.begun").read_text() == "3"


# ------------------------------------------------------------------------------------------- wishes


@pytest.fixture
def unasked(monkeypatch):
    monkeypatch.setattr(signals, "_wished", [])
    monkeypatch.setattr(signals, "_met", [])


def test_a_wish_and_a_signal_are_one_wish(unasked):
    with signals.StopRequest() as request:
        assert request.signal is None
        signals.ask(signal.SIGTERM)
        assert request.signal == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)  # the terminal's, a moment later
        signals.ask(signal.SIGTERM)
        assert request.signal == signal.SIGINT
    with pytest.raises(SystemExit):
        signals.heed()


def test_a_wish_after_a_signal_is_nothing_more(unasked):
    with signals.StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        signals.ask(signal.SIGTERM)
        assert request.signal == signal.SIGINT
    signals.heed()


def test_a_wish_unwinds_what_listens_to_none(unasked):
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signals._unwind)
    try:
        threading.Timer(0.05, signals.ask, [signal.SIGTERM]).start()
        with pytest.raises(SystemExit):
            time.sleep(5)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nobody_follows_a_process_that_is_no_ancestor(monkeypatch):
    monkeypatch.setattr(lifelines, "_held", threading.Event())
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lifelines.follow(other.pid)
    other.kill()
    other.communicate()
    assert not [one for one in threading.enumerate() if one.name == "lifeline"]


def test_a_process_follows_its_parents_parent(tmp_path):
    """As a launcher's does, which knows the number of the process that the sweep began in."""
    code = "import os, time; from aectl.machine import lifelines; lifelines.GRACE = 0.2; lifelines.LOOKS = 0.05\n"
    code += "lifelines.follow({}); print(os.getpid(), flush=True); time.sleep(60)"
    middle = f"import os, subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}.format(os.getppid())])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {middle!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True)
    inner = psutil.Process(int(process.stdout.readline()))
    process.kill()
    assert_gone([inner], 10)
    process.communicate()
