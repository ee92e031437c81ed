"""Python's search for garbage: while torch is imported, afterwards, and once pictures are drawn."""

import contextlib
import gc
import json
import subprocess
import sys
import weakref

import pytest

from aectl.machine import garbage

WHILE_IMPORTED = """
import gc, json, sys
from aectl.cli import composing

during = 0

def note(phase, found, modules=sys.modules):
    global during
    during += phase == "start" and found["generation"] == 2 and "torch" in modules

gc.callbacks.append(note)
composing.composed("train")
gc.callbacks.remove(note)
found = {"during": during, "on": gc.isenabled(), "kept": gc.get_freeze_count(), "seen": len(gc.get_objects())}
print(json.dumps(found))
"""


def test_what_torch_brings_is_never_searched():
    """No search of everything falls into torch's import; afterwards Python searches again, and not through torch."""
    done = subprocess.run([sys.executable, "-c", WHILE_IMPORTED], capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert found["on"]
    assert found["during"] == 0
    assert found["kept"] > 100_000 > 10 * found["seen"]


def test_a_callers_own_garbage_is_found():
    """Where torch is there already nothing is put out of reach, and a search in the block is one."""
    before = gc.get_freeze_count()
    with garbage.left_alone():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_who_has_switched_it_off_finds_it_off(monkeypatch):
    """A program that does without the search goes on without."""
    monkeypatch.delitem(sys.modules, "torch")
    before = gc.get_freeze_count()
    gc.disable()
    try:
        with garbage.left_alone():
            pass
        assert not gc.isenabled()
        assert gc.get_freeze_count() == before
    finally:
        gc.enable()


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
    assert left(garbage.freed()) is None
    assert gc.isenabled()


def test_the_collector_is_as_before_also_after_an_error():
    gc.disable()
    try:
        with garbage.freed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ZeroDivisionError), garbage.freed():
        raise ZeroDivisionError
    assert gc.isenabled()
