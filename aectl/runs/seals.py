"""Which runs were made here: a seal in a run's folder, which nobody makes without this person's key. No torch.

A run's configuration names places: where its pictures lie, where downloaded data sets live. Only of a run that was
made here are these what the person has typed; of any other they are a stranger's words, and nobody looks there. So
training leaves beside a run's checkpoints a code of these names (HMAC-SHA256), made with a key that lies in the
person's home. The folder may be moved and copied; on another machine, or with other names, the run is a stranger's.
"""

import contextlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aectl import plain, storage

FILE = ".made-here"
KEY_BYTES = 32
MOST = 100  # seals of a run: one for each place that its pictures have had
PURPOSE = b"aectl: a run that was made here\n"

Names = dict[str, Any]


def key_place() -> Path:
    """Where the person's key lies: $AECTL_KEY, else in the user's folder of states.

    Raises:
        ValueError: there is no such folder.
    """
    try:
        if os.environ.get("AECTL_KEY"):
            return Path(os.environ["AECTL_KEY"]).expanduser()
        return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "aectl/key"
    except RuntimeError:
        raise ValueError("there is no home folder") from None


def _key() -> bytes:
    """The key.

    Raises:
        ValueError: there is none that can be used; says why.
    """
    path = key_place()
    try:
        found = storage.read(path, KEY_BYTES)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    if len(found) != KEY_BYTES:
        raise ValueError(f"{path} has {len(found)} bytes, not {KEY_BYTES}")
    return found


def _key_made() -> bytes:
    """The key, made where there is none yet; of two processes that make it at once both get the same.

    Raises:
        ValueError: there is none that can be used, and none can be made; says why.
    """
    path = key_place()
    if not os.path.lexists(path):
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            storage.create(path, secrets.token_bytes(KEY_BYTES), 0o600)
        except OSError as error:
            raise ValueError(f"{path} cannot be made ({error.strerror})") from None
    return _key()


def names_in(train: Any) -> Names:
    """What a saved configuration, plain data, names outside of the run: its data set, and where such sets live."""
    train = train if isinstance(train, Mapping) else {}
    data = train.get("data")
    return {"dataset": train.get("dataset"), "data.root": data.get("root") if isinstance(data, Mapping) else None}


def _code(key: bytes, names: Any) -> str:
    written = json.dumps(names, sort_keys=True, separators=(",", ":")).encode()
    return hmac.digest(key, PURPOSE + written, "sha256").hex()


def add(run_dir: Path, train: Any) -> str:
    """Seal what a run's configuration names, beside what it has named before; why that cannot be, else nothing.

    Raises:
        OSError, StorageError: the run's folder cannot be written.
    """
    try:
        key = _key_made()
    except ValueError as error:
        return str(error)
    names = names_in(train)
    known = list(_sealed(run_dir, key))
    if names not in known:
        seals = [{"names": one, "code": _code(key, one)} for one in [*known, names][-MOST:]]
        storage.replace(run_dir / FILE, storage.dump_json({"seals": seals}))
    return ""


def holds(run_dir: Path, train: Any) -> bool:
    """Whether what this configuration of the run names was named here."""
    try:
        return names_in(train) in list(_sealed(run_dir, _key()))
    except ValueError:
        return False


def any_in(run_dir: Path) -> bool:
    """Whether a run has been trained here at all."""
    try:
        return any(True for _ in _sealed(run_dir, _key()))
    except ValueError:
        return False


def _sealed(run_dir: Path, key: bytes) -> Iterator[Names]:
    """What a run's seals name, of those that are of this key."""
    try:
        seals = plain.from_json(storage.read(run_dir / FILE, plain.SMALL.size, links=False)).get("seals")
    except ValueError:
        return
    for one in seals[:MOST] if isinstance(seals, list) else []:
        code = one.get("code") if isinstance(one, dict) else None
        if not isinstance(code, str) or not code.isascii():
            continue
        with contextlib.suppress(RecursionError):  # names that lie too deep in each other are none of ours
            if hmac.compare_digest(code, _code(key, one.get("names"))):
                yield one["names"]
