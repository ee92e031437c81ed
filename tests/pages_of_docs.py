"""What stands in the pages: their texts, the command lines in them, their headings and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|((?:^ {4}[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?:torchrun .*-m )?aectl (.+)$")


def lines(text: str) -> Iterator[str]:
    """Lines of a page that can be typed: of its blocks of shell, and what stands in backquotes."""
    for language, fenced, indented in BLOCK.findall(text):
        if language in ("", "sh", "bash"):
            yield from re.sub(r"\\\n\s*", "", fenced or indented).splitlines()
    yield from re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))


def commands(page: Path) -> list[list[str]]:
    """The words after `aectl` of every command line of a page; `<run>` and `...` are names, a comment is nothing."""
    found = [COMMAND.match(line.strip()) for line in lines(page.read_text("utf-8"))]
    typed = [re.sub(r"<\w+>|\.\.\.", "name", one[1]) for one in found if one]
    return [shlex.split(line, comments=True) for line in typed]


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page is called."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    """Where its links and pictures go, but for the web."""
    found = re.findall(r"\]\(([^)\s]+)\)", FENCED.sub("", page.read_text("utf-8")))
    return [link for link in found if not link.startswith("http")]
