"""Formulas of pages as MathML, made when the site is built: nothing is fetched, and nothing runs, to show them."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def mathml(found: re.Match[str]) -> str:
    """One formula; the delimiters say whether it stands in a line or on its own."""
    tag, opening, tex = found.groups()
    display = "block" if opening == "[" else "inline"
    return f'<{tag} class="formula">{convert(html.unescape(tex).strip(), display=display)}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    """A page's HTML, its formulas rendered."""
    return FORMULA.sub(mathml, content)
