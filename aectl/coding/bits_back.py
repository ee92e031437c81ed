"""Images to bits and back without loss, by a VAE: "bits back" makes of its ELBO the size of a file.

For each image z is popped by q(z|x), x is pushed by p(x|z), and z by p(z). The other side, which knows x by then,
gives the bits back that z took when it pushes z by q(z|x). So an image costs log q(z|x) − log p(x|z) − log p(z), on
average its −ELBO. Several images go at once, so that the networks work in batches. Source: Townsend, Bird & Barber,
"Practical Lossless Compression with Latent Variables using Bits Back Coding", ICLR 2019.

Both sides must compute the same probabilities to the last bit: in double precision on one thread of the CPU, through
the networks in batches of one shape. Another machine may still differ; checksums of the images notice.
"""

import copy
import hashlib
import math
import struct
import zlib
from collections.abc import Callable

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from aectl.coding.stack import WORD, Cumulative, Stack, from_bytes, to_bytes
from aectl.errors import ConfigError, DataError
from aectl.machine import threads
from aectl.models.base import Model
from aectl.models.posteriors import Code
from aectl.models.priors import log_normal

GROUP = 128  # images at once, which share a checksum
# A latent is a cell of an even grid, with a density's mass between its edges; the end cells have the rest.
STEP = 2.0**-10  # a hundredth of the narrowest posterior that is of use
REACH = 32.0
DEPTH = 16  # 2·REACH/STEP = 2^DEPTH
LATENT_BITS = math.log2(math.sqrt(2 * math.pi * math.e) / STEP)  # that popping one takes, at the width of N(0, 1)
COUNT = struct.Struct("<I")
ENTRY = struct.Struct("<BI")  # images of a group less one, and their CRC-32

Progress = Callable[[int], object]  # is told how many images are done since the last time


class GarbledError(ValueError):
    """Some images, first to last, do not come back as they were."""

    def __init__(self, first: int, last: int):
        super().__init__(f"images {first} to {last}")
        self.first, self.last = first, last


def refuse(model: Model, run: str) -> None:
    """Raise `ConfigError` where a model gives no probabilities to code with."""
    likelihood = model.likelihood
    if not likelihood.levels:
        raise ConfigError(
            f"{run}: its likelihood is a density over {likelihood.support}, which gives no pixel a probability; "
            "train one with likelihood=logistic256, or with dataset.binarize=… and likelihood=bernoulli"
        )
    if model.prior is None or model.prior.gaussians() is None:
        raise ConfigError(f"{run}: has no prior of Gaussians, under which codes could be written; take a VAE")


def values_of(model: Model, pixels: Tensor) -> Tensor:
    """Which of the likelihood's levels each value is: uint8 of 0..255, any shape → uint8.

    Raises:
        ValueError: one lies between two levels.
    """
    values = (pixels.int() * (model.likelihood.levels - 1)).div(255, rounding_mode="floor").to(torch.uint8)
    if not torch.equal(_pixels(model, values), pixels):
        raise ValueError(f"has other values than the {model.likelihood.levels} that the run's likelihood knows")
    return values


def _pixels(model: Model, values: Tensor) -> Tensor:
    return (values.int() * 255 // (model.likelihood.levels - 1)).to(torch.uint8)


def compress(model: Model, pixels: Tensor, progress: Progress = lambda done: None) -> bytes:
    """Images as bits, (N, C, H, W), uint8, each value one of the likelihood's levels.

    Raises:
        ConfigError: the model gives no probabilities.
        ValueError: a value is none of the levels.
    """
    refuse(model, "this model")
    values, coder, groups = values_of(model, pixels), _Coder(model), []
    noise = _Noise()
    stack = Stack(noise.more(coder.need))
    with threads.single(), torch.inference_mode():
        while len(values):
            if stack.bits - 2 * WORD < coder.need:
                stack.lay_under(noise.more(coder.need))
            size = min(max(1, int((stack.bits - 2 * WORD) / coder.need)), GROUP, len(values))
            group, values = values[:size], values[size:]
            coder.push(stack, group)
            groups.append(ENTRY.pack(size - 1, _checksum(group)))
            progress(size)
    return b"".join([COUNT.pack(len(groups)), *groups, to_bytes(stack.words)])


def decompress(model: Model, data: bytes, count: int, progress: Progress = lambda done: None) -> Tensor:
    """The `count` images that `compress` made these bits of, (N, C, H, W), uint8.

    Raises:
        DataError: they are no such bits.
        GarbledError: other images come out of them, here and with this model.
    """
    refuse(model, "this model")
    groups, words = _parsed(data, count)
    coder, stack = _Coder(model), Stack(words)
    values, end = [], count
    with threads.single(), torch.inference_mode():
        for size, checksum in reversed(groups):
            group = coder.pop(stack, size)
            if _checksum(group) != checksum:
                raise GarbledError(end - size, end - 1)
            values.append(group)
            end -= size
            progress(size)
    if not np.array_equal(stack.words, _Noise().first(len(stack.words))):
        raise DataError("it does not end in the bits that it began with")
    return _pixels(model, torch.cat(values[::-1]))


def _parsed(data: bytes, count: int) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Sizes and checksums of the groups, and the words of the stack."""
    try:
        (number,) = COUNT.unpack_from(data)
        if number > count:
            raise DataError("it has more groups than images")
        end = COUNT.size + number * ENTRY.size
        groups = [(size + 1, checksum) for size, checksum in ENTRY.iter_unpack(data[COUNT.size : end])]
    except struct.error:
        raise DataError("it is too short for its list of groups") from None
    if sum(size for size, _ in groups) != count or any(size > GROUP for size, _ in groups):
        raise DataError("its groups are not those of its images")
    return groups, from_bytes(data[end:])


def _checksum(values: Tensor) -> int:
    return zlib.crc32(values.numpy().tobytes())


class _Noise:
    """The first bits, from which the first z are drawn: as good as random, and the same in every file."""

    def __init__(self) -> None:
        self._taken = 0

    def first(self, count: int) -> np.ndarray:
        """So many words as `more` has given them, put under each other."""
        return from_bytes(hashlib.shake_256(b"aectl: first bits").digest(count * WORD // 8))[::-1]

    def more(self, bits: float) -> np.ndarray:
        """Words of so many bits, and two for the head of the stack."""
        words = math.ceil(bits / WORD) + 2
        self._taken += words
        return self.first(self._taken)[:words]


class _Coder:
    """Groups of images on a stack, by a copy of the model in double precision.

    Attributes:
        need: bits that popping the code of an image takes, about and at most.
    """

    def __init__(self, model: Model):
        self.model = copy.deepcopy(model).cpu().double().eval()
        self.need = model.latent * LATENT_BITS
        with torch.inference_mode():
            found = self.model.prior.gaussians()
            self._prior = Code(found.mu.double(), found.logvar.double())
        self._depth = (model.likelihood.levels - 1).bit_length()

    def push(self, stack: Stack, values: Tensor) -> None:
        """A group of (n, C, H, W), uint8, n ≤ GROUP."""
        z = stack.pop(len(values) * self.model.latent, self._posterior(values), DEPTH)
        stack.push(values.numpy().ravel(), self._likelihood(z), self._depth)
        self._push_code(stack, z)

    def pop(self, stack: Stack, size: int) -> Tensor:
        """The group of so many images that was pushed last."""
        z = self._pop_code(stack, size)
        likelihood = self._likelihood(z)
        found = stack.pop(likelihood.count, likelihood, self._depth)
        values = torch.from_numpy(found.astype(np.uint8)).view(likelihood.shape)
        stack.push(z, self._posterior(values), DEPTH)
        return values

    def _posterior(self, values: Tensor) -> Cumulative:
        x = _pixels(self.model, values).double() / 255
        code = self.model.encode(_full(x))
        return _normal(_cut(code.mu, len(values)), _cut(code.logvar, len(values)))

    def _likelihood(self, z: np.ndarray) -> "_Pixels":
        codes = self._codes(z)
        return _Pixels(self.model, self.model.decoder(_full(codes))[: len(codes)])

    def _codes(self, z: np.ndarray) -> Tensor:
        """The middles of the grid's cells, (n, K)."""
        return torch.from_numpy((z + 0.5) * STEP - REACH).view(-1, self.model.latent)

    def _push_code(self, stack: Stack, z: np.ndarray) -> None:
        """By p(z); of a mixture bits back again: which Gaussian is popped by its share of p(z), pushed evenly."""
        number = len(self._prior.mu)
        if number == 1:
            stack.push(z, self._gaussian(np.zeros(len(z) // self.model.latent, np.int64)), DEPTH)
            return
        which = stack.pop(len(z) // self.model.latent, self._shares(z), _depth(number))
        stack.push(z, self._gaussian(which), DEPTH)
        stack.push(which, lambda k: np.minimum(k / number, 1), _depth(number))

    def _pop_code(self, stack: Stack, size: int) -> np.ndarray:
        number, latent = len(self._prior.mu), self.model.latent
        if number == 1:
            return stack.pop(size * latent, self._gaussian(np.zeros(size, np.int64)), DEPTH)
        which = stack.pop(size, lambda k: np.minimum(k / number, 1), _depth(number))
        which = np.minimum(which, number - 1)  # of what is damaged
        z = stack.pop(size * latent, self._gaussian(which), DEPTH)
        stack.push(which, self._shares(z), _depth(number))
        return z

    def _gaussian(self, which: np.ndarray) -> Cumulative:
        """That of the prior for each of n codes."""
        index = torch.from_numpy(which)
        return _normal(self._prior.mu[index].numpy().ravel(), self._prior.logvar[index].numpy().ravel())

    def _shares(self, z: np.ndarray) -> Cumulative:
        """Of the prior's Gaussians at each of n codes."""
        codes = self._codes(z)
        shares = log_normal(_full(codes), self._prior)[: len(codes)].softmax(-1).cumsum(-1).numpy()
        rows = np.arange(len(shares))
        return lambda k: np.where(k > shares.shape[1], 1.0, shares[rows, np.minimum(k, shares.shape[1]) - 1])


class _Pixels:
    """F(k) of every value of a group of images, by p(x|z)."""

    def __init__(self, model: Model, decoded: Tensor):
        self.likelihood, self.decoded = model.likelihood, decoded
        count, channels, *size = decoded.shape
        self.shape = (count, channels // model.likelihood.per_value, *size)
        self.count = math.prod(self.shape)

    def __call__(self, level: np.ndarray) -> np.ndarray:
        return self.likelihood.cdf(self.decoded, torch.from_numpy(level).view(self.shape)).numpy().ravel()


def _normal(mu: np.ndarray, logvar: np.ndarray) -> Cumulative:
    """F(k) of the grid's cells under N(μ, σ²), each of n."""
    narrowness = np.exp(-0.5 * logvar)
    return lambda k: ndtr((k * STEP - REACH - mu) * narrowness)


def _depth(number: int) -> int:
    """Binary digits of 0 to number − 1."""
    return (number - 1).bit_length()


def _full(rows: Tensor) -> Tensor:
    """As many rows as a group has at most: a product of another shape may be rounded otherwise."""
    return torch.cat([rows, rows.new_zeros((GROUP - len(rows), *rows.shape[1:]))])


def _cut(rows: Tensor, count: int) -> np.ndarray:
    return rows[:count].numpy().ravel()
