"""What the folders in the names of pictures say: which official part each is of, and which class."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from aectl.errors import brief

PARTS = ("train", "val", "test")
# Such as train, Training_set, valid, val2017, test-images.
_PART = re.compile(
    r"(?:(train|test)(?:ing)?|(val)(?:id|idation)?)(?:[-_ ]?(?:set|data|images|\d{4}))?", re.IGNORECASE
)
SHOWN = 10  # classes in a line

Folders = tuple[str, ...]  # of a name, from the top


@dataclass(frozen=True)
class Arrangement:
    """Parts and classes of pictures.

    Attributes:
        names: of the pictures.
        parts: train, val or test for each, None for one beside those folders; None where there are no such folders.
        classes: the class of each, None for one outside the folders of the classes; None where there are none.
    """

    names: Sequence[str]
    parts: list[str | None] | None
    classes: list[str | None] | None

    def numbers(self) -> dict[str, int]:
        """The label of each class: their places in the order of their names."""
        return {name: index for index, name in enumerate(sorted({name for name in self.classes or () if name}))}

    def describe(self) -> str:
        """What was found, in a line."""
        phrases = []
        used = range(len(self.names))
        if self.parts is not None:
            of = Counter(self.parts)
            phrases.append("parts by folder: " + ", ".join(f"{part} {of[part]}" for part in PARTS if of[part]))
            used = [index for index in used if self.parts[index] is not None]
            beside = [name for name, part in zip(self.names, self.parts, strict=True) if part is None]
            if beside:
                phrases.append(f"in none of them and left out: {len(beside)}, such as {brief(beside[0])}")
        if self.classes is None:
            return "; ".join([*phrases, "no labels, since no folders tell most of them apart"])
        of = Counter(self.classes[index] for index in used)
        known = [f"{number} {brief(name, 30)} ({of[name]})" for name, number in self.numbers().items()]
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        phrases.append(f"labels by folder: {', '.join(known[:SHOWN])}{more}")
        outside = [self.names[index] for index in used if self.classes[index] is None]
        if outside:
            phrases.append(f"outside of these folders, without a label: {len(outside)}, such as {brief(outside[0])}")
        return "; ".join(phrases)


def arrange(names: Sequence[str]) -> Arrangement:
    """Parts and classes by the folders in the names.

    Parts are folders named train and test, or train and val, beside each other, at the first depth that has them:
    at the top, whatever lies beside them, or below it, if most pictures lie in them. Classes are the folders at the
    first depth where they differ, of the training part if there are parts, once the parts' folders are taken out.
    Pictures that lie higher up are of no class; where they are not the fewer, there are no classes.
    """
    paths = [tuple(name.split("/")[:-1]) for name in names]
    depth = _depth_of_parts(paths)
    parts: list[str | None] | None = None
    if depth is not None:
        parts = [_part(path[depth]) if len(path) > depth else None for path in paths]
        paths = [path[:depth] + path[depth + 1 :] for path in paths]
    of = parts or ["train"] * len(names)
    telling = [path for path, part in zip(paths, of, strict=True) if part == "train"]
    depth = _depth_of_classes(telling)
    if depth is None:
        return Arrangement(names, parts, None)
    classes = [path[depth] if part and len(path) > depth else None for path, part in zip(paths, of, strict=True)]
    return Arrangement(names, parts, classes)


@cache
def _part(folder: str) -> str | None:
    match = _PART.fullmatch(folder)
    return (match[1] or match[2]).lower() if match else None


def _depth_of_parts(paths: Sequence[Folders]) -> int | None:
    numbers: dict[tuple[int, str], int] = {}  # of folders, by their parent's number and their name
    depth, forked, below = 0, False, [(0, path) for path in paths if path]
    while below:
        beside = defaultdict(set)
        for parent, path in below:
            beside[parent].add(_part(path[depth]))
        if any({"train", "val"} <= found or {"train", "test"} <= found for found in beside.values()):
            inside = sum(_part(path[depth]) is not None for _, path in below)
            return depth if not forked or 2 * inside > len(paths) else None
        forked = forked or len({path[depth] for _, path in below}) > 1
        below = [
            (numbers.setdefault((parent, path[depth]), len(numbers) + 1), path)
            for parent, path in below
            if len(path) > depth + 1
        ]
        depth += 1
    return None


def _depth_of_classes(paths: Sequence[Folders]) -> int | None:
    depth, below = 0, [path for path in paths if path]
    while 2 * len(below) > len(paths):
        if len({path[depth] for path in below}) > 1:
            return depth
        depth += 1
        below = [path for path in below if len(path) > depth]
    return None
