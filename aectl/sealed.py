"""Plain data in a file whose damage is noticed."""

import hashlib
import json
from typing import Any

from aectl import plain

# Of what lists every picture: three values and 70 bytes for each of millions.
LIMITS = plain.Limits(size=2**30, values=2**26, letters=2**20)


def seal(value: dict[str, Any]) -> bytes:
    """Plain data as JSON after a line with its SHA-256, so that `unseal` notices any damage."""
    body = json.dumps(value, allow_nan=False).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(data: bytes) -> dict[str, Any]:
    """What was sealed.

    Raises:
        ValueError: it is damaged, or something else.
    """
    digest, _, body = data.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("does not match its checksum")
    return plain.from_json(body, LIMITS)
