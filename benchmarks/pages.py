"""Pages whose commands, pictures and figures belong together: what stands on one, and what its commands leave.

A page is Markdown. Its blocks of `bash` hold commands, a line each; a block of `python` that begins with `# name.py`
is a file that they may run. Comments, which no reader sees, say where the rest comes from:

    ![codes of test digits](pictures/codes.png)<!-- from outputs/eval/*/figures/latent_scatter.png -->
    It has a PSNR of 14.41<!-- eval ae: psnr --> dB.
    <!-- lines: psnr|pca -->                      (then a block of `text`: these lines of what was printed last)

A picture is the newest file that its pattern finds when the commands above it are done. A figure is looked up by
`Folder.value`. Whoever walks a page says how a command is run.
"""

import csv
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PARTS = re.compile(
    r"^```bash\n(?P<commands>.*?)^```$"
    r"|^```python\n# (?P<file>\w+\.py)\n(?P<code>.*?)^```$"
    r"|!\[(?P<words>[^\]]*)\]\((?P<picture>[^)\s]+)\)\s*<!-- from (?P<source>\S+) -->"
    r"|<!-- lines: (?P<lines>.+?) -->\n```text\n(?P<printed>.*?)^```$"
    r"|(?P<number>[-−]?\d+(?:\.\d+)?)<!-- (?P<key>[a-z][^>]*?) -->",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Command:
    """A line of a shell."""

    line: str


@dataclass(frozen=True)
class Script:
    """A file of Python that a command of the page may run."""

    name: str
    code: str


@dataclass(frozen=True)
class Picture:
    """A picture: its place beside the page, and the pattern that finds it where the commands ran."""

    place: str
    source: str


@dataclass(frozen=True)
class Figure:
    """A number in the text as it stands there, and what it is; `span` is its place."""

    text: str
    key: str
    span: tuple[int, int]

    def shown(self, value: float) -> str:
        """`value` with as many decimals as the number has, and its kind of minus."""
        text = f"{value:.{len(self.text.partition('.')[2])}f}"
        return text if self.text.startswith("-") else text.replace("-", "−")


@dataclass(frozen=True)
class Lines:
    """Lines of what was printed last that match a pattern, in a block of text; `span` is theirs."""

    text: str
    pattern: str
    span: tuple[int, int]


Part = Command | Script | Picture | Figure | Lines


def parts(text: str) -> list[Part]:
    """What stands on a page, in the order of the text."""
    return [part for match in _PARTS.finditer(text) for part in _of(match)]


def _of(match: re.Match) -> list[Part]:
    if match["commands"] is not None:
        return [Command(line) for line in match["commands"].replace("\\\n", " ").splitlines() if line.strip()]
    if match["file"]:
        return [Script(match["file"], match["code"])]
    if match["picture"]:
        return [Picture(match["picture"], match["source"])]
    if match["lines"]:
        return [Lines(match["printed"], match["lines"], match.span("printed"))]
    return [Figure(match["number"], match["key"], match.span("number"))]


@dataclass
class Folder:
    """Where the commands of pages run: its files, and what they printed."""

    path: Path
    printed: list[str] = field(default_factory=list)
    seconds: float = 0.0  # that a core has computed for the page

    def newest(self, pattern: str) -> Path:
        """The file that was written last of those that match."""
        found = sorted(self.path.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            raise LookupError(f"{pattern}: no such file after the commands above it")
        return found[-1]

    def value(self, key: str) -> float:
        """The figure that a page calls by `key`, now.

        `eval ae: psnr` is of the newest evaluation of the run called ae, `denoise: psnr_noisy` of the newest of that
        command, `train ae: ...` of a result.json. `sweep 2: val/kl` is of job 2 in the summary of the newest sweep,
        `report 2: sse` in the newest report. `said: PSNR (.*) dB` is found in what was printed, the last first.
        `seconds` are those of the page, rounded up to tens. ` * 100` at the end makes a percentage.
        """
        if key == "seconds":
            return math.ceil(self.seconds / 10) * 10
        words, _, name = key.partition(": ")
        name, _, factor = name.partition(" * ")
        kind, _, of = words.partition(" ")
        readers: dict[str, Callable[[str, str], Any]] = {
            "said": self._said, "train": self._trained, "sweep": self._job, "report": self._job
        }  # fmt: skip
        found = readers[kind](words, name) if kind in readers else self._measured(kind, of)[name]
        return float(found) * float(factor or 1)

    def _said(self, _: str, pattern: str) -> str:
        for text in reversed(self.printed):
            if matches := re.findall(pattern, text):
                return matches[-1]
        raise LookupError(f"{pattern}: nothing that was printed has it")

    def _trained(self, words: str, name: str) -> float:
        run = words.partition(" ")[2]
        return json.loads(self.newest(f"outputs/train/*_{run}_*/result.json").read_text())[name]

    def _job(self, words: str, name: str) -> str:
        kind, number = words.split()
        path = self.newest({"sweep": "outputs/multirun/*/summary.csv", "report": "outputs/report/*/report.csv"}[kind])
        rows = list(csv.DictReader(path.read_text().splitlines()))
        return next(row for row in rows if row["job"] == number)[name]

    def _measured(self, kind: str, run: str) -> dict[str, Any]:
        paths = sorted(self.path.glob(f"outputs/{kind}/*/metrics.json"), reverse=True)
        documents = (json.loads(path.read_text()) for path in paths)
        found = next((one for one in documents if not run or f"_{run}_" in Path(one["run"]).name), None)
        if found is None:
            raise LookupError(f"outputs/{kind}/*/metrics.json: none is of a run called {run}")
        return found

    def lines(self, pattern: str) -> str:
        """Those of what was printed last that match."""
        found = [line for line in self.printed[-1].splitlines() if re.search(pattern, line)]
        if not found:
            raise LookupError(f"{pattern}: no line of what was printed last has it")
        return "\n".join(found) + "\n"


@dataclass
class Walked:
    """What came of walking a page: its text with today's figures, these by their keys, and its pictures."""

    text: str
    figures: list[tuple[str, float | str]]
    pictures: dict[str, Path]


def walk(text: str, folder: Folder, run: Callable[[str], str]) -> Walked:
    """Do what a page says, from top to bottom, in `folder`; `run` does a command and returns what it printed."""
    new: list[tuple[tuple[int, int], str]] = []
    figures: list[tuple[str, float | str]] = []
    pictures = {}
    for part in parts(text):
        match part:
            case Command(line):
                folder.printed.append(run(line))
            case Script(name, code):
                (folder.path / name).write_text(code)
            case Picture(place, source):
                pictures[place] = folder.newest(source)
            case Figure(_, key, span) if key != "seconds":
                figures.append((key, folder.value(key)))
                new.append((span, part.shown(figures[-1][1])))
            case Lines(_, pattern, span):
                figures.append((f"lines: {pattern}", folder.lines(pattern)))
                new.append((span, figures[-1][1]))
    for part in parts(text):
        if isinstance(part, Figure) and part.key == "seconds":  # of the whole page, wherever it says them
            figures.append((part.key, folder.value(part.key)))
            new.append((part.span, part.shown(figures[-1][1])))
    for (begin, end), instead in sorted(new, reverse=True):
        text = text[:begin] + instead + text[end:]
    return Walked(text, figures, pictures)
