import contextlib
import gc
import weakref

import pytest

from aectl.machine import litter


class Ring:
    """Something that holds itself, as figures do."""

    def __init__(self):
        self.self = self


@pytest.fixture
def seldom():
    """The collector looks at what has grown old never, and at the rest often."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(50, 2, 10_000)
    yield
    gc.set_threshold(*before)


def left(block):
    """What a ring leaves that lives while many objects are made: itself, or nothing."""
    found = []
    with block:
        ring = Ring()
        found.append(weakref.ref(ring))
        kept = [[] for _ in range(5000)]
        assert len(kept) == 5000
        del ring
    return found[0]()


def test_what_a_block_leaves_is_freed_at_its_end(seldom):
    assert left(contextlib.nullcontext()) is not None, "without it, it stays"
    assert left(litter.freed()) is None
    assert gc.isenabled()


def test_the_collector_is_as_before_also_after_an_error():
    gc.disable()
    try:
        with litter.freed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ZeroDivisionError), litter.freed():
        raise ZeroDivisionError
    assert gc.isenabled()
