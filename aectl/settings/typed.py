"""Between plain nested data, as files have it, and dataclasses."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from aectl.settings.ranges import nearest, shown

T = TypeVar("T")


class Unsaved(str):
    """Text that is used but reaches no file, such as a path from the environment."""


class Open:
    """A class of a file that only describes: what a newer version has said beside is passed over by `from_dict`."""


def to_dict(config: Any) -> Any:
    """A dataclass as plain nested dictionaries and lists, for a file; null in the place of what is `Unsaved`."""
    if isinstance(config, Unsaved):
        return None
    if hasattr(config, "to_plain"):
        return to_dict(config.to_plain())
    if dataclasses.is_dataclass(config):
        return {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {key: to_dict(value) for key, value in config.items()}
    return [to_dict(item) for item in config] if isinstance(config, list | tuple) else config


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

    Keys that it has not are refused, since they may mean something: but for a class that is `Open` they are passed
    over.

    Raises:
        ValueError: a key that is unknown or missing, or a value of the wrong type, named by its place.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a mapping, found {type(data).__name__}")
    hints = typing.get_type_hints(schema, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, schema))}
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in fields and not issubclass(schema, Open):
            raise ValueError(f"{prefix}{key}: no such setting{nearest(str(key), fields)}")
    for name, field in fields.items():
        if name not in data and field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{prefix}{name}: is missing")
    known = {key: value for key, value in data.items() if key in fields}
    return schema(**{key: value_of(hints[key], value, f"{prefix}{key}") for key, value in known.items()})


WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def value_of(hint: Any, value: Any, where: str) -> Any:
    """`value` of plain data as the type `hint`; what `Annotated` says beside a type checks it, or reads it.

    Raises:
        ValueError: it is of another type; `where` names its place.
    """
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if value is None:
            return None
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
    if typing.get_origin(hint) is typing.Annotated:
        hint, *checks = typing.get_args(hint)
        if hasattr(checks[0], "read"):  # a table of choices
            return checks[0].read(value)
        value = value_of(hint, value, where)
        for one in checks:
            one.check(where, value)
        return value
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if not any(type(value) is type(one) and value == one for one in choices):  # 1.0 and true equal 1
            names = [str(one) for one in choices]
            raise ValueError(
                f"{where}={shown(value)}: no such choice{nearest(str(value), names)} (choices: {', '.join(names)})"
            )
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ValueError(f"{where}={shown(value)}: must be a list, such as [a,b]")
        return [value_of(typing.get_args(hint)[0], item, where) for item in value]
    if typing.get_origin(hint) is dict:  # by names that nobody knows before
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}={shown(value)}: must be a mapping")
        return {key: value_of(typing.get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any:  # its range says more than a type could
        return value
    if type(value) is not hint:
        raise ValueError(f"{where}={shown(value)}: must be {WORDS.get(hint, hint.__name__)}")
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


def hints_of(schema: type, prefix: str = "") -> dict[str, Any]:
    """The keys on the command line of a class of settings, and their types; those of a choice are its name alone."""
    found: dict[str, Any] = {}
    for key, hint in typing.get_type_hints(schema).items():
        found |= hints_of(hint, f"{prefix}{key}.") if dataclasses.is_dataclass(hint) else {prefix + key: hint}
    return found


def path_keys(schema: type, prefix: str = "") -> list[str]:
    """The keys on the command line of settings that are paths, those of choices as their field names them."""
    found = []
    hints = typing.get_type_hints(schema)
    for one in dataclasses.fields(schema):
        if dataclasses.is_dataclass(hints[one.name]):
            found += path_keys(typing.cast(type, hints[one.name]), f"{prefix}{one.name}.")
        elif one.metadata.get("path"):
            found.append(prefix + one.name)
        else:  # a choice that is plain data yet
            found += [f"{prefix}{one.name}.{name}" for name in one.metadata.get("paths", ())]
    return found
