"""`aectl <command> --help [word]`: what a command takes, a group of choices in full, or one setting."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from aectl.cli import described, groups
from aectl.cli.described import Choice, Group, Setting
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError
from aectl.settings.ranges import nearest

WIDEST = 100  # characters of a line
LEAST = 36  # of them for words beside something
HYDRA = (
    ("-m", "a sweep: settings with several values, parted by commas, are tried in every combination"),
    ("--cfg job", "print the settings that this line composes, and do nothing"),
    ("--cfg hydra", "print Hydra's own, such as hydra.run.dir, the folder of what is made"),
    ("--info", "where each setting comes from"),
    ("--hydra-help", "Hydra's own help"),
    ("-sc install=bash", "aectl -sc install=bash prints what makes TAB work; or zsh, fish"),
)  # fmt: skip


def page(command: str, words: Sequence[str]) -> str:
    """What `aectl <command> <words>` prints, of which one is `--help`.

    Raises:
        ConfigError: a word names nothing that the command has.
    """
    topics = [word for word in words if not word.startswith("-") and "=" not in word]
    chosen = dict(word.partition("=")[::2] for word in words if "=" in word)
    if not topics:
        return _lines(_overview(command, chosen))
    return _lines(line for topic in topics for line in _topic(command, topic, chosen))


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _overview(command: str, chosen: dict[str, str]) -> Iterable[str]:
    kinds = "[choice=name ...] [setting=value ...] [-m]" if command == "train" else "[setting=value ...]"
    yield from _wrapped(COMMANDS[command].words, f"aectl {command}: ")
    yield ""
    yield from _wrapped(f"{kinds} [--help [word]]", f"usage: aectl {command} ")
    yield ""
    for line in described.examples_of(command):
        example, _, does = line.partition("   ")
        yield from _row(f"  {example}", does.strip(), 50)
    if chosen_among := described.groups_of(command):
        first = next(iter(chosen_among))
        yield ""
        yield from _wrapped(f"(aectl {command} --help {first}: each of a kind, and its settings)", "choices ")
        for group in chosen_among.values():
            yield from _group_line(group)
    sections = described.sections_of(command)
    wide = 4 + max(len(one.key) for section in sections for one in section.settings)
    for section in sections:
        yield from ("", section.title)
        for setting in section.settings:
            yield from _setting(setting, wide)
    for group in chosen_among:
        if group in chosen and (own := described.settings_of_choice(group, chosen[group])):
            yield from ("", f"{group}={chosen[group]}")
            for setting in own.values():
                yield from _setting(setting, wide)
    yield from ("", f"Hydra's own flags: aectl {command} --help hydra")


def _group_line(group: Group) -> Iterable[str]:
    names = sorted(groups.names_of(group.name))
    if group.default:
        names = [f"{group.default} (default)", *(name for name in names if name != group.default)]
    within = sorted({name.partition("/")[0] for name in names if "/" in name})
    names = [name for name in names if "/" not in name] + [f"{folder}/..." for folder in within]
    yield from _row(f"  {group.name}", f"{group.words}: {', '.join(names)}", 14)


def _setting(setting: Setting, wide: int, indent: int = 2) -> Iterable[str]:
    """A setting's line: its key, from `wide` on its default, and what it means."""
    default = "(must be given)" if setting.default == "???" else setting.default
    left = f"{' ' * indent}{setting.key}".ljust(wide) + default
    yield from _row(left, setting.words, wide + 10)


def _row(left: str, right: str, column: int) -> Iterable[str]:
    """`left`, and `right` wrapped from `column` on; below it where `left` reaches there, or little room is left."""
    if _width() - column < LEAST:
        yield left
        column = 6
    elif len(left) < column - 1:
        yield from _wrapped(right, left.ljust(column), column)
        return
    else:
        yield left
    yield from _wrapped(right, " " * column, column)


def _wrapped(text: str, first: str, column: int = 2) -> Iterable[str]:
    """`text` after `first`, and from `column` on in further lines."""
    return textwrap.wrap(
        text, _width(), initial_indent=first, subsequent_indent=" " * column, break_on_hyphens=False
    ) or [first]  # fmt: skip


def _width() -> int:
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)


# -------------------------------------------------------------------------------------- one word


def _topic(command: str, topic: str, chosen: dict[str, str]) -> Iterable[str]:
    among, settings = described.groups_of(command), described.settings_of(command)
    if topic == "hydra":
        return (line for flag, words in HYDRA for line in _row(f"  {flag}", words, 22))
    if topic in among:
        return _presets(among[topic]) if topic == "experiment" else _choices(among[topic])
    if found := [one for key, one in settings.items() if key == topic or key.startswith(f"{topic}.")]:
        return (line for one in found for line in _setting(one, 4 + max(len(each.key) for each in found)))
    group, dot, _ = topic.partition(".")
    if dot and group in among:
        having = {
            name: choice for name, choice in described.choices_of(group).items()
            if any(one.key == topic for one in choice.settings)
        }  # fmt: skip
        if having:
            return _of_choices(topic, group, having)
    within = {
        one.key for group in among for choice in described.choices_of(group).values() for one in choice.settings
    }
    names = {*among, *settings, *within}
    raise ConfigError(
        f"{topic}: aectl {command} has no such setting or choice{nearest(topic, names)} "
        f"(aectl {command} --help lists them)"
    )


def _presets(group: Group) -> Iterable[str]:
    yield from _wrapped(group.words, f"{group.name}: ")
    for name, choice in described.choices_of(group.name).items():
        yield from ("", f"  {group.name}={name}")
        yield from _row("", described.first_sentence(choice.words), 6)


def _choices(group: Group) -> Iterable[str]:
    """Every choice with its settings; those that all have, once at the end."""
    choices = described.choices_of(group.name)
    common = _common(choices.values())
    keys = [one.key for choice in choices.values() for one in choice.settings]
    wide = 8 + max(map(len, keys), default=0)
    yield from _wrapped(f"{group.words} (default: {group.default})", f"{group.name}: ")
    for name, choice in choices.items():
        yield ""
        yield from _row(f"  {group.name}={name}", choice.words, 6 + len(group.name) + max(map(len, choices)))
        for setting in choice.settings:
            if setting not in common:
                yield from _setting(setting, wide, 4)
    if common:
        yield from ("", "  each of them")
        for setting in common:
            yield from _setting(setting, wide, 4)


def _common(choices: Iterable[Choice]) -> list[Setting]:
    """The settings that all of several choices have, with one default and meaning."""
    first, *others = choices
    return [one for one in first.settings if others and all(one in other.settings for other in others)]


def _of_choices(key: str, group: str, having: dict[str, Choice]) -> Iterable[str]:
    """One setting, as each choice that has it says it."""
    for name, choice in having.items():
        yield f"{group}={name}"
        yield from (line for one in choice.settings if one.key == key for line in _setting(one, len(key) + 4))
