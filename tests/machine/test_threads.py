"""How many threads compute beside other processes, and what is said when a run becomes slow."""

import functools
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import psutil
import pytest
import torch

from aectl.machine import load, threads
from aectl.training.pace import Pace


@dataclass
class Machine:
    """One whose clocks the test moves: seconds, and how many cores we and others take of them."""

    cores: int
    at: float = 0.0
    idle: float = 0.0
    own: float = 0.0

    def passes(self, seconds: float, own: float = 1.0, others: float = 0.0) -> None:
        self.at += seconds
        self.own += own * seconds
        self.idle += (self.cores - own - others) * seconds

    def now(self) -> load.Moment:
        return load.Moment(self.at, self.idle, self.own)


@pytest.fixture
def machine(monkeypatch):
    """Four cores; torch would take all of them."""
    machine = Machine(4)
    monkeypatch.setattr(load, "BEGAN", machine.now())
    monkeypatch.setattr(load, "now", machine.now)
    monkeypatch.setattr(load, "cores", lambda: list(range(machine.cores)))
    monkeypatch.setattr(load.time, "perf_counter", lambda: machine.at)
    monkeypatch.setattr(threads, "_choice", None)
    monkeypatch.setattr(threads, "_of_torch", lambda: 4)
    monkeypatch.setattr(threads, "_allowed", lambda: 4)
    monkeypatch.setattr(threads.time, "sleep", machine.passes)
    yield machine
    threads.keep(1)


def test_what_others_take_is_neither_idle_nor_ours(monkeypatch):
    """Ten seconds of two cores: 4 idle, 1 waiting for a disk, 6 ours, which leaves 9."""
    core = SimpleNamespace(idle=2.0, iowait=0.5, user=7.0)
    times = [[core, core], [SimpleNamespace(idle=4.0, iowait=1.0, user=20.0)] * 2]
    ours = SimpleNamespace(user=0.0, system=0.0)
    process = SimpleNamespace(cpu_times=lambda: ours, cpu_affinity=lambda: [0, 1])
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: times[0])
    monkeypatch.setattr(psutil, "Process", lambda: process)
    monkeypatch.setattr(load.time, "perf_counter", lambda: 100.0)
    before = load.now()
    times[0], ours.user, ours.system = times[1], 5.0, 1.0
    monkeypatch.setattr(load.time, "perf_counter", lambda: 110.0)
    assert load.others(before, load.now()) == pytest.approx((2 * 10 - 4 - 1 - 6) / 10)
    assert load.others(before, before) == 0


def test_a_busy_process_beside_is_seen():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(busy.pid, {load.cores()[0]})
        before = load.now()
        time.sleep(0.5)
        assert load.others(before, load.now()) > 0.3
    finally:
        busy.kill()
        busy.wait()


@pytest.mark.parametrize(
    ("others", "expected"), [(0, 4), (0.5, 4), (0.51, 3), (1, 3), (2.2, 2), (3, 1), (4, 1), (7, 1)]
)  # fmt: skip
def test_as_many_threads_as_have_a_core_to_themselves(machine, others, expected):
    machine.passes(2, own=1, others=min(others, 3))  # while torch is imported
    machine.idle -= 2 * max(0, others - 3)
    threads.compute_with(None)
    assert torch.get_num_threads() == expected


def test_a_container_with_fewer_cores_than_its_machine(machine, monkeypatch):
    monkeypatch.setattr(threads, "_allowed", lambda: 2)
    machine.passes(1)
    threads.compute_with(None)
    assert torch.get_num_threads() == 2


def test_what_was_long_ago_says_nothing_about_now(machine):
    machine.passes(3600, others=3)
    threads.compute_with(None)
    assert machine.at == 3600 + threads.SHORTEST  # it has looked for a moment
    assert torch.get_num_threads() == 4


def test_a_number_that_was_given_stays(machine):
    threads.compute_with(3)
    threads.limit(1)
    machine.passes(60, others=3)
    threads.look()
    assert torch.get_num_threads() == 3


def test_a_step_too_small_to_share_takes_one_thread_and_the_next_run_takes_all(machine):
    for products, expected in ((500_000, 1), (2_200_000, 3), (10**9, 4)):
        machine.passes(1)
        threads.compute_with(None)
        threads.limit(products)
        assert torch.get_num_threads() == expected
        threads.look()


def test_threads_are_worth_what_was_measured_on_two_cores():
    assert [threads.worth(products) for products in (430_000, 1_700_000)] == [1, 2]
    gain = [1 - (1 + 0.153 * x / 2 + 0.054) / (1 + 0.153 * x) for x in (0.43, 1.7, 3.5)]
    assert gain == pytest.approx([-0.02, 0.06, 0.13], abs=0.01)
    for x in (0.43, 1.7, 3.5, 7.0, 20.9, 83.6):
        seconds = {n: 1 + 0.153 * x / n + 0.054 * (n - 1) for n in range(1, 65)}
        assert threads.worth(int(x * 1e6)) == min(seconds, key=seconds.get)


def test_looked_at_again_while_it_computes(machine, caplog):
    """A core that is taken is given up at once; one that is free again is taken after three looks; each is said."""
    caplog.set_level("INFO")
    machine.passes(1)
    threads.compute_with(None)
    for others, expected in ((0, 4), (2, 2), (0, 2), (0, 2), (0, 4), (0, 4), (1, 3), (0, 3), (1, 3), (0, 3), (0, 3)):
        machine.passes(threads.LOOK, own=1, others=others)
        threads.look()
        threads.look()  # too soon to see anything
        assert torch.get_num_threads() == expected
    assert caplog.messages == [
        "computing with 2 threads: other processes take 2.0 of 4 cores",
        "computing with 4 threads again: other processes take 0.0 of 4 cores",
        "computing with 3 threads: other processes take 1.0 of 4 cores",
    ]


def test_fewer_threads_from_the_start_are_said_at_the_first_look(machine, caplog):
    caplog.set_level("INFO")
    machine.passes(1, others=3)
    threads.compute_with(None)
    threads.look()
    threads.look()
    assert caplog.messages == ["computing with 1 thread: other processes take 3.0 of 4 cores"]


# ------------------------------------------------------------------------------------------- in parallel


def test_calls_in_parallel_answer_in_their_order_each_with_one_thread():
    torch.set_num_threads(3)
    running, most, lock = set(), [], threading.Lock()

    def call(n):
        with lock:
            running.add(n)
            most.append(len(running))
        time.sleep(0.05 if n % 3 else 0.15)
        with lock:
            running.remove(n)
        return n, torch.get_num_threads()

    found = list(threads.in_parallel(functools.partial(call, n) for n in range(12)))
    assert found == [(n, 1) for n in range(12)]
    assert max(most) == 3
    assert torch.get_num_threads() == 3


def test_an_error_in_a_parallel_call_is_raised_and_the_threads_are_as_before():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError):
        list(threads.in_parallel([lambda: 1, lambda: 1 / 0, lambda: 2]))
    assert torch.get_num_threads() == 2


def test_parallel_calls_are_as_many_beside_other_processes(machine, caplog):
    """They do not wait for each other. After them it is as before."""
    caplog.set_level("INFO")
    machine.passes(1, others=3)
    threads.compute_with(None)
    assert torch.get_num_threads() == 1
    together = threading.Barrier(4, timeout=10)

    def call():
        together.wait()
        machine.passes(threads.LOOK, own=1, others=1)
        threads.look()  # as what evaluates does, between its batches
        return torch.get_num_threads()

    assert list(threads.in_parallel(8 * [call])) == 8 * [1]
    assert caplog.messages == []
    assert torch.get_num_threads() == 1
    for _ in range(threads.FREE_AGAIN):
        machine.passes(threads.LOOK, own=1, others=1)
        threads.look()
    assert torch.get_num_threads() == 3


# ------------------------------------------------------------------------------------------------ pace


def trains(pace: Pace, machine: Machine, seconds: float, rate: float, own: float = 1.0, others: float = 0.0) -> None:
    """An epoch of that many seconds, with looks ten times a second, and something else after it."""
    pace.go()
    for _ in range(round(10 * seconds)):
        machine.passes(0.1, own, others)
        pace.count(round(rate / 10))
        pace.look()
    machine.passes(5)


@pytest.mark.parametrize(
    ("own", "others", "reason"),
    [
        (0.6, 1.2, "other processes take 1.2 of 4 cores"),
        (0.2, 0.1, "this process computes 20% of the time, and waits for the rest: for its images, for memory, or "
                   "because it was stopped"),
        (1.0, 0.0, "no other process is to be seen; the processor itself is slower: hot, or shared with other "
                   "machines"),
    ],
)  # fmt: skip
def test_a_fall_to_a_third_is_said_once_with_its_reason(machine, caplog, own, others, reason):
    pace = Pace()
    for _ in range(8):
        trains(pace, machine, 0.5, 1000)  # epochs shorter than a window
    trains(pace, machine, 4, 400)
    assert not caplog.messages
    for _ in range(3):
        trains(pace, machine, 4, 300, own, others)
    assert caplog.messages == [f"note: 300 images/s, after 1000 before: {reason}"]
    trains(pace, machine, 4, 900)
    trains(pace, machine, 4, 300, own, others)
    assert len(caplog.messages) == 2
