"""A page for each command and each group of choices, written from the YAML files and their comments."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from mkdocs.structure.files import File, Files

from aectl.cli import described
from aectl.cli.described import Choice, Group, Setting
from aectl.commands.table import COMMANDS

HEAD = "| {} | default | what it is |\n|---|---|---|\n"


def plain(words: str) -> str:
    """Words of a comment as Markdown that shows them as they are, also in a table."""
    return re.sub(r"([\\`*_\[\]$|])", r"\\\1", words).replace("<", "&lt;")


def sentence(words: str) -> str:
    """With a capital letter and a full stop."""
    return f"{plain(words[:1].upper() + words[1:]).rstrip('.')}." if words else ""


def table(kind: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Rows of what is typed, its default, and words."""
    return HEAD.format(kind) + "".join(f"| {typed} | {default} | {words} |\n" for typed, default, words in rows)


def of_settings(settings: Iterable[Setting]) -> str:
    """Settings with default and meaning."""
    return table("setting", ((f"`{one.key}=`", f"`{one.default}`", plain(one.words)) for one in settings))


def of_groups(chosen: Iterable[Group]) -> str:
    """Groups of choices, each with a link to its page."""
    rows = ((f"[`{one.name}=`](../choices/{one.name}.md)", one.default and f"`{one.default}`", one) for one in chosen)
    return table("choice", ((link, default, plain(one.words)) for link, default, one in rows))


def command_page(name: str) -> str:
    """What a command does, lines to type, what it chooses among, and its settings by title."""
    parts = [f"# aectl {name}", sentence(COMMANDS[name].words)]
    if examples := described.examples_of(name):
        parts.append("".join(f"    {example}\n" for example in commented(examples)))
    if chosen := described.groups_of(name):
        parts += ["## Choices", of_groups(chosen.values())]
    for section in described.sections_of(name):
        parts += [f"## {plain(section.title[:1].upper() + section.title[1:])}", of_settings(section.settings)]
    return "\n\n".join(parts)


def commented(examples: Iterable[str]) -> Iterator[str]:
    """Examples whose explanations can be typed with them."""
    parted = [re.split(r" {3,}", example, maxsplit=1) for example in examples]
    width = max(len(line) for line, *_ in parted)
    return (f"{line:{width}}  # {does[0]}" if does else line for line, *does in parted)


def group_page(group: Group) -> str:
    """Each choice of a group with its settings."""
    parts = [f"# {group.name}=", sentence(group.words)]
    if group.default:
        parts.append(f"The default is `{group.name}={group.default}`.")
    return "\n\n".join([*parts, *(one_choice(group, choice) for choice in described.choices_of(group.name).values())])


def one_choice(group: Group, choice: Choice) -> str:
    """A choice's name, what it is, and its settings; of a preset those of what it begins with."""
    settings = described.settings_of_choice(group.name, choice.name).values()
    parts = [f"## {group.name}={choice.name}", plain(choice.words), of_settings(settings) if settings else ""]
    return "\n\n".join(part for part in parts if part)


def overview() -> str:
    """All commands in a table."""
    rows = "".join(
        f"| [`aectl {name}`](commands/{name}.md) | {sentence(COMMANDS[name].words)} |\n" for name in COMMANDS
    )
    return (
        f"# Commands and settings\n\n| command | what it does |\n|---|---|\n{rows}\n"
        "Each page lists what `aectl <command> --help` does. Choices of `aectl train`:\n\n"
        + of_groups(all_groups()).replace("](../", "](")
    )


def all_groups() -> list[Group]:
    """What `aectl train` chooses among, which is all that there is."""
    return list(described.groups_of("train").values())


def pages() -> dict[str, str]:
    """The text of each page by its place."""
    commands = {f"reference/commands/{name}.md": command_page(name) for name in COMMANDS}
    choices = {f"reference/choices/{one.name}.md": group_page(one) for one in all_groups()}
    return {"reference/index.md": overview(), **commands, **choices}


def on_config(config: Any) -> None:
    """Put the pages first in the reference."""
    reference = next(part["Reference"] for part in config.nav if "Reference" in part)
    commands = [{f"aectl {name}": f"reference/commands/{name}.md"} for name in COMMANDS]
    choices = [{f"{one.name}=": f"reference/choices/{one.name}.md"} for one in all_groups()]
    reference[:0] = ["reference/index.md", {"Commands": commands}, {"Choices": choices}]


def on_files(files: Files, config: Any) -> Files:
    """The pages beside those of docs/."""
    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    return files
