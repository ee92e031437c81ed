"""What comes out of a packed file: far more than is in it, or an error, and whose fault that is."""

import contextlib
from collections.abc import Iterator

from aectl.errors import DataError, MemoryShortError, brief
from aectl.machine import memory

# Flat pictures that are not compressed themselves come to 100 to 1; Deflate goes up to 1,032.
TIMES = 100


def is_flat(size: int, packed: int) -> bool:
    """Whether `size` bytes are more than `TIMES` the bytes that they take in the file: there is next to nothing."""
    return size > TIMES * packed


@contextlib.contextmanager
def blamed(where: str, unreadable: tuple[type[Exception], ...]) -> Iterator[None]:
    """A block in which a file is read; `where` names it, `unreadable` are the errors of one that is damaged.

    Raises:
        DataError: it is damaged.
        MemoryShortError: it is not, but the machine has too little memory for it.
    """
    try:
        yield
    except MemoryShortError as error:
        raise MemoryShortError(f"{where}: {error}") from None
    except unreadable as error:
        if memory.of_machine(error):
            raise
        raise DataError(f"{where}: cannot be used ({brief(error, 200)})") from None
