"""A template of this folder filled, with its styles, scripts and data inside: one file that asks for nothing else."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).parent
# Nothing from elsewhere, whatever a name or a label says.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def filled(template: str, styles: Sequence[str] = (), scripts: Sequence[str] = (), **values: Any) -> str:
    """The page of `template` with the files named in `styles` and `scripts` inside it; every value is escaped."""
    found = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return found.get_template(template).render(
        policy=POLICY, style=joined(styles), script=joined(scripts), **values
    )  # fmt: skip


def embedded(document: Mapping[str, Any]) -> Markup:
    """A document as JSON between script tags, which no text in it can end."""
    return Markup(json.dumps(document, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def joined(names: Sequence[str]) -> Markup:
    """Files of this folder, one after the other."""
    return Markup("\n".join((FOLDER / name).read_text(encoding="utf-8") for name in names))
