"""Randomness by key: what a number is drawn for decides the number, not what was drawn before it.

Every consumer (the order of an epoch, the noise of a step, a picture) names itself, so evaluating, sampling or
logging more often cannot change training, and a resumed run needs no saved generator states.
"""

import hashlib

import torch


def seed_of(*key: int | str) -> int:
    """A seed in [0, 2⁶³) that is a hash of `key`; equal keys give equal seeds, on every machine."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator of its own on `device`, seeded with `seed_of(*key)`."""
    return torch.Generator(device).manual_seed(seed_of(*key))
