"""docs/performance.md: sections that are measured apart, by several programs, and stand on one page."""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from aectl.machine import facts

PAGE = Path(__file__).resolve().parent.parent / "docs/performance.md"
ORDER = (
    "Training", "A step", "A whole run", "Beside other processes", "Starting", "Many models in one step", "Sweeps",
    "Size", "Growth", "Evaluation", "The bound", "Evaluation beside a busy process",
    "Decoding beside a busy process",
)  # fmt: skip
HEAD = Path(__file__).with_name("performance_head.md").read_text()


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        meaning: what its figures are.
        measure: from the options and an empty folder to its text, Markdown.
    """

    meaning: str
    measure: Callable[[argparse.Namespace, Path], str]


def options(words: str, rounds: int) -> argparse.ArgumentParser:
    """What every program that writes sections can be told."""
    parser = argparse.ArgumentParser(description=words)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--out", type=Path, default=PAGE)
    return parser


def write(sections: Mapping[str, Section], given: argparse.Namespace, command: Callable[[str], str]) -> None:
    """Measure `sections` and put each on the page as soon as it is done; the others stay as they are.

    `command` says how a section of that title is measured.
    """
    for title, section in sections.items():
        assert title in ORDER, f"{title}: where does it stand on the page?"
        with tempfile.TemporaryDirectory() as name:
            found = section.measure(given, Path(name))
        parts = written(given.out)
        parts[title] = f"{section.meaning}\n\n{measured_on(command(title))}\n\n{found}"
        given.out.write_text(page(parts))
        print(f"{title}: in {given.out}")


def measured_on(command: str) -> str:
    """Where and by what a section was measured."""
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    if number := os.environ.get("OMP_NUM_THREADS"):  # it decides as much as anything does
        command = f"OMP_NUM_THREADS={number} {command}"
    return f"On {facts.processor()}, {versions}, no GPU, by `{command}`:"


def written(path: Path) -> dict[str, str]:
    """What a page has under each title."""
    chunks = path.read_text().split("\n## ")[1:] if path.is_file() else []
    found = {title: text.strip() for title, _, text in (chunk.partition("\n") for chunk in chunks)}
    return {title: text for title, text in found.items() if title in ORDER}


def page(parts: Mapping[str, str]) -> str:
    """The whole page, of the sections that there are."""
    return "\n".join([HEAD, *(f"## {title}\n\n{parts[title]}\n" for title in ORDER if title in parts)])
