"""A choice is a small frozen class: its fields are its settings, their annotations types and ranges.

It stands beside its code, in the wing it belongs to; a closed `Table` at the foot of that file lists the classes, and
has those beside them that installed packages offer (`aectl.installed`). A string from a file or a command line is
looked up in such a table, and never names code.
"""

import dataclasses
import logging
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from aectl import installed
from aectl.errors import ConfigError, brief
from aectl.settings import ranges, typed
from aectl.settings.ranges import nearest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Range:
    """The numbers in [low, high], or (low, high] with `open_low`.

    `instead` words what is probably meant by one outside, or gives None.
    """

    low: float
    high: float = ranges.LARGEST
    instead: Callable[[str, float], str | None] | None = None
    open_low: bool = False

    def check(self, key: str, value: float) -> None:
        """Refuse a number outside."""
        if self.instead is not None and (text := self.instead(key, value)):
            ranges.fail(key, value, text)
        ranges.number(key, value, self.low, self.high, open_low=self.open_low)


@dataclass(frozen=True)
class OneOf:
    """The names of a table or a tuple."""

    names: Iterable[str]

    def check(self, key: str, value: str) -> None:
        """Refuse another name."""
        ranges.choice(key, value, self.names)


@dataclass(frozen=True)
class Checked:
    """What `check`, a function of key and value, does not refuse."""

    check: Callable[[str, Any], None]


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


ABSENT = "a package that is not installed here may have offered it"

C = TypeVar("C", bound=Choice)


class Table(Generic[C]):
    """The choices of a group by name, ours and those of installed packages.

    A setting `Annotated[Noise, NOISES]` is one of them. Names come from the packages' metadata; the class of an
    installed choice is imported when it is asked for, and what is wrong with it is said then.

    Args:
        base: the class that has the group's name.
        choices: ours.
        formerly: what checkpoints of 0.1.0 have for choices that these settings mean nothing to, beside nulls.
    """

    def __init__(self, base: type[C], *choices: type[C], formerly: Mapping[str, Any] | None = None):
        self.base = base
        self.group = base.group
        self.formerly = dict(formerly or {})
        self.choices = {choice.name: choice for choice in choices}

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.choices, *installed.names(self.group))))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> type[C]:
        """The class of a choice.

        Raises:
            KeyError: there is no such choice.
            ConfigError: an installed package offers it, and it cannot be used.
        """
        if name in self.choices:
            return self.choices[name]
        if not (offers := installed.offers(self.group, name)):
            raise KeyError(name)
        self._check_owner(name)
        return self._imported(name, offers[0])

    def usable(self) -> list[type[C]]:
        """The class of every choice; installed ones that cannot be used are left out, with a warning in the log."""
        found = []
        for name in self:
            try:
                found.append(self[name])
            except ConfigError as error:
                log.warning("left out: %s", error)
        return found

    def read(self, values: Any) -> C:
        """The choice that plain data describes: `name` and settings.

        What is no setting of this choice is passed over where it is null, or as `formerly` has it: checkpoints of
        0.1.0 list the settings of all choices.

        Raises:
            ConfigError: no such choice, or one of no use; a setting that is unknown, missing or out of its range.
        """
        if not isinstance(values, Mapping) or not isinstance(values.get("name"), str):
            raise ConfigError(f"{self.group}: must be a choice with its name and settings, found {str(values)[:40]}")
        name = values["name"]
        if name not in self:
            known = f"{nearest(name, self)} (choices: {', '.join(self)})"
            ranges.fail(f"{self.group}.name", name, f"no such choice{known}; {ABSENT}")
        self._check_owner(name)
        kind = self[name]
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

    def _check_owner(self, name: str) -> None:
        """Refuse a name that more than one has given: which of them was meant, nobody can say."""
        packages = [offer.package for offer in installed.offers(self.group, name)]
        where = f"{self.group}={name}"
        if packages and name in self.choices:
            raise ConfigError(f"{where}: is aectl's own, and {packages[0]} offers another of that name; uninstall it")
        if len(packages) > 1:
            raise ConfigError(f"{where}: is offered by {' and by '.join(packages)}; uninstall all but one")

    def _imported(self, name: str, offer: installed.Offer) -> type[C]:
        """The class that an installed package offers, imported, if it is a choice of this group by that name."""
        where = f"{self.group}={name}: {offer.entry.value} of {offer.package}"
        remedy = "mend or uninstall that package"
        try:
            kind = offer.load()
        except Exception as error:  # whatever somebody else's module does
            raise ConfigError(
                f"{where} cannot be imported ({type(error).__name__}: {brief(error)}); {remedy}"
            ) from error
        if not (isinstance(kind, type) and issubclass(kind, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise ConfigError(f"{where} is no subclass of {base}; {remedy}")
        if getattr(kind, "name", None) != name:
            raise ConfigError(f"{where} has the name {brief(getattr(kind, 'name', None), 40)!r}; {remedy}")
        if "__dataclass_fields__" not in vars(kind):
            raise ConfigError(f"{where} is no dataclass, so it would have no settings of its own; {remedy}")
        return kind
