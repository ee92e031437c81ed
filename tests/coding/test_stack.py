"""The stack is as long as the information in what is pushed, and popping from it is drawing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from aectl.coding import stack
from aectl.coding.stack import Stack
from aectl.errors import DataError


def words(count, seed=0):
    return np.random.default_rng(seed).integers(1, 2**32, count, dtype=np.uint32)


def binomial(level):
    return binom.cdf(level - 1, 15, 0.3)


def test_what_is_pushed_takes_its_information():
    values = np.random.default_rng(1).binomial(15, 0.3, 20_000)
    coder = Stack(words(4))
    before = coder.bits
    coder.push(values, binomial, 4)
    information = -binom.logpmf(values, 15, 0.3).sum() / np.log(2)
    assert coder.bits - before == pytest.approx(information, rel=1e-4, abs=64)
    np.testing.assert_array_equal(coder.pop(len(values), binomial, 4), values)
    np.testing.assert_array_equal(coder.words, words(4))


def test_what_is_popped_is_drawn_and_goes_back():
    coder = Stack(words(4000))
    values = coder.pop(20_000, binomial, 4)
    seen, expected = np.bincount(values, minlength=16)[:9], 20_000 * binom.pmf(np.arange(9), 15, 0.3)
    assert chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-4
    coder.push(values, binomial, 4)
    np.testing.assert_array_equal(coder.words, words(4000))


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 40))
def test_pushing_undoes_popping_also_beyond_the_bottom(seed, depth, count):
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.random((count, 2**depth - 1)) ** rng.integers(1, 30), axis=1)
    rows = np.arange(count)
    coder = Stack(words(int(rng.integers(0, 9)), seed))
    before = coder.words
    values = coder.pop(count, lambda level: edges[rows, level - 1], depth)
    assert values.min(initial=0) >= 0
    assert values.max(initial=0) < 2**depth
    coder.push(values, lambda level: edges[rows, level - 1], depth)
    np.testing.assert_array_equal(coder.words, before)


def test_what_is_nearly_impossible_has_a_price_and_comes_back():
    coder = Stack(words(2))
    values = np.array([0, 7, 3, 4])
    coder.push(values, lambda level: np.full(len(level), 0.5), 3)  # all mass between 0 and 1
    assert coder.bits < 64 + 4 * 3 * 24 + 32
    np.testing.assert_array_equal(coder.pop(4, lambda level: np.full(len(level), 0.5), 3), values)


def test_what_lies_under_all_others_comes_last():
    coder = Stack(words(3))
    coder.push_bits(np.array([1, 0, 1]), np.full(3, 0.5))
    coder.lay_under(words(2, 7))
    np.testing.assert_array_equal(coder.pop_bits(np.full(3, 0.5)), [1, 0, 1])
    np.testing.assert_array_equal(coder.words, [*words(2, 7), *words(3)])


def test_bits_that_nobody_wrote_are_refused():
    for made in (lambda: Stack(np.array([5, 0], np.uint32)), lambda: stack.from_bytes(b"12345")):
        with pytest.raises(DataError):
            made()
    with pytest.raises(DataError, match="not a number"):
        Stack(words(3)).pop(2, lambda level: np.full(2, np.nan), 1)
    np.testing.assert_array_equal(stack.from_bytes(stack.to_bytes(words(5))), words(5))
    assert stack.to_bytes(np.array([1], np.uint32)) == b"\1\0\0\0"
