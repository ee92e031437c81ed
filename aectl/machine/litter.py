"""Memory that Python's collector would give back late."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def freed() -> Iterator[None]:
    """What the block has made and left is freed at its end.

    The parts of a matplotlib figure hold each other, so it is for the collector to free them. While a figure is being
    drawn it passes over it twice, takes it for something that stays, and looks again when a quarter of all objects is
    new: a long run would have some 60 MiB of old figures by then. It costs some milliseconds.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect(1)
        if was_on:
            gc.enable()
