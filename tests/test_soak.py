"""What `make soak` says of made-up runs."""

import pytest
import soak
from soak import Look


def run(memory=lambda i: 300.0, files=lambda i: 20, cost=lambda i: 30.0):
    """Forty looks; `cost` is in milliseconds an epoch, and every second look has pictures behind it."""
    looks, seconds = [], 3.0
    for i in range(40):
        seconds += soak.EVERY * cost(i) / 1e3 + i % 2 * 0.5
        looks.append(Look((i + 1) * soak.EVERY, memory(i), files(i), seconds))
    return looks


def test_a_steady_run_passes_whatever_its_beginning_is_like():
    """It loads what draws pictures in its first hundred epochs; the machine is half as fast for a while."""
    looks = run(
        lambda i: 200.0 if i < 3 else 300.0 + i % 2 * 5, lambda i: 30 if i < 2 else 20, lambda i: 30 + 30 * (i == 33)
    )
    assert soak.grown(looks) == []


@pytest.mark.parametrize(
    ("grows", "line"),
    [({"memory": lambda i: 300 + i}, "memory grows: 308 MiB in the first quarter, 335 MiB in the last"),
     ({"memory": lambda i: 300 + 0.5 * i}, None),  # 14 MiB, less than 5 % and 10 MiB
     ({"files": lambda i: 20 + i // 20}, None),
     ({"files": lambda i: 20 + i // 10}, "open files grow: 20 in the first quarter, 23 in the last"),
     ({"cost": lambda i: 30 + i}, "an epoch takes longer: 43.0 ms in the first quarter, 70.0 ms in the last"),
     ({"cost": lambda i: 30 + 0.3 * i}, None)],
)  # fmt: skip
def test_what_grows_is_said(grows, line):
    assert soak.grown(run(**grows)) == ([] if line is None else [line])
