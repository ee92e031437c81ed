"""A figure: a number with its name, its unit and how sure it is; and how figures stand on the screen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aectl.measuring.metrics import standard_error

NATS = "nats per image"


@dataclass(frozen=True)
class Figure:
    """One figure of an evaluation.

    Attributes:
        name: that of `metrics.json`.
        value: the number.
        unit: in words; empty where it is a number by itself.
        error: its standard error over images; None where there is none.
        words: what to know of it to read it.
    """

    name: str
    value: float | int
    unit: str = ""
    error: float | None = None
    words: str = ""

    @property
    def line(self) -> str:
        """`103.2417 ± 0.3120 nats per image`."""
        error = "" if self.error is None else f" ± {self.error:.4f}"
        return " ".join(part for part in (f"{shown(self.value)}{error}", self.unit, self.words) if part)


def mean(name: str, each: Tensor, unit: str = "") -> Figure:
    """The mean of a figure that `each` image has, (N,), and its standard error."""
    return Figure(name, each.double().mean().item(), unit, standard_error(each))


def values(figures: Sequence[Figure]) -> dict[str, float | int]:
    """The numbers by name."""
    return {figure.name: figure.value for figure in figures}


def lines(facts: Mapping[str, Any], figures: Sequence[Figure]) -> Iterator[str]:
    """What was measured, then each figure, under each other."""
    rows = [(name, shown(value)) for name, value in facts.items()]
    rows += [(figure.name, figure.line) for figure in figures]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name.ljust(width)}  {text}"


def shown(value: Any) -> str:
    """A number with four places, anything else as it is."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
