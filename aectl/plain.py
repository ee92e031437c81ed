"""JSON and YAML that anybody may have written, as plain data, within limits. The only reader of either.

Plain data is null, true and false, whole numbers of 64 bits, finite numbers, text, lists, and mappings with text as
keys, each once. Nothing in a document stands for more than is written there: YAML has no anchors and no tags here.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aectl.errors import brief

MAX_KEY = 200  # letters
# A name that is not UTF-8 has these of the surrogates for its bytes; others stand for nothing, and cannot be written.
_NO_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff\0]")


@dataclass(frozen=True)
class Limits:
    """What a document may have.

    Attributes:
        size: bytes.
        values: values in all; commas within texts count as well.
        depth: levels of lists and mappings.
        letters: of a text.
    """

    size: int = 4 * 2**20
    values: int = 2**17
    depth: int = 16
    letters: int = 2**16


SMALL = Limits()  # of what holds settings or figures; ours have a few thousand bytes
LINE = Limits(size=2**16, values=2**10, depth=4, letters=2**12)  # of a file with a document in each line


def from_json(data: bytes, limits: Limits = SMALL) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: it is something else, or beyond the limits; says what.
    """
    _check_amount(data, limits)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    return _object(value, limits, "JSON object")


def from_yaml(data: bytes, limits: Limits = SMALL) -> dict[str, Any]:
    """A YAML document that is a mapping.

    Raises:
        ValueError: it is something else, or beyond the limits; says what.
    """
    _check_amount(data, limits)
    return _object(_yaml(data.decode("utf-8"), limits), limits, "mapping")


def value_of(text: str) -> Any:
    """What the right side of an override says, which is a line of YAML.

    Raises:
        ValueError: it cannot be read as one, or is beyond the limits of a line.
    """
    _check_amount(text.encode("utf-8", "surrogatepass"), LINE)
    value = _yaml(text, LINE)
    _check(value, LINE)
    return value


def _check_amount(data: bytes, limits: Limits) -> None:
    """Before anything is made of it: a value takes some twenty times the bytes of `[],`."""
    if len(data) > limits.size:
        raise ValueError(f"is longer than the {limits.size} bytes it may have")
    if sum(map(data.count, (b",", b"[", b"{", b"\n"))) > limits.values:
        raise ValueError(f"has more than the {limits.values} values it may have")


def _object(value: Any, limits: Limits, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"must hold a {what}, found {type(value).__name__}")
    _check(value, limits)
    return value


def _check(value: Any, limits: Limits) -> None:
    """Refuse what is no plain data within the limits."""
    todo = [(value, 0)]
    while todo:
        one, level = todo.pop()
        if isinstance(one, str):
            _check_text(one, limits.letters)
        elif isinstance(one, int | float):
            _check_number(one)
        elif isinstance(one, list | dict):
            if level == limits.depth:
                raise ValueError(f"is nested too deeply, in more than {limits.depth} levels")
            for key in one if isinstance(one, dict) else ():
                if not isinstance(key, str):
                    raise ValueError(f"has the key {brief(key, 40)}, which is no text")
                _check_text(key, MAX_KEY)
            inner = one.values() if isinstance(one, dict) else one
            todo += [(item, level + 1) for item in inner]
        elif one is not None:
            raise ValueError(f"has a {type(one).__name__}, {brief(one, 40)}, where text or a number would stand")


def _check_text(text: str, most: int) -> None:
    if len(text) > most:
        raise ValueError(f"has a text of {len(text)} letters, {brief(text, 40)}; at most {most} are read")
    if not text.isascii() or "\0" in text:
        found = _NO_TEXT.search(text)
        if found is not None:
            raise ValueError(f"has a text with {found[0]!r}, which is no letter")


def _check_number(value: float) -> None:
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"the number {brief(value, 20)} is too large")
    elif value != value or value in (float("inf"), float("-inf")):
        raise ValueError(f"has {value}, which is no number here")


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        result[key] = value
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _whole(text: str) -> int:
    if len(text) > 20:  # with its sign; converting a long one takes long
        raise ValueError(f"the number {text[:20]}... is too large")
    return int(text)


def _yaml(text: str, limits: Limits) -> Any:
    """What a YAML text says, which is looked through first, as it is parsed, before anything is made of it."""
    import yaml  # which help does without

    kind = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(yaml.parse(text, kind), limits)
        loader = kind(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"is no YAML: {brief(error)}") from None
    except OverflowError:
        raise ValueError("has a number that is too large") from None


class _Level:
    """A list or a mapping that is open: the keys of a mapping so far, and whether a key is next."""

    def __init__(self, is_mapping: bool):
        self.keys: set[str] = set()
        self.is_mapping = is_mapping
        self.key_is_next = is_mapping


def _check_events(events: Iterable[Any], limits: Limits) -> None:
    import yaml

    levels: list[_Level] = []
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            levels.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        if event.anchor is not None:  # an alias has one too
            raise ValueError(f"has the anchor or alias {brief(event.anchor, 40)}, which could stand for any number")
        if event.tag is not None:
            raise ValueError(f"has the tag {brief(event.tag, 40)}, and none is read")
        if levels and levels[-1].is_mapping:
            _check_key(levels[-1], event)
        if not isinstance(event, yaml.ScalarEvent):
            if len(levels) == limits.depth:
                raise ValueError(f"is nested too deeply, in more than {limits.depth} levels")
            levels.append(_Level(isinstance(event, yaml.MappingStartEvent)))


def _check_key(level: _Level, event: Any) -> None:
    if level.key_is_next:
        key = getattr(event, "value", None)
        if key is None or key == "<<":
            raise ValueError("has a key that is no text")
        if key in level.keys:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        level.keys.add(key)
    level.key_is_next = not level.key_is_next
