"""Pictures of the same scenes in two places, found by their names."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence

from aectl.errors import brief
from aectl.files.listing import Entry


def partners(ours: Sequence[Entry], theirs: Sequence[Entry]) -> list[Entry | str]:
    """For each of `ours` the one of `theirs` that has its name, or the reason why there is none.

    Where none has its whole name, the only one that differs in the suffix alone, `a.tif` for `a.png`, is taken,
    unless another of `ours` could claim it as well.
    """
    named = {entry.name: entry for entry in theirs}
    without = {entry.name for entry in ours}
    claiming = _by_stem(entry for entry in ours if entry.name not in named)
    offered = _by_stem(entry for entry in theirs if entry.name not in without)

    def of(entry: Entry) -> Entry | str:
        if entry.name in named:
            return named[entry.name]
        rivals, found = claiming[_stem(entry)], offered[_stem(entry)]
        if len(rivals) == len(found) == 1:
            return found[0]
        if not found:
            return "none has its name"
        return f"which is its is not clear: {brief(', '.join(one.name for one in (*rivals, *found)), 200)}"

    return [of(entry) for entry in ours]


def _stem(entry: Entry) -> str:
    return os.path.splitext(entry.name)[0]  # noqa: PTH122


def _by_stem(entries: Iterable[Entry]) -> defaultdict[str, list[Entry]]:
    found = defaultdict(list)
    for entry in entries:
        found[_stem(entry)].append(entry)
    return found
