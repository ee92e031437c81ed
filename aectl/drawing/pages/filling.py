"""A template of this folder filled, with its styles, scripts and data inside: one file that asks for nothing else.

Whatever is put into a template, whoever wrote it, is text: it makes no element, attribute or address, neither in HTML
nor in Markdown, and shows nothing that cannot be seen. Only `Markup`, which is made here, is more.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aectl.errors import one_line
from aectl.files.tables import in_markdown, inert, markdown

FOLDER = Path(__file__).parent
# Nothing from elsewhere, whatever a name or a label says.
POLICY = Markup("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'")
_MARKS = re.compile(r"\*\*(?P<strong>.+?)\*\*|`(?P<code>[^`]+)`")  # of our sentences


def filled(
    template: str, styles: Sequence[str] = (), scripts: Sequence[str] = (), folder: Path = FOLDER, **values: Any
) -> str:
    """The page of `template` in `folder`, with the files named in `styles` and `scripts` inside it."""
    found = _environment(folder, template.endswith(".html")).get_template(template)
    return found.render(policy=POLICY, style=joined(styles), script=joined(scripts), **values)


@functools.cache
def _environment(folder: Path, is_html: bool) -> Environment:
    """Where templates are found, each made a program once, and what becomes of what is put into them.

    Those of `folder` may extend those of this one.
    """
    found = Environment(
        loader=FileSystemLoader([folder, FOLDER]), autoescape=is_html, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True, finalize=_seen if is_html else _escaped,
    )  # fmt: skip
    found.filters |= {"sentence": _html_sentence} if is_html else {
        "sentence": _markdown_sentence, "code": _markdown_code, "table": lambda table: Markup(markdown(*table)),
    }  # fmt: skip
    return found


def _seen(value: Any) -> Any:
    """A value on its way into HTML, which is escaped after this."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _escaped(value: Any) -> Any:
    """A value on its way into Markdown."""
    return value if isinstance(value, Markup) else in_markdown(value)


def _parts(text: str) -> list[tuple[str, str]]:
    """A sentence in pieces, each with how it is marked: `strong`, `code` or not at all."""
    found, end = [], 0
    for match in _MARKS.finditer(text):
        found += [("", text[end : match.start()]), (match.lastgroup or "", match[match.lastgroup or 0])]
        end = match.end()
    return [*found, ("", text[end:])]


def _html_sentence(text: str) -> Markup:
    """A sentence with `**` and backticks as elements."""
    whole = Markup()
    for mark, words in _parts(one_line(text)):
        whole += Markup(f"<{mark}>{{}}</{mark}>").format(words) if mark else words
    return whole


def _markdown_sentence(text: str) -> Markup:
    """A sentence with the marks that it has, and no others."""
    made = {"strong": lambda words: f"**{inert(words)}**", "code": _markdown_code, "": inert}
    return Markup("".join(made[mark](words) for mark, words in _parts(one_line(text))))


def _markdown_code(text: str) -> Markup:
    """A text as code, between more backticks than it has in a row."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return Markup(f"{fence}{space}{line}{space}{fence}")


def embedded(document: Mapping[str, Any]) -> Markup:
    """A document as JSON between script tags, which no text in it can end."""
    return Markup(json.dumps(document, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def joined(names: Sequence[str]) -> Markup:
    """Files of this folder, one after the other."""
    return Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names))
