"""Lines to paste into a shell: a command, and a setting that is a path, however strange its name."""

import re
import shlex
from pathlib import Path

WORDS = ("latest", "null")  # that mean something else than a folder of that name


def setting(key: str, path: str | Path) -> str:
    """`key=path` such that `for_hydra` reads that very path from it."""
    text = str(path)
    if text in WORDS or text[:1] in ("~", "'", '"'):
        text = f"./{text}"
    return f"{key}=" + re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text)


def shown(key: str, path: str | Path) -> str:
    """`setting` as a word to paste into a shell."""
    return shlex.quote(setting(key, path))


def line(*words: str) -> str:
    """A program and what it is given as a line to paste into a shell."""
    return shlex.join(words)


def command(*words: str) -> str:
    """An aectl command as a line to paste into a shell."""
    return line("aectl", *words)


def what_next(*lines: str) -> str:
    """Lines to paste, one below the other, under a word that says so."""
    return "\n  ".join(["next:", *lines])
