"""Files of bits that a run makes: which way it codes, and what the header says of it."""

from collections.abc import Sequence

from aectl.coding import coders
from aectl.coding.coders import Coder
from aectl.coding.tiles import Size
from aectl.files import aec
from aectl.machine import facts
from aectl.runs.opening import Run


def coder_of(run: Run) -> Coder:
    """The way in which a run makes pictures bits.

    Raises:
        ConfigError: it has none.
    """
    return coders.coder_of(run.model, run.shape, f"run={run.path}")


def whole(
    run: Run,
    coder: Coder,
    blocks: Sequence[tuple[int, bytes]],
    names: Sequence[str],
    sizes: Sequence[Size],
    labels: Sequence[str | None],
) -> bytes:
    """The file of `blocks`, each with how many pictures it has; names, (height, width) and labels are of all."""
    machine = f"{facts.software()}; {facts.processor()}" if coder.exact else ""  # what is rounded needs no machine
    maker = aec.Maker(coder.name, run.path.name, run.checkpoint.weights, machine, run.shape)
    header = maker.header(names, sizes, labels, [count for count, _ in blocks])
    return aec.to_bytes(header, [block for _, block in blocks])
