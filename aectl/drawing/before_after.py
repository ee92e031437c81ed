"""The page that `aectl denoise` leaves: pictures before and after with a line between the two that can be moved.

One file that asks for nothing else: pictures, style and script are inside it.
"""

import base64
import html
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aectl.drawing.pages.filling import POLICY, joined
from aectl.errors import one_line
from aectl.files.pictures.previews import Preview

COARSE = 200  # pixels; smaller pictures are enlarged, and their pixels kept apart
LEAST = 320  # pixels of the screen for them


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


STYLE = """
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem;
  background: var(--paper); color: var(--ink) }
h1 { font-size: 1.5rem; margin: 0 }
p { margin: 0.25rem 0; color: var(--faint); max-width: 60rem }
main { display: flex; flex-wrap: wrap; gap: 2rem; margin-top: 2rem; align-items: flex-start }
figure { margin: 0; width: min(100%, max(var(--wide), 14rem)) }
.hold { position: relative; width: min(100%, var(--wide)); border-radius: 4px }
.frame { position: relative; width: 100%; height: 100%; border-radius: 4px; overflow: hidden;
  background: var(--line) }
.hold:focus-within { outline: 3px solid var(--accent); outline-offset: 2px }
img { position: absolute; inset: 0; width: 100%; height: 100%; user-select: none }
.coarse img { image-rendering: pixelated }
.left { clip-path: inset(0 calc(100% - var(--at)) 0 0) }
.right { clip-path: inset(0 0 0 var(--at)) }
.off { visibility: hidden }
.frame::after { content: ""; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; box-shadow: 0 0 3px #000 }
.tag { position: absolute; top: 0.5rem; padding: 0 0.5rem; border-radius: 3px; font-size: 0.8rem; color: #fff;
  background: rgb(0 0 0 / 60%); pointer-events: none }
.tag.of-left { left: 0.5rem }
.tag.of-right { right: 0.5rem }
.hold > input { appearance: none; position: absolute; top: 0; left: -1rem; width: calc(100% + 2rem); height: 100%;
  margin: 0; opacity: 0; cursor: ew-resize; touch-action: pan-y }
.hold > input::-webkit-slider-thumb { appearance: none; width: 2rem; height: 1px }
.hold > input::-moz-range-thumb { width: 2rem; height: 1px; border: 0 }
fieldset { border: 0; padding: 0; margin: 0.5rem 0 0; display: flex; flex-wrap: wrap; gap: 0 1rem; font-size: 0.9rem }
legend { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden }
figcaption { font-size: 0.9rem; margin-top: 0.25rem; overflow-wrap: anywhere; color: var(--faint) }
figcaption a { color: var(--ink); font-weight: 600 }
"""

SCRIPT = """
for (const figure of document.querySelectorAll("figure")) {
  const frame = figure.querySelector(".frame"), slider = figure.querySelector("[type=range]");
  const move = () => frame.style.setProperty("--at", slider.value + "%");
  const show = (pair) => {
    const sides = pair.value.split(" ");
    for (const view of frame.querySelectorAll("img"))
      view.className = ["off", "left", "right"][sides.indexOf(view.dataset.view) + 1];
    frame.querySelector(".of-left").textContent = sides[0];
    frame.querySelector(".of-right").textContent = sides[1];
  };
  slider.addEventListener("input", move);
  move();
  for (const pair of figure.querySelectorAll("[type=radio]")) {
    pair.addEventListener("change", () => show(pair));
    if (pair.checked) show(pair);
  }
}
"""


def page(title: str, facts: Sequence[str], shown: Sequence[Shown]) -> str:
    """The page, with a paragraph for each of `facts` and a figure for each of `shown`."""
    head = "".join([
        '<meta charset="utf-8">', f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title>", f"<style>{joined(['theme.css'])}{STYLE}</style>",
    ])  # fmt: skip
    words = "".join(f"<p>{_text(fact)}</p>" for fact in facts)
    figures = "\n".join(_figure(number, one) for number, one in enumerate(shown))
    body = f"<h1>{_text(title)}</h1>{words}<main>\n{figures}\n</main><script>{SCRIPT}</script>"
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _text(text: str) -> str:
    return html.escape(one_line(text))


def _figure(number: int, shown: Shown) -> str:
    width, height = shown.views["after"].width, shown.views["after"].height
    coarse = max(width, height) < COARSE
    wide = LEAST * width / max(width, height) if coarse else width
    size = f"--wide: min({wide:.0f}px, {90 * width / height:.2f}vh)"  # so that all of a tall one is seen
    sides = {"before": "left", "after": "right"}
    images = "".join(
        f'<img class="{sides.get(view, "off")}" data-view="{view}" alt="{view}: {_text(shown.name)}" '
        f'src="data:image/{one.kind};base64,{base64.b64encode(one.data).decode()}" draggable="false">'
        for view, one in shown.views.items()
    )
    tags = '<span class="tag of-left">before</span><span class="tag of-right">after</span>'
    label = f"line between the left and the right picture: {_text(shown.name)}"
    slider = f'<input type="range" min="0" max="100" step="0.5" value="50" aria-label="{label}">'
    link = urllib.parse.quote(shown.name, errors="surrogateescape")
    caption = f'<a href="./{link}">{_text(shown.name)}</a> {_text(shown.words)}'
    return (
        f'<figure style="{size}"><div class="hold" style="aspect-ratio: {width} / {height}">'
        f'<div class="frame{" coarse" if coarse else ""}" style="--at: 50%">{images}{tags}</div>{slider}</div>'
        f"{_pairs(number, shown.views)}<figcaption>{caption}</figcaption></figure>"
    )


def _pairs(number: int, views: Mapping[str, Preview]) -> str:
    """Which two are beside each other, where there are three."""
    if "reference" not in views:
        return ""
    pairs = [("before", "after"), ("after", "reference"), ("before", "reference")]
    choices = "".join(
        f'<label><input type="radio" name="pair{number}" value="{" ".join(pair)}"{" checked" if not index else ""}> '
        f"{' | '.join(pair)}</label>"
        for index, pair in enumerate(pairs)
    )
    return f"<fieldset><legend>which two are compared</legend>{choices}</fieldset>"
