"""A choice is a small frozen class: its fields are its settings, their annotations types and ranges.

It stands beside its code, in the wing it belongs to; a closed `Table` at the foot of that file lists the classes.
A string from a file or a command line is looked up in such a table, and never names code.
"""

import dataclasses
import math
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from aectl.errors import ConfigError
from aectl.settings import ranges, typed


@dataclass(frozen=True)
class Range:
    """The numbers in [low, high]; `instead` words what is probably meant by one outside, or gives None."""

    low: float
    high: float = math.inf
    instead: Callable[[str, float], str | None] | None = None

    def check(self, key: str, value: float) -> None:
        """Refuse a number outside."""
        if self.instead is not None and (text := self.instead(key, value)):
            ranges.fail(key, value, text)
        ranges.number(key, value, self.low, self.high)


@dataclass(frozen=True)
class OneOf:
    """The names of a table or a tuple."""

    names: Iterable[str]

    def check(self, key: str, value: str) -> None:
        """Refuse another name."""
        ranges.choice(key, value, self.names)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to choose in `group`: a subclass names itself, and is checked whenever it is made.

    Raises:
        ConfigError: a setting is of another type, or out of its range; named as on the command line.
    """

    group: ClassVar[str]
    name: ClassVar[str]

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in dataclasses.fields(self):
            try:
                value = typed.value_of(hints[field.name], getattr(self, field.name), f"{self.group}.{field.name}")
            except ValueError as error:
                raise ConfigError(str(error)) from None
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Refuse settings that do not go together."""

    def to_plain(self) -> dict[str, Any]:
        """Plain data for a file: `name`, then the settings."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)}}


C = TypeVar("C", bound=Choice)


class Table(Generic[C]):
    """The closed list of the choices of a group, by name; a setting `Annotated[Noise, NOISES]` is one of them.

    Args:
        base: the class that has the group's name.
        choices: its choices.
        formerly: what checkpoints of 0.1.0 have for choices that these settings mean nothing to, beside nulls.
    """

    def __init__(self, base: type[C], *choices: type[C], formerly: Mapping[str, Any] | None = None):
        self.group = base.group
        self.formerly = dict(formerly or {})
        self.choices = {choice.name: choice for choice in choices}

    def __iter__(self) -> Iterator[str]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def __getitem__(self, name: str) -> type[C]:
        return self.choices[name]

    def read(self, values: Any) -> C:
        """The choice that plain data describes: `name` and settings.

        What is no setting of this choice is passed over where it is null, or as `formerly` has it: checkpoints of
        0.1.0 list the settings of all choices.

        Raises:
            ConfigError: no such choice, an unknown setting, one that is missing, or a value out of its range.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            raise ConfigError(f"{self.group}: must be a choice with its name and settings, found {str(values)[:40]}")
        ranges.choice(f"{self.group}.name", values["name"], self)
        kind = self.choices[values["name"]]
        fields = {field.name: field for field in dataclasses.fields(kind)}
        given = {
            key: value
            for key, value in values.items()
            if key in fields or (key != "name" and value is not None and value != self.formerly.get(key))
        }
        for key, value in given.items():
            if key not in fields:
                has = f"it has {', '.join(fields)}" if fields else "it has none"
                ranges.fail(f"{self.group}.{key}", value, f"no such setting of {self.group}={kind.name} ({has})")
        for key, field in fields.items():
            if key not in given and field.default is field.default_factory is dataclasses.MISSING:
                ranges.fail(f"{self.group}.{key}", "null", f"{self.group}={kind.name} needs it")
        return kind(**given)
