"""What stands in a file of codes: the columns of a table, and how a place in it is named.

A table has the columns `name` and `z1` to `zK`, in any order. `encode` writes more, `Beside`, which nobody needs to
read the codes: columns `label`, `psnr` and `s1` to `sK`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aectl.errors import brief


@dataclass(frozen=True)
class Codes:
    """What a file holds, before its numbers are looked at.

    Attributes:
        names: N of them.
        codes: (N, K), of any type that counts.
        rows: where a person finds each code in the file, counted from 1; a header counts.
        passed_over: columns that are neither the name nor a number of the code.
    """

    names: list[str]
    codes: np.ndarray
    rows: Sequence[int]
    passed_over: Sequence[str] = ()


@dataclass(frozen=True)
class Beside:
    """What stands beside N codes, as far as it is there.

    Attributes:
        labels: a word for each, empty for a picture of no class.
        psnr: (N,), dB, of the pictures that the codes give back.
        sigma: (N, K), σ of q(z|x).
    """

    labels: Sequence[str] | None = None
    psnr: np.ndarray | None = None
    sigma: np.ndarray | None = None


NOTHING = Beside()


def place(row: int, name: str, column: int) -> str:
    """How a message names one number of a code; rows and columns count from 1."""
    return f"row {row} ({brief(repr(name), 60)}), column z{column}"


def needed(latent: int) -> list[str]:
    """Those that a table must have."""
    return ["name", *_numbered("z", latent)]


def _numbered(letter: str, latent: int) -> list[str]:
    return [f"{letter}{index + 1}" for index in range(latent)]


def table(names: Sequence[str], codes: np.ndarray, beside: Beside) -> dict[str, Sequence]:
    """All of it by the names of the columns."""
    latent = codes.shape[1]
    return {
        "name": names,
        **({} if beside.labels is None else {"label": beside.labels}),
        **({} if beside.psnr is None else {"psnr": beside.psnr}),
        **dict(zip(_numbered("z", latent), codes.T, strict=True)),
        **({} if beside.sigma is None else dict(zip(_numbered("s", latent), beside.sigma.T, strict=True))),
    }


def check(found: Sequence[str], latent: int, where: str) -> list[str]:
    """The columns that `encode` does not write.

    Raises:
        ValueError: one of ours is missing or there twice, or there are numbers beyond zK.
    """
    wanted, counts = needed(latent), Counter(found)
    ours = set(wanted)
    needs = f"{where} name and z1{f' to z{latent}' if latent > 1 else ''}, in any order"
    if doubled := next((column for column in wanted if counts[column] > 1), None):
        raise ValueError(f"the column {doubled} is there twice; {needs}")
    if missing := next((column for column in wanted if not counts[column]), None):
        raise ValueError(f"has no column {missing}, but {brief(', '.join(map(repr, found)), 60)}; {needs}")
    others = [column for column in counts if column not in ours]
    if beyond := next((column for column in others if re.fullmatch(r"z\d+", column)), None):
        raise ValueError(f"has a column {beyond}, and the run's codes are {latent} numbers each; {needs}")
    return [column for column in others if column not in {"label", "psnr", *_numbered("s", latent)}]
