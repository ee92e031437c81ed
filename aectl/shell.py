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


def command(*words: str) -> str:
    """An aectl command as a line to paste into a shell."""
    return shlex.join(["aectl", *words])
