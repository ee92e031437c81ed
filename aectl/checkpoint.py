"""The only place that reads or writes weights.

A checkpoint is a folder `step-00001200` of four files and a manifest with the size and SHA-256 of each. It is made
in a temporary folder beside its place, every file flushed to the disk, then renamed; it is never changed
afterwards. Files are read once, as bytes; what is hashed is what is parsed. No pickle is written or read.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from aectl.errors import CheckpointError, one_line

FORMAT = 1
FILES = ("model.safetensors", "config.json", "trainer.safetensors", "trainer.json")
MANIFEST = "manifest.json"
MAX_JSON = 16 * 2**20  # bytes; ours are a few thousand

_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """What one checkpoint holds.

    Attributes:
        path: its folder.
        model: the weights by name.
        config: plain data: the run's configuration and the images' shape.
        trainer: optimizer state and running sums by name.
        state: plain data: step, epoch, best, environment.
    """

    path: Path
    model: dict[str, Tensor]
    config: dict[str, Any]
    trainer: dict[str, Tensor]
    state: dict[str, Any]


def name_of(step: int) -> str:
    """The folder's name of the checkpoint after `step` optimizer steps."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name."""
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


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
        "model.safetensors": safetensors.torch.save(_on_cpu(model)),
        "config.json": dump_json(config),
        "trainer.safetensors": safetensors.torch.save(_on_cpu(trainer)),
        "trainer.json": dump_json(state),
    }
    files = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in contents.items()}
    final = folder / name_of(step)
    temporary = folder / f".tmp-{name_of(step)}-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        temporary.mkdir()
        for name, data in contents.items():
            _write(temporary / name, data)
        _write(temporary / MANIFEST, dump_json({"format": FORMAT, "files": files}))
        _flush_folder(temporary)
        if final.exists():  # a damaged one that resuming passed over; a whole one would have been resumed
            shutil.rmtree(final)
        temporary.rename(final)
        _flush_folder(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return final


def load(path: Path) -> Checkpoint:
    """Read the checkpoint folder `path`, every byte of it verified.

    Raises:
        CheckpointError: a file is missing, damaged, not ours or of an unknown version; the message names it.
    """
    manifest = _parse_json(_read(path / MANIFEST, MAX_JSON), path / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"{path / MANIFEST}: format {one_line(manifest.get('format'))[:40]} is not {FORMAT}; "
            f"it was made by another version of aectl"
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or sorted(files) != sorted(FILES):
        raise CheckpointError(f"{path / MANIFEST}: must list exactly {', '.join(FILES)}")
    contents = {name: _verified(path / name, files[name]) for name in FILES}
    return Checkpoint(
        path,
        _parse_tensors(contents["model.safetensors"], path / "model.safetensors"),
        _parse_json(contents["config.json"], path / "config.json"),
        _parse_tensors(contents["trainer.safetensors"], path / "trainer.safetensors"),
        _parse_json(contents["trainer.json"], path / "trainer.json"),
    )


def listing(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, newest first, verified or not; temporary ones are none."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if step_of(path) >= 0), key=step_of, reverse=True)


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
    why = f" ({passed_over[0]})" if passed_over else "; was the run stopped before its first epoch ended?"
    raise CheckpointError(f"{folder}: no usable checkpoint{why}")


def rotate(folder: Path, best: int | None, keep: int = 2) -> None:
    """Remove all but the newest `keep` checkpoints and the one of step `best`; and left-over temporary folders."""
    for path in listing(folder)[keep:]:
        if step_of(path) != best:
            shutil.rmtree(path)
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file `path` by `data`, so that a reader or a crash sees the old or the new, never a part."""
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        _write(temporary, data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def dump_json(value: Any) -> bytes:
    """Plain data as indented UTF-8 JSON; raises ValueError for NaN and infinities, which JSON has not."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable; a file system that cannot do this for folders is left to itself."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, limit: int) -> bytes:
    """At most `limit` bytes of a regular file; a FIFO or a device named like a file is refused unopened."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; a checkpoint is a folder with {', '.join((*FILES, MANIFEST))}")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if len(data) > limit:
        raise CheckpointError(f"{path}: longer than the {limit} bytes it should have; it is damaged")
    return data


def _verified(path: Path, entry: Any) -> bytes:
    if not isinstance(entry, dict) or type(entry.get("bytes")) is not int or not isinstance(entry.get("sha256"), str):
        raise CheckpointError(f"{path.parent / MANIFEST}: the entry of {path.name} needs bytes and sha256")
    data = _read(path, entry["bytes"])
    if len(data) != entry["bytes"] or _sha256(data) != entry["sha256"]:
        raise CheckpointError(f"{path}: does not match the manifest; it is damaged or of another run")
    return data


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:40]!r} stands there twice")
        result[key] = value
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _parse_json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(data, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not the JSON it should be ({one_line(error)[:120]})") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: must hold a JSON object, found {type(value).__name__}")
    return value


def _parse_tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: is not a safetensors file ({one_line(error)[:120]})") from None
