"""A stack of bits: what is pushed under a probability takes −log2 of it, and what is popped gives that back.

The coder is constriction's (Bamler, "Understanding Entropy Coding With Asymmetric Numeral Systems", 2022). Popping
from it is drawing from a distribution, with the bits that lie there as the randomness: pushing undoes it exactly.
"""

from collections.abc import Callable

import constriction
import numpy as np

from aectl.errors import DataError

Cumulative = Callable[[np.ndarray], np.ndarray]  # values k, (n,), int64 → F(k), (n,), float64

# What probabilities are whole numbers of. Of 2^28, cells of a grid of 2^16 that are impossible would have one part in
# four thousand together: of 100 images with 40 latents one had a z from nowhere, and the file was 4 % larger.
TOTAL = 2.0**48
WORD = 32  # bits


class Stack:
    """Words of 32 bits, the last one on top.

    Args:
        words: (n,), uint32; the last is not 0.
    """

    def __init__(self, words: np.ndarray):
        if len(words) and not words[-1]:
            raise DataError("its bits end in a zero, as none that were written do")
        self._coder = constriction.stream.stack.AnsCoder(np.ascontiguousarray(words, dtype=np.uint32))
        self._bernoulli = constriction.stream.model.Bernoulli(perfect=False)

    @property
    def words(self) -> np.ndarray:
        """All of it, (n,), uint32."""
        return self._coder.get_compressed()

    @property
    def bits(self) -> int:
        """How many bits it holds, whole words counted."""
        return self._coder.num_bits()

    def lay_under(self, words: np.ndarray) -> None:
        """Put words below all others, so that what comes next does not reach the bottom."""
        self._coder = constriction.stream.stack.AnsCoder(np.concatenate([words, self.words]).astype(np.uint32))

    def push_bits(self, bits: np.ndarray, chances: np.ndarray) -> None:
        """Push zeros and ones, (n,), that are 1 with the chances, (n,), float64."""
        self._coder.encode_reverse(np.ascontiguousarray(bits, dtype=np.int32), self._bernoulli, chances)

    def pop_bits(self, chances: np.ndarray) -> np.ndarray:
        """Pop what was pushed with the same chances, (n,)."""
        return self._coder.decode(self._bernoulli, chances)

    def push(self, values: np.ndarray, cumulative: Cumulative, depth: int) -> None:
        """Push values, (n,), of 0 to 2^depth − 1, whose chances `cumulative` says: F(k) = P(value < k).

        A value is coded by its binary digits, the highest first, each with its chance given those before: that takes
        `depth` values of F in the place of 2^depth.
        """
        values = values.astype(np.int64)
        path = _Path(len(values), cumulative, depth)
        steps = []
        for place in range(depth - 1, -1, -1):
            digits = values >> place & 1
            steps.append((digits, path.chances()))
            path.take(digits)
        for digits, chances in reversed(steps):
            self.push_bits(digits, chances)

    def pop(self, count: int, cumulative: Cumulative, depth: int) -> np.ndarray:
        """Pop so many values, (count,), int64, that were pushed with the same chances."""
        path = _Path(count, cumulative, depth)
        for _ in range(depth):
            path.take(self.pop_bits(path.chances()))
        return path.low


class _Path:
    """From all values to one, by halves: where `count` of them are, and how much probability is left to them.

    F is rounded down to a whole number, and each value gets one more, so that none is impossible, and two machines
    that compute F a little differently have the same numbers, but where it falls next to one.
    """

    def __init__(self, count: int, cumulative: Cumulative, depth: int):
        self._cumulative, self._size = cumulative, 2.0**depth
        self.low = np.zeros(count, np.int64)
        self._half = 1 << depth
        self._below, self._above = np.zeros(count), np.full(count, TOTAL)

    def chances(self) -> np.ndarray:
        """Of the upper half, (count,)."""
        self._half //= 2
        self._middle = self._whole(self.low + self._half)
        return ((self._above - self._middle) / (self._above - self._below)).clip(0, 1)

    def take(self, upper: np.ndarray) -> None:
        """Go to the upper half where `upper`, (count,), is 1, else to the lower."""
        up = upper.astype(bool)
        self._below = np.where(up, self._middle, self._below)
        self._above = np.where(up, self._above, self._middle)
        self.low = self.low + self._half * up

    def _whole(self, level: np.ndarray) -> np.ndarray:
        share = self._cumulative(level)
        if np.isnan(share).any():
            raise DataError("a probability is not a number; the run gives none that could be coded with")
        return level + np.floor(share.clip(0, 1) * (TOTAL - self._size))


def to_bytes(words: np.ndarray) -> bytes:
    """Words as bytes, the lowest first, whatever the machine."""
    return words.astype("<u4").tobytes()


def from_bytes(data: bytes) -> np.ndarray:
    """Words from bytes.

    Raises:
        DataError: they are no whole number of words.
    """
    if len(data) % (WORD // 8):
        raise DataError(f"its bits are no whole number of words of {WORD}")
    return np.frombuffer(data, "<u4").astype(np.uint32)
