"""Formulas of pages as MathML, made when the site is built: nothing is fetched, and nothing runs, to show them.

Browsers stretch brackets and braces only with a font that has tables for mathematics, so the site brings one along,
STIX Two Math as the package ziamath carries it.
"""

import html
import re
from importlib.metadata import distribution
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


FONT = "ziamath/fonts/STIXTwoMath-Regular.ttf"
NAMES = re.compile(r"<mi>(log|exp)</mi>")  # of functions, set apart from their arguments


def mathml(found: re.Match[str]) -> str:
    """One formula; the delimiters say whether it stands in a line or on its own."""
    tag, opening, tex = found.groups()
    display = "block" if opening == "[" else "inline"
    formula = NAMES.sub(
        r'<mo lspace="0.1667em" rspace="0.1667em">\1</mo>', convert(html.unescape(tex).strip(), display=display)
    )
    return f'<{tag} class="formula">{formula}</{tag}>'


def on_page_content(content: str, **_: Any) -> str:
    """A page's HTML, its formulas rendered."""
    return FORMULA.sub(mathml, content)


def on_files(files: Files, config: Any) -> Files:
    """The files of docs/, and the font."""
    font = str(distribution("ziamath").locate_file(FONT))
    files.append(File.generated(config, "assets/STIXTwoMath.ttf", abs_src_path=font))
    return files
