"""What a run of `aectl train` costs, from inside; a process of its own, which growth.py starts.

    python benchmarks/one_run.py <override>...

trains to the end of the second epoch and prints a line of JSON: seconds to the first step, imports not counted; of a
step and of an epoch's end in the second epoch; and the process's peak memory in MiB. Seconds are those of processor
time, on one thread: on a machine that does other work as well, they wander less than those of a clock.
"""

import contextlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aectl.cli.composing import composed
from aectl.training import loop

MOMENTS: list[float] = []  # when an epoch's steps begin and when they are made, in turn
STEPS: list[int] = []


def watched(*given: Any) -> Iterator[Any]:
    """The batches of an epoch, until the third."""
    MOMENTS.append(time.process_time())
    if len(STEPS) == 2:
        raise SystemExit
    STEPS.append(0)
    for batch in FEED(*given):
        yield batch
        STEPS[-1] += 1
    MOMENTS.append(time.process_time())


FEED, loop.rest_of_epoch = loop.rest_of_epoch, watched


def main() -> None:
    """Train and print."""
    began = time.process_time()
    settings = ("epochs=3", "figures_every=0", "threads=1", *sys.argv[1:])
    with tempfile.TemporaryDirectory() as name, contextlib.suppress(SystemExit):
        loop.train(composed("train", *settings), Path(name) / "run")
    first, _, second, made, third = MOMENTS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"start": first - began, "step": (made - second) / STEPS[1], "end": third - made, "memory": peak}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
