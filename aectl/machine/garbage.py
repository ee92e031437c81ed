"""When Python searches for garbage: not while libraries are imported, and soon after pictures are drawn. No torch."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def left_alone() -> Iterator[None]:
    """No search in the block, which imports torch, and none afterwards through what was there at its end.

    Importing makes 300,000 objects that stay, and no garbage. Python would look through all of them again and again
    meanwhile, and before it exits: to import aectl's training and do nothing takes 2.3 s of CPU time, so 1.5 s. Where
    torch is there already, the caller's own objects are as well, which may become garbage: nothing is done then.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


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
