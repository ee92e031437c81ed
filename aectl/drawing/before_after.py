"""The page that `aectl denoise` leaves: pictures before and after with a line between the two that can be moved.

One file that asks for nothing else: pictures, style and script are inside it.
"""

import base64
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aectl.drawing.pages.filling import filled
from aectl.files.pictures.previews import Preview

COARSE = 200  # pixels; smaller pictures are enlarged, and their pixels kept apart
LEAST = 320  # pixels of the screen for them
PAIRS = (("before", "after"), ("after", "reference"), ("before", "reference"))
SIDES = {"before": "left", "after": "right"}


@dataclass(frozen=True)
class Shown:
    """A picture on the page.

    Attributes:
        name: its file's, below the page's folder.
        words: of the caption, such as its figures.
        views: `before`, `after`, and perhaps `reference`, all of one size.
    """

    name: str
    words: str
    views: Mapping[str, Preview]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page's own pixels."""
        return self.views["after"].width, self.views["after"].height

    @property
    def is_coarse(self) -> bool:
        """Whether it is so small that its pixels are to be seen."""
        return max(self.size) < COARSE

    @property
    def wide(self) -> str:
        """How wide it may be: all of a tall one is seen."""
        width, height = self.size
        wide = LEAST * width / max(width, height) if self.is_coarse else width
        return f"min({wide:.0f}px, {90 * width / height:.2f}vh)"

    @property
    def link(self) -> str:
        """The way to the file, from the page on."""
        return f"./{urllib.parse.quote(os.fsencode(self.name))}"

    @property
    def sources(self) -> dict[str, str]:
        """Each view as it stands in the page."""
        return {
            view: f"data:image/{one.kind};base64,{base64.b64encode(one.data).decode()}"
            for view, one in self.views.items()
        }

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """Which two may be beside each other, where there are three."""
        return PAIRS if "reference" in self.views else ()


def page(title: str, facts: Sequence[str], shown: Sequence[Shown]) -> str:
    """The page, with a paragraph for each of `facts` and a figure for each of `shown`."""
    styles, scripts = ("theme.css", "before_after.css"), ("before_after.js",)
    return filled("before_after.html", styles, scripts, title=title, facts=facts, shown=shown, sides=SIDES)
