"""From words as people type them to overrides: `--epochs 5`, `epochs: 5`, `model=vae,`, `photo.png`.

Each function returns the words of a command, Hydra's flags apart, with one kind of slip mended. What Hydra can read
is left alone.
"""

import re
from collections.abc import Callable

from aectl import shell
from aectl.cli import bare, groups, paths
from aectl.errors import ConfigError, brief
from aectl.settings.ranges import nearest

Words = list[str]
DASHED = re.compile(r"-+[a-zA-Z]")
TRUTHS = ("true", "false")


def without_dash(word: str) -> str:
    """`--batch-size=5` as `batch_size=5`."""
    name, sign, value = word.lstrip("-").partition("=")
    return name.replace("-", "_") + sign + value


def _undashed(command: str, words: Words) -> Words:
    return [without_dash(word) if DASHED.match(word) else word for word in words]


def _joined(command: str, words: Words) -> Words:
    """Words that the shell has parted at spaces, one for each setting."""
    found = Words()
    for word in words:
        sign = _sign_between(command, found[-1], word) if found else None
        if sign is None:
            found.append(word)
        else:
            found[-1] = (found[-1].rstrip(":") if sign else found[-1]) + sign + word
    return [_with_equals(command, word) for word in found]


def _sign_between(command: str, last: str, word: str) -> str | None:
    """What comes between two words that belong together; None where they do not."""
    key = last.rstrip(":")
    if bare.is_key(command, key):
        is_value = "=" not in word and not bare.is_key(command, word)
        if bare.hints(command).get(key) is bool:
            is_value = word.lower() in TRUTHS
        return "=" if is_value else "" if word.startswith("=") else None
    if "=" not in last or "=" in word:
        return None
    if last.endswith("=") or (not _can_be_read(last) and re.search(r"[\[{(][^\]})]*$|,$", last)):
        return ""
    return "" if word.startswith(",") else None


def _can_be_read(word: str) -> bool:
    return paths.key_of(word) in paths.PATH_KEYS or paths.parsed(word) is not None


def _with_equals(command: str, word: str) -> str:
    key, colon, value = word.partition(":")
    return f"{key}={value}" if colon and value and "=" not in word and bare.is_key(command, key) else word


def _without_commas(command: str, words: Words) -> Words:
    """Settings that commas were put between."""
    found = Words()
    for word in words:
        if "," not in word or _can_be_read(word):
            found.append(word)
        elif "=" in word:
            found += [part.strip(",") for part in re.split(r",(?=[a-z][\w.]*=)", word)]
        elif word.strip(","):
            found.append(word.strip(","))
    return found


def _with_keys(command: str, words: Words) -> Words:
    """Words without a key as the settings that they mean.

    Raises:
        ConfigError: one means none, or several.
    """
    found, source = Words(), None
    given = {paths.key_of(word) for word in words if "=" in word}
    for word in words:
        if "=" in word or (word.startswith("~") and "/" not in word):  # which is Hydra's, to take a setting away
            found.append(word)
            continue
        settings = _meaning(command, word, given)
        given |= {paths.key_of(one) for one in settings}
        source = word if paths.key_of(settings[0]) == "input" else source
        found += settings
    if source is not None and "output" not in given and command in bare.MADE:
        found.append(bare.output_for(command, source))
    return found


def _meaning(command: str, word: str, given: set[str]) -> Words:
    if bare.is_key(command, word) and not (bare.places(command) and bare.looks_like_path(word)):
        if bare.hints(command).get(word) is bool:
            return [f"{word}=true"]
        raise ConfigError(f"{word}: needs a value: {word}=<value> (aectl {command} --help lists what there is)")
    can_be = bare.meanings(command, word, given)
    if len(can_be) == 1:
        return can_be[0]
    if can_be:
        lines = ", or ".join(shell.command(command, *one) for one in can_be)
        raise ConfigError(f"{word}: is the name of {len(can_be)} choices; try: {lines}")
    hint = nearest(word, bare.hints(command))
    more = f"(settings are typed as key=value; aectl {command} --help lists them)"
    raise ConfigError(f"{brief(word) or repr(word)}: no such setting, choice or path{hint} {more}")


def _with_own_pictures(command: str, words: Words) -> Words:
    """A path where a data set is chosen: `dataset=folder` or `array`, and its root."""
    found = Words()
    for word in words:
        key, _, value = word.partition("=")
        if key == "dataset" and _is_path(value):
            found += bare.own_pictures(value, f"dataset.root={value}")
        else:
            found.append(word)
    return found


def _is_path(value: str) -> bool:
    return "," not in value and value not in groups.names_of("dataset") and bare.looks_like_path(value)


MENDINGS: dict[str, Callable[[str, Words], Words]] = {
    "a setting has no dashes": _undashed,
    "a setting is one word, key=value, without spaces": _joined,
    "settings are parted by spaces": _without_commas,
    "a setting is key=value": _with_keys,
    "is a path, and not the name of a data set": _with_own_pictures,
}
