"""Draws docs/compression/stack.svg: a stack of bits while one image is coded (`python benchmarks/stack_picture.py`).

The heights are made up, but as they are in practice: the place of a code, written that exactly, costs more than the
image, and most of it comes back.
"""

from html import escape
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "docs/compression/stack.svg"
WIDTH, HEIGHT = 960, 470
FLOOR, SCALE = 330, 2.0  # where the stacks stand, and pixels of a unit of bits
BEFORE, GIVEN, IMAGE, CODE = 84, 40, 34, 52  # the stack at first; log q, −log p(x|z), −log p(z)
BACK = "Step 1 takes bits that the decoder gets back: it knows x by then, pushes z by q(z|x), and has them again."
COLUMN, LEFT, PITCH = 118, 40, 252

STYLE = """
text { font-family: system-ui, "DejaVu Sans", sans-serif; font-size: 14px; fill: #282828 }
.math { font-family: "STIX Two Math", "DejaVu Serif", Georgia, serif; font-style: italic; font-size: 16px }
.head { font-weight: 600; font-size: 15px }
.small { font-size: 12.5px; fill: #5c5c5c }
.paper { fill: #ffffff; stroke: #dddddd }
.before { fill: #d5d9e0 } .given { fill: #e8a46c } .image { fill: #7fa7d4 } .code { fill: #8fbf8f }
.before, .given, .image, .code { stroke: #ffffff; stroke-width: 1.5 }
.gone { fill: none; stroke: #b05a14; stroke-dasharray: 5 4; stroke-width: 1.5 }
.line { stroke: #5c5c5c; fill: none; stroke-width: 1.5 }
.in text { fill: #1c1c1c }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e4e8 } .small { fill: #a9a9b3 } .paper { fill: #1e2129; stroke: #3b3f4a } .line { stroke: #a9a9b3 }
  .before, .given, .image, .code { stroke: #1e2129 } .gone { stroke: #e8a46c }
}
"""


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    """A line of words."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def block(x: float, top: float, bits: float, kind: str, words: str = "") -> str:
    """A part of a stack, with what it is."""
    size = f'x="{x:g}" y="{top:g}" width="{COLUMN}" height="{bits * SCALE:g}"'
    said = text(x + COLUMN / 2, top + bits * SCALE / 2 + 5, words, "math") if words else ""
    return f'<g class="in"><rect {size} rx="3" class="{kind}"/>{said}</g>'


def stack(x: float, parts: list[tuple[float, str, str]]) -> tuple[str, float]:
    """Parts on each other from the floor upwards, and where the top is."""
    drawn, top = [], float(FLOOR)
    for bits, kind, words in parts:
        top -= bits * SCALE
        drawn.append(block(x, top, bits, kind, words))
    return "".join(drawn), top


def arrow(x: float) -> str:
    """From one stack to the next."""
    start, end, y = x + COLUMN + 14, x + PITCH - 14, FLOOR - 60
    return (
        f'<path class="line" d="M{start:g} {y:g}H{end:g}M{end - 8:g} {y - 5:g}L{end:g} {y:g}L{end - 8:g} {y + 5:g}"/>'
    )


def step(x: float, number: str, verb: str, what: str, bits: str) -> str:
    """What happens between two stacks, above the arrow and below it."""
    middle = x + COLUMN + (PITCH - COLUMN) / 2
    return "".join([
        arrow(x),
        text(middle, FLOOR - 112, number, "head"),
        text(middle, FLOOR - 92, verb),
        text(middle, FLOOR - 72, what, "math"),
        text(middle, FLOOR - 38, bits, "small"),
    ])  # fmt: skip


def picture() -> str:
    """The whole of it."""
    left = BEFORE - GIVEN
    columns = [
        ([(left, "before", ""), (GIVEN, "before", "")], "bits of the images before"),
        ([(left, "before", "")], "z is drawn with the bits taken"),
        ([(left, "before", ""), (IMAGE, "image", "x")], "the image, given z"),
        ([(left, "before", ""), (IMAGE, "image", "x"), (CODE, "code", "z")], "ready for the next image"),
    ]
    parts = [f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" class="paper"/>']
    parts.append(
        text(WIDTH / 2, 36, "One image onto the stack: to the right it is coded, to the left decoded", "head")
    )
    tops = []
    for index, (column, below) in enumerate(columns):
        x = LEFT + index * PITCH
        drawn, top = stack(x, column)
        tops.append(top)
        parts += [drawn, text(x + COLUMN / 2, FLOOR + 22, below, "small")]
    parts.append(f'<path class="line" d="M{LEFT - 16} {FLOOR + 0.75}H{LEFT + 3 * PITCH + COLUMN + 16}"/>')
    gone = LEFT + PITCH
    taken = f'y="{FLOOR - BEFORE * SCALE:g}" width="{COLUMN}" height="{GIVEN * SCALE:g}"'
    parts.append(f'<rect x="{gone}" {taken} rx="3" class="gone"/>')
    parts.append(text(gone + COLUMN / 2, FLOOR - BEFORE * SCALE + GIVEN * SCALE / 2 + 5, "taken off", "small"))
    parts += [
        step(LEFT, "1", "pop z by", "q(z|x)", "takes −log₂ q(z|x)"),
        step(LEFT + PITCH, "2", "push x by", "p(x|z)", "puts −log₂ p(x|z)"),
        step(LEFT + 2 * PITCH, "3", "push z by", "p(z)", "puts −log₂ p(z)"),
    ]
    return "".join(parts + _sum(tops))


def _sum(tops: list[float]) -> list[str]:
    """What the image has cost: the difference of the first stack and the last, and its formula."""
    last = LEFT + 3 * PITCH
    first, end = tops[0], tops[-1]
    level = f'<path class="line" stroke-dasharray="2 4" d="M{LEFT + COLUMN} {first:g}H{last}"/>'
    words = "net cost in bits:   log₂ q(z|x) − log₂ p(x|z) − log₂ p(z)   =   on average the −ELBO"
    growth = f'<path class="line" d="M{last + COLUMN + 8} {first:g}h6V{end:g}h-6"/>'
    return [
        level,
        growth,
        text(last + COLUMN + 12, end - 10, "net cost", "small", "end"),
        text(WIDTH / 2, FLOOR + 72, words, "math"),
        text(WIDTH / 2, FLOOR + 104, BACK, "small"),
    ]


def svg() -> str:
    """The file."""
    title = (
        "<title>A stack of bits in four states: z is popped by q(z|x), x pushed by p(x|z), z pushed by p(z)</title>"
    )
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">{title}<style>{STYLE}</style>{picture()}</svg>\n'
    )


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(svg(), encoding="utf-8")
