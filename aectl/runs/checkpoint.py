"""The only place that reads or writes weights.

A checkpoint is a folder `step-00001200` of four files and a manifest with the size and SHA-256 of each. It is made
in a temporary folder beside its place, every file flushed to the disk, then renamed; it is never changed
afterwards. Files are read once, as bytes; what is hashed is what is parsed. No pickle is written or read.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from aectl import storage
from aectl.errors import CheckpointError, brief
from aectl.machine import memory
from aectl.plain import SMALL, from_json
from aectl.runs.layout import FILES, MANIFEST, listing, name_of, step_of
from aectl.runs.records import Entry, Manifest
from aectl.settings import typed

FORMAT = 1
ANOTHER = "a whole checkpoint is needed, choose another"
SPARE = 2**22  # bytes of memory beside what tensors take when they become a file


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds.

    Attributes:
        path: its folder.
        model: the weights by name.
        config: plain data: the run's configuration and the images' shape.
        trainer: optimizer state and running sums by name.
        state: plain data: step, epoch, best, environment.
        weights: the SHA-256 of the file of weights.
    """

    path: Path
    model: dict[str, Tensor]
    config: dict[str, Any]
    trainer: dict[str, Tensor]
    state: dict[str, Any]
    weights: str


def save(
    folder: Path,
    step: int,
    model: dict[str, Tensor],
    config: dict[str, Any],
    trainer: dict[str, Tensor],
    state: dict[str, Any],
) -> Path:
    """Write the checkpoint of `step` below `folder`, whole or not at all; return its path.

    Raises:
        OSError: the disk refused; what was saved before is untouched.
    """
    contents = {
        "model.safetensors": to_bytes(model),
        "config.json": storage.dump_json(config),
        "trainer.safetensors": to_bytes(trainer),
        "trainer.json": storage.dump_json(state),
    }
    files = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in contents.items()}
    manifest = storage.dump_json({"format": FORMAT, "files": files})
    path = folder / name_of(step)
    storage.make_folder(path, {**contents, MANIFEST: manifest})
    return path


def load(path: Path) -> Checkpoint:
    """Read the checkpoint folder `path`, every byte of it verified.

    Raises:
        CheckpointError: a file is missing, damaged, not ours or of an unknown version; the message names it.
    """
    contents = verify(path)
    model, config, trainer, state = (_parse(path / name, contents[name]) for name in FILES)
    return Checkpoint(path, model, config, trainer, state, _sha256(contents[FILES[0]]))


def verify(path: Path) -> dict[str, bytes]:
    """The bytes of a checkpoint's files, each of the size and SHA-256 that the manifest says.

    Raises:
        CheckpointError: as `load` does, but for the files' contents.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: is not a checkpoint folder")
    found = _parse(path / MANIFEST, _read(path / MANIFEST, SMALL.size))
    if found.get("format") != FORMAT:
        version = brief(found.get("format"), 40)
        raise CheckpointError(
            f"{path / MANIFEST}: format {version} is not {FORMAT}; another version of aectl made it"
        )
    try:
        files = typed.from_dict(Manifest, found, "").files
    except ValueError as error:
        raise CheckpointError(f"{path / MANIFEST}: {error}; {ANOTHER}") from None
    if sorted(files) != sorted(FILES):
        raise CheckpointError(f"{path / MANIFEST}: must list exactly {', '.join(FILES)}")
    return {name: _verified(path / name, files[name]) for name in FILES}


def newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """The newest whole checkpoint below `folder`, and why newer ones were passed over.

    Raises:
        CheckpointError: there is none.
    """
    passed_over: list[str] = []
    for path in listing(folder):
        try:
            return load(path), passed_over
        except CheckpointError as error:
            passed_over.append(str(error))
    why = f" ({passed_over[0]})" if passed_over else ""
    raise CheckpointError(f"{folder}: no usable checkpoint{why}; train it anew")


def rotate(folder: Path, keep: Iterable[int]) -> list[OSError]:
    """Remove the checkpoints of all steps but `keep`, and what an interrupted save left behind.

    A folder goes out of sight under a temporary name before it is emptied, so that none is ever seen in part. What
    lies there under such a name and cannot be removed stays, and nothing depends on it: the errors are returned.
    """
    keep = set(keep)
    for path in listing(folder):
        if step_of(path) not in keep:
            path.rename(path.with_name(f".tmp-old-{path.name}-{os.getpid()}"))
    refused = []
    for path in folder.glob(".tmp-*"):
        try:
            storage.remove(path)
        except OSError as error:
            refused.append(OSError(error.errno, error.strerror, str(path)))
    return refused


def to_bytes(tensors: dict[str, Tensor]) -> bytes:
    """Tensors by name as one safetensors file.

    Raises:
        RuntimeError: there is not the memory.
    """
    _ask_for(3 * sum(tensor.nbytes for tensor in tensors.values()))  # each tensor's bytes, the file, a copy of that
    return safetensors.torch.save(_on_cpu(tensors))


def from_bytes(data: bytes) -> dict[str, Tensor]:
    """What `to_bytes` was given.

    Raises:
        RuntimeError: there is not the memory.
    """
    _ask_for(2 * len(data))
    return safetensors.torch.load(data)


def _ask_for(size: int) -> None:
    """Have so much memory for a moment, in which nothing is written to it.

    Where safetensors gets none itself, it panics with lines of its own, or ends the process.
    """
    torch.empty(size + SPARE, dtype=torch.uint8)


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, limit: int) -> bytes:
    try:
        return storage.read(path, limit, links=False)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; {ANOTHER}") from None


def _verified(path: Path, entry: Entry) -> bytes:
    if path.suffix == ".json" and entry.bytes > SMALL.size:
        raise CheckpointError(f"{path}: has {entry.bytes} bytes, and at most {SMALL.size} are read; {ANOTHER}")
    data = _read(path, entry.bytes)
    if len(data) != entry.bytes or _sha256(data) != entry.sha256:
        raise CheckpointError(f"{path}: does not match the manifest; it is damaged or of another run")
    return data


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    """The contents of a file of this name: tensors by name, or a JSON object."""
    try:
        return from_json(data) if path.suffix == ".json" else from_bytes(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        if memory.of_machine(error):
            raise
        kind = "JSON" if path.suffix == ".json" else "safetensors"
        raise CheckpointError(f"{path}: is not the {kind} it should be ({brief(error)})") from None
