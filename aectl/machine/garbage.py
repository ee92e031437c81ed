"""Python's search for garbage, kept away from what libraries make while they are imported. No torch."""

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
