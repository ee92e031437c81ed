"""What is free, budgets that threads share, and what is said of memory that was refused."""

import errno
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from aectl.cli.messages import Task, explain
from aectl.drawing import grids
from aectl.errors import ConfigError, MemoryShortError
from aectl.machine import memory
from aectl.machine.memory import Budget


def test_threads_take_no_more_than_the_budget_together():
    budget, lock = Budget(100), threading.Lock()
    now, most = 0, 0

    def work(size: int) -> None:
        nonlocal now, most
        for _ in range(20):
            with budget.taken(size):
                with lock:
                    now += size
                    most = max(most, now)
                time.sleep(0.0002)
                with lock:
                    now -= size

    threads = [threading.Thread(target=work, args=(size,)) for size in (40, 50, 60, 30, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert 60 <= most <= 100
    assert now == 0


def test_who_holds_some_does_not_wait_so_that_none_waits_for_ever():
    budget = Budget(10)

    def work() -> None:
        for _ in range(50):
            with budget.taken(6), budget.taken(6):
                time.sleep(0.0001)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)


def test_what_is_larger_than_the_budget_goes_alone_and_is_not_overtaken():
    budget, order = Budget(10), []
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with budget.taken(5):
            held.set()
            done.wait(5)

    def take(size: int) -> None:
        with budget.taken(size):
            order.append(size)

    first = threading.Thread(target=hold)
    first.start()
    held.wait(5)
    others = [threading.Thread(target=take, args=(size,)) for size in (50, 4)]
    for thread in others:
        thread.start()
        while not any(budget._asking):
            time.sleep(0.001)
        time.sleep(0.02)
    assert order == []
    done.set()
    for thread in (first, *others):
        thread.join(5)
    assert order == [50, 4]


def test_what_is_not_free_is_refused_with_both_figures_and_leaves_the_budget_whole(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 2**30)
    budget = Budget(100)
    says = r"a\.png would take 2 GiB of memory, and 1 GiB are free"
    with pytest.raises(MemoryShortError, match=says), budget.taken(2**31, lambda: "a.png"):
        raise AssertionError("not reached")
    assert budget._taken == 0
    with budget.taken(2**29):
        pass
    with pytest.raises(
        ConfigError, match=r"^n=100000: would take 4.8 GiB of memory, and 1 GiB are free; choose less$"
    ):
        memory.settle("n=100000", 4.8 * 2**30, "choose less")
    memory.settle("n=100000", 2**29, "choose less")


# ------------------------------------------------------------------------------------ what is free


def test_the_limit_of_a_cgroup_counts_in_both_versions(tmp_path):
    own = tmp_path / "own"
    first = {
        "a/b/memory.max": "1000", "a/b/memory.current": "900", "a/b/memory.stat": "x 1\ninactive_file 300",
        "a/memory.max": "max", "memory.max": "5000", "memory.current": "1", "memory.stat": "y 1",
    }  # fmt: skip
    second = {
        "memory/a/b/memory.limit_in_bytes": "1000", "memory/a/b/memory.usage_in_bytes": "900",
        "memory/a/b/memory.stat": "total_inactive_file 300", "memory/memory.limit_in_bytes": "5000",
        "memory/memory.usage_in_bytes": "1", "memory/memory.stat": "y 1",
    }  # fmt: skip
    for text, files in (("0::/a/b\n", first), ("3:cpu:/\n4:memory:/a/b\n0::/\n", second)):
        mounts = tmp_path / str(len(files))
        for name, value in files.items():
            (mounts / name).parent.mkdir(parents=True, exist_ok=True)
            (mounts / name).write_text(value + "\n")
        own.write_text(text)
        assert sorted(memory._of_cgroups(mounts, own)) == [400, 4999]
    own.write_text("0::/elsewhere/of/the/host\n4:memory:/docker/x\n")
    assert list(memory._of_cgroups(tmp_path / "6", own)) == [4999]
    assert list(memory._of_cgroups(tmp_path / "none", own)) == []
    assert list(memory._of_cgroups(tmp_path, tmp_path / "no such file")) == []


def test_what_ulimit_leaves_counts():
    code = """
import resource
from aectl.machine import memory
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
print(memory.free())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) < 2**31


# ---------------------------------------------------------------------------------- what was refused


def attempt(work) -> BaseException:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        work()
    return caught.value


def told(text: str, kind: type = RuntimeError) -> BaseException:
    return kind(text)


ERRORS = [
    (MemoryError(), "memory was refused"),
    (attempt(lambda: np.empty((2**50,), np.uint8)), "1 PiB of memory were refused"),
    (attempt(lambda: torch.empty(2**50, dtype=torch.uint8)), "1 PiB of memory were refused"),
    (told("not enough memory: you tried to allocate 4294967296 bytes."), "4 GiB of memory were refused"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has 1 GiB"), "20 GiB of"),
    (MemoryError("malloc of size 1048576 failed"), "1 MiB of memory were refused"),
    (told("std::bad_alloc"), "memory was refused"), (told("can't start new thread"), "memory was refused"),
    (OSError(errno.ENOMEM, "Cannot allocate memory", "a.bin"), "memory was refused"),
    (ImportError("libx.so: failed to map segment from shared object"), "memory was refused"),
    (OSError("out of memory error when reading image file"), "memory was refused"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "what"), ERRORS, ids=lambda one: str(one)[:30])
def test_memory_that_was_refused_is_one_line_with_the_figure(tmp_path, error, what):
    for command in ("train", "sample", "denoise", ""):
        status, line = explain(error, Task(command, {"hydra.run.dir": tmp_path / "r"}))
        assert status == 7
        assert line.startswith(f"memory: {what}")
        assert "\n" not in line
        assert " are free; " in line
    (tmp_path / "r/checkpoints/step-00000001").mkdir(parents=True)
    assert "resume=" in explain(error, Task("train", {"hydra.run.dir": tmp_path / "r"}))[1]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        OSError(errno.EIO, "x"),
        ValueError("memory"),
        OSError(errno.EIO, "x", "out of memory.png"),
        OSError("broken data stream when reading image file"),
    ],
)
def test_other_errors_are_not_taken_for_it(error):
    assert memory.refused(error) is None


@pytest.mark.skipif(sys.platform != "linux", reason="where addresses can be limited")
def test_a_font_for_which_there_is_no_memory_is_no_unknown_format():
    code = """
import resource
from pathlib import Path
from aectl.drawing import grids, plots
from aectl.machine import memory
memory.free(), plots.font_file()
held = []
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken, taken))
for size in (2**20, 2**14, 2**9, 2**5):
    try:
        while True:
            held.append(bytearray(size))
    except MemoryError:
        pass
del held[-10000:]
try:
    grids._font(15)
    found = "a font"
except Exception as error:
    found = repr(error)
del held
print(found)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "MemoryError()\n"


@pytest.mark.parametrize(("free", "kind"), [(2**20, MemoryError), (2**40, OSError)])
def test_an_unknown_format_is_a_lack_of_memory_only_where_there_is_one(monkeypatch, free, kind):
    monkeypatch.setattr(memory, "free", lambda: free)
    monkeypatch.setattr(grids.ImageFont, "truetype", unknown_to_it)
    grids._font.cache_clear()
    with pytest.raises(kind):
        grids._font(15)


def unknown_to_it(*given: object) -> None:
    raise OSError("unknown file format")


def test_a_font_that_cannot_be_read_is_the_storages_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(grids.plots, "font_file", lambda: str(tmp_path / "none.ttf"))
    grids._font.cache_clear()
    with pytest.raises(FileNotFoundError):
        grids._font(15)


def test_what_the_failed_functions_held_is_free_when_it_is_told():
    import weakref

    held = []

    def work() -> None:
        large = np.zeros(10)
        held.append(weakref.ref(large))
        raise MemoryError

    try:
        work()
    except MemoryError as error:
        assert held[0]() is not None
        memory.let_go(error)
        assert held[0]() is None
