"""What people type that is no override, and the line that they mean by it.

That line is said, not run, even where a single one can be meant: it is what notes, scripts and a run's `config.yaml`
keep, every setting has one form, and a wrong guess costs no training and writes no file. What is only asked for
(`aectl help train`, `aectl version`) is answered.
"""

import re
from collections.abc import Sequence

from aectl import shell
from aectl.cli import bare, groups, paths
from aectl.cli.mending import DASHED, MENDINGS, Words, without_dash
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, brief
from aectl.settings.ranges import nearest

MULTIRUN = ("-m", "--multirun")
OWN_CONFIGS = ("-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir")
# Hydra's flags that take a word.
VALUED = ("-c", "--cfg", "-i", "--info", "-p", "--package", *OWN_CONFIGS)


def check(command: str, words: Sequence[str]) -> None:
    """Refuse what is no override, or one of two meanings, with the line to paste in its place.

    Raises:
        ConfigError: says which word, why, and the line.
    """
    mended, flags = parted(command, words)
    if {flag.partition("=")[0] for flag in flags} & set(OWN_CONFIGS):
        return  # which may have settings and choices that only Hydra knows
    reason = ""
    for why, mend in MENDINGS.items():
        before, mended = mended, mend(command, mended)
        if before != mended:
            reason = reason or f"{_odd(before, mended)}: {why}"
    if reason:
        raise ConfigError(f"{reason}; try: {_line(command, flags, mended)}")
    if not set(MULTIRUN) & set(flags):
        _refuse_several_values(command, flags, mended)


def parted(command: str, words: Sequence[str]) -> tuple[Words, Words]:
    """The overrides among the words, and Hydra's flags with what they take."""
    flags, others, left = Words(), Words(), list(words)
    while left:
        word = left.pop(0)
        if not _is_flag(command, word):
            others.append(word)
            continue
        flags.append(word)
        if word in VALUED and left and not left[0].startswith("-") and (word in OWN_CONFIGS or "=" not in left[0]):
            flags.append(left.pop(0))  # a folder may be called anything
    return others, flags


def notes(words: Sequence[str]) -> list[str]:
    """A line for each setting that is given several values, of which the last counts, as a script's defaults want."""
    values: dict[str, set[str]] = {}
    last = {}
    for word in words:
        key, sign, value = word.partition("=")
        if sign:
            values.setdefault(key, set()).add(value)
            last[key] = word
    return [f"note: {key} is given more than once; {last[key]} counts" for key in last if len(values[key]) > 1]


def no_command(words: Sequence[str]) -> ConfigError:
    """What to say where the first word is no command."""
    first, *rest = words
    if first == "tensorboard":
        line = shell.line(first, *(rest or ["--logdir", "outputs"]))
        return ConfigError(f"{first}: is a program of its own; try: {line}")
    later = next((word for word in rest if word in COMMANDS), None)
    named = bare.named("train", first)
    if later and (first.startswith("-") or "=" in first):
        line = shell.command(later, *(word for word in words if word is not later))
    elif "=" in first or (first.startswith("-") and "=" in " ".join(rest)):
        line = shell.command("train", *words)
    elif len(named) == 1:
        line = shell.command("train", *named, *rest)
    else:
        hint = nearest(first, COMMANDS)
        return ConfigError(f"{first}: no such command{hint} (commands: {', '.join(COMMANDS)})")
    return ConfigError(f"{first}: the command comes first; try: {line}")


# ------------------------------------------------------------------------------------ words and lines


def _is_flag(command: str, word: str) -> bool:
    name = re.split("[=:]", without_dash(word), maxsplit=1)[0]
    return DASHED.match(word) is not None and not bare.is_key(command, name)


def _line(command: str, flags: Words, words: Words) -> str:
    first = [flag for flag in flags if flag in MULTIRUN]
    return shell.command(command, *first, *words, *(flag for flag in flags if flag not in first))


def _odd(before: Words, after: Words) -> str:
    """The first word that was changed."""
    return brief(next((word for word in before if word not in after), before[-1]))


# ------------------------------------------------------------------------------ several values


def _refuse_several_values(command: str, flags: Words, words: Words) -> None:
    """A comma between values, where nothing says whether they are those of a sweep."""
    for at, word in enumerate(words):
        if not _has_several(word):
            continue
        key, value = paths.key_of(word), word.partition("=")[2]
        ways = {"a sweep over them": _line(command, [*flags, "-m"], words)}
        if (one := _as_one(command, key, value)) is not None:
            what, text = one
            ways = {what: _line(command, flags, [*words[:at], f"{key}={text}", *words[at + 1 :]]), **ways}
        raise ConfigError(
            f"{word}: is several values; {'; or '.join(f'{what}: {line}' for what, line in ways.items())}"
        )


def _has_several(word: str) -> bool:
    if paths.key_of(word) in paths.PATH_KEYS or not set(",(") & set(word):
        return False
    override = paths.parsed(word)
    return override is not None and override.is_sweep_override()


def _as_one(command: str, key: str, value: str) -> tuple[str, str] | None:
    """What a value with commas may be beside several, and how that is typed."""
    if isinstance(groups.example(command, key), list):
        return "one list", f"[{value}]"
    if bare.hints(command).get(key) is not int and re.fullmatch(r"-?\d*,\d+", value):
        return "one number", value.replace(",", ".")
    return None
