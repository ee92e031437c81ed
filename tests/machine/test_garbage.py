"""Python's search for garbage while torch is imported, and afterwards."""

import gc
import json
import subprocess
import sys

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
