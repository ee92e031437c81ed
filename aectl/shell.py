"""Lines to paste into a shell: a command, and a setting that is a path, however strange its name."""

import re
import shlex
from pathlib import Path

from aectl.errors import spelled_out

WORDS = ("latest", "null")  # that mean something else than a folder of that name
# Of a line one word that has what cannot be seen, as bash, zsh and ksh take it; or one that shlex has quoted.
_ONE = re.compile(r"""\$'(?P<spelled>(?:[^'\\]|\\.)*)'|(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+""", re.DOTALL)


def setting(key: str, path: str | Path) -> str:
    """`key=path` such that `for_hydra` reads that very path from it."""
    text = str(path)
    if text in WORDS or text[:1] in ("~", "'", '"'):
        text = f"./{text}"
    return f"{key}=" + re.sub(r"(\\*)\$\{", lambda match: 2 * match[1] + r"\${", text)


def shown(key: str, path: str | Path) -> str:
    """`setting` as a word to paste into a shell."""
    return _word(setting(key, path))


def line(*words: str) -> str:
    """A program and what it is given as a line to paste into a shell; it is one line, whatever is in the words."""
    return " ".join(map(_word, words))


def split(text: str) -> list[str]:
    """The words of such a line."""
    return [
        "".join(shlex.split(found[0])) if found["spelled"] is None else _unspelled(found["spelled"])
        for found in _ONE.finditer(text)
    ]


def _word(text: str) -> str:
    if spelled_out(text) == text and text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_spelled, text))}'"


def _spelled(letter: str) -> str:
    """A letter within $'...'; what cannot be seen, or is no letter at all, as its bytes."""
    if letter in "'\\":
        return f"\\{letter}"
    if letter.isprintable() and spelled_out(letter) == letter:
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("utf-8", "surrogateescape"))


def _unspelled(text: str) -> str:
    parts = re.split(r"\\(x[0-9a-f]{2}|['\\])", text)
    data = b"".join(
        part.encode("utf-8", "surrogateescape") if index % 2 == 0 else
        bytes.fromhex(part[1:]) if part.startswith("x") else part.encode()
        for index, part in enumerate(parts)
    )  # fmt: skip
    return data.decode("utf-8", "surrogateescape")


def command(*words: str) -> str:
    """An aectl command as a line to paste into a shell."""
    return line("aectl", *words)


def what_next(*lines: str) -> str:
    """Lines to paste, one below the other, under a word that says so."""
    return "\n  ".join(["next:", *lines])
