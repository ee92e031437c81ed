"""What the runs of a sweep make of pictures as files, lossy or lossless, beside what other programs make of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aectl.measuring import lossless, lossy
from aectl.measuring.comparison import Group, Measured, grouped
from aectl.measuring.lossless import Coded
from aectl.measuring.lossy import Beside
from aectl.measuring.sweep import Bench

Table = tuple[list[str], list[list[Any]]]


@dataclass(frozen=True)
class Compression:
    """Files beside files.

    Attributes:
        beside: what others make of the pictures that the sweep's codecs were measured on; None where it has none.
        coded: what its best lossless coders make of their images, and what others do.
    """

    beside: Beside | None = None
    coded: Sequence[Coded] = field(default_factory=list)

    def findings(self, groups: Sequence[Group]) -> list[str]:
        """Sentences on the files."""
        return [*(lossy.findings(groups, self.beside) if self.beside else []), *lossless.findings(self.coded)]

    def blocks(self, groups: Sequence[Group]) -> list[str | Table]:
        """What a page has of the files: sentences and tables."""
        found: list[str | Table] = [lossy.table(groups, self.beside), self.beside.words()] if self.beside else []
        for words, table in lossless.tables(self.coded).items():
            found += [f"Without loss, {words}, headers counted:", table]
        return found

    def records(self, groups: Sequence[Group]) -> Iterator[tuple[str, Table]]:
        """Tables with full precision, by the names of their files."""
        if self.beside:
            yield "codecs.csv", lossy.records(groups, self.beside)
        if self.coded:
            yield "lossless.csv", lossless.records(self.coded)


def measured(
    bench: Bench, jobs: Sequence[dict[str, Any]], runs: Sequence[Measured], place: Path | None
) -> tuple[list[Measured], Compression]:
    """The runs with the figures of their files beside what they had, and what others make of the same pictures.

    `place` is where the pictures for codecs are; None: those of the part of the data that is measured.

    Raises:
        DataError: one of the pictures cannot be used.
    """
    runs, beside = lossy.measured(bench, jobs, runs, place)
    coded = lossless.measured(bench, jobs, grouped(runs))
    sizes = {one.job: one.bits_per_dim for one in coded if one.job}
    runs = [
        replace(run, figures={**run.figures, "bits_per_dim": sizes[run.job]}) if run.job in sizes else run
        for run in runs
    ]
    return runs, Compression(beside, coded)
