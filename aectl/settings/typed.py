"""Between plain nested data, as files have it, and dataclasses."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from aectl.settings.config import nearest

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain nested dictionaries."""
    return dataclasses.asdict(config)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level, in the style of `noise.sigma`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def from_dict(schema: type[T], data: Mapping[str, Any], where: str) -> T:
    """`schema` from plain data of a file, every type checked; nothing in it is interpolated or called.

    Raises:
        ValueError: an unknown key or a value of the wrong type, named by its place.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a mapping, found {type(data).__name__}")
    hints = typing.get_type_hints(schema)
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in hints:
            raise ValueError(f"{prefix}{key}: no such setting{nearest(str(key), hints)}")
    return schema(**{key: _typed(hints[key], value, f"{prefix}{key}") for key, value in data.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        if value is None:
            return None
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ValueError(f"{where}: must be a list, found {type(value).__name__}")
        return [_typed(typing.get_args(hint)[0], item, where) for item in value]
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any:  # its range says more than a type could
        return value
    if type(value) is not hint:
        raise ValueError(f"{where}: must be {hint.__name__}, found {type(value).__name__}")
    return value


def paths_of(settings: Any, prefix: str = "") -> dict[str, str | None]:
    """Every setting of a command's configuration that is a path, by its key on the command line, and its value."""
    found: dict[str, str | None] = {}
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        if dataclasses.is_dataclass(value):
            found |= paths_of(value, f"{prefix}{one.name}.")
        elif one.metadata.get("path"):
            found[prefix + one.name] = value
    return found
