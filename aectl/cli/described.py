"""What the YAML files say of settings and choices: names, defaults, and the comments that explain them.

A line is `key: value # words`; words that begin with "or a, b" list the other values there are. `# -- title` opens a
section. The first lines of a file say what it is; of these, indented ones are examples. No torch, no Hydra.
"""

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aectl import installed
from aectl.cli import groups

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # that in C where it is built: a tenth of the time
OTHERS = re.compile(r"(?:^|; )or ((?:\w+(?: \([^)]*\))?(?:, )?)+)")  # or a, b (in words), c


@dataclass(frozen=True)
class Setting:
    """A setting as the command line has it: its key, its default as it is typed, and what it means."""

    key: str
    default: str
    words: str

    @property
    def values(self) -> tuple[str, ...]:
        """What it can be, its default first, where that is a closed list; else nothing."""
        if self.default in ("true", "false"):
            return ("true", "false")
        listed = OTHERS.search(self.words)
        if listed is None or not re.fullmatch(r"\w+", self.default):
            return ()
        return (self.default, *re.findall(r"\w+", re.sub(r" \([^)]*\)", "", listed[1])))


@dataclass(frozen=True)
class Section:
    """Settings of a command under a title."""

    title: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Choice:
    """One way to choose in a group: its name, what it is, and its settings."""

    name: str
    words: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Group:
    """What a command chooses among: `noise`, the name of its default, empty for none, and what it is."""

    name: str
    default: str
    words: str


@dataclass(frozen=True)
class _File:
    """A YAML file with its comments."""

    top: yaml.MappingNode
    lines: tuple[str, ...]

    @classmethod
    @functools.cache
    def read(cls, path: Path) -> "_File":
        text = path.read_text(encoding="utf-8")
        return cls(yaml.compose(text, LOADER), tuple(text.splitlines()))

    def node(self, key: str) -> yaml.Node | None:
        return next((value for name, value in self.top.value if name.value == key), None)

    @property
    def header(self) -> list[str]:
        """The comments above the first key, without the mark."""
        first = self.top.value[0][0].start_mark.line
        return [line.removeprefix("#").removeprefix(" ") for line in self.lines[:first] if line.startswith("#")]

    def settings(self) -> tuple[Setting, ...]:
        return tuple(self._within(self.top, ""))

    def sections(self) -> list[Section]:
        """The settings by the titles above them."""
        found: dict[str, list[Setting]] = {}
        for setting, line in self._with_lines(self.top, ""):
            titles = [text[5:] for text in self.lines[:line] if text.startswith("# -- ")]
            found.setdefault(titles[-1] if titles else "settings", []).append(setting)
        return [Section(title, tuple(settings)) for title, settings in found.items()]

    def _within(self, node: yaml.MappingNode, prefix: str) -> list[Setting]:
        return [setting for setting, _ in self._with_lines(node, prefix)]

    def _with_lines(self, node: yaml.MappingNode, prefix: str) -> list[tuple[Setting, int]]:
        found = []
        for name, value in node.value:
            if not prefix and name.value in ("defaults", "hydra", "name") and _is_no_setting(name.value, value):
                continue
            key = prefix + name.value
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                found += self._with_lines(value, f"{key}.")
            else:
                found.append((Setting(key, self._written(value), self.comment(value)), name.start_mark.line))
        return found

    def _written(self, value: yaml.Node) -> str:
        """A value as it is typed on a command line, which wants no spaces."""
        line = self.lines[value.start_mark.line]
        return line[value.start_mark.column : value.end_mark.column].strip().replace(", ", ",")

    def comment(self, value: yaml.Node) -> str:
        """What stands behind a value."""
        return self.lines[value.end_mark.line][value.end_mark.column :].partition("# ")[2].strip()


def _is_no_setting(key: str, value: yaml.Node) -> bool:
    """A choice's own name; of a command `name` is a setting, null if nothing is said."""
    return key != "name" or value.value != "null"


def _of(command: str) -> _File:
    return _File.read(groups.config_dir() / f"{command}.yaml")


def examples_of(command: str) -> list[str]:
    """Lines to type, each with what it does."""
    return [line.strip() for line in _of(command).header if line.startswith("  ")]


def sections_of(command: str) -> list[Section]:
    """A command's own settings, then those that it shares with others."""
    defaults = _of(command).node("defaults")
    shared = [one.value for one in defaults.value if isinstance(one, yaml.ScalarNode)]
    files = [_of(command), *(_of(one) for one in shared if one.startswith("common/"))]
    return [section for file in files for section in file.sections()]


def settings_of(command: str) -> dict[str, Setting]:
    """A command's settings by key, without those of its choices."""
    return {setting.key: setting for section in sections_of(command) for setting in section.settings}


def groups_of(command: str) -> dict[str, Group]:
    """What a command chooses among, in the order of its file."""
    file, found = _of(command), {}
    for entry in file.node("defaults").value:
        if isinstance(entry, yaml.MappingNode):
            ((name, default),) = entry.value
            chosen = "" if default.value == "null" else default.value
            found[name.value] = Group(name.value, chosen, file.comment(default))
    return found


def choices_of(group: str) -> dict[str, Choice]:
    """The choices of a group by name, ours and those of installed packages; `published/row1` is in a folder there."""
    tops = [groups.config_dir(), *installed.folders()]
    found = {}
    for top in tops:
        for path in sorted((top / group).rglob("*.yaml")):
            name = path.relative_to(top / group).with_suffix("").as_posix()
            found.setdefault(name, _choice(group, name, path))
    return {name: found[name] for name in sorted(found, key=lambda name: ("/" in name, name))}


def _choice(group: str, name: str, path: Path) -> Choice:
    file = _File.read(path)
    told = [line for line in file.header if not line.startswith(("@", "  ", f"aectl train {group}="))]
    settings = () if group == "experiment" else file.settings()
    return Choice(
        name, " ".join(told), tuple(Setting(f"{group}.{one.key}", one.default, one.words) for one in settings)
    )


def first_sentence(words: str) -> str:
    """What comes before the first full stop that ends one."""
    return re.split(r"\.(?: |$)", words, maxsplit=1)[0]


def settings_of_choice(group: str, name: str) -> dict[str, Setting]:
    """The settings of a choice by key; nothing for a name that is none, or one that is looked up elsewhere."""
    choice = choices_of(group).get(name)
    inherited: dict[str, Any] = {}
    if choice is not None and not choice.settings:
        inherited = _inherited(group, name)
    return {one.key: one for one in (choice.settings if choice else ())} or inherited


def _inherited(group: str, name: str) -> dict[str, Setting]:
    """Of a preset, such as model=iwae, those of the choice that it begins with."""
    path = groups.config_dir() / group / f"{name}.yaml"
    defaults = _File.read(path).node("defaults") if path.is_file() else None
    first = [one.value for one in defaults.value if isinstance(one, yaml.ScalarNode)] if defaults else []
    return settings_of_choice(group, first[0]) if first else {}
