"""`aectl encode` and `aectl decode`: pictures to codes in a file, and back."""

import csv
import io
import logging
import math
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from aectl import decoding, devices, fitting, metrics, storage, unusable
from aectl.config import BACKGROUNDS, DecodeConfig, EncodeConfig, FilesConfig
from aectl.errors import ConfigError, DataError, StorageError, brief
from aectl.images import to_float, to_uint8
from aectl.rng import generator
from aectl.runs import Run, open_data, open_run

MAX_BYTES = 2**32  # of a file of codes
BATCH = 500  # pictures held at a time

Batch = tuple[list[str], Tensor]  # names, and pixels (N, C, H, W), uint8

log = logging.getLogger(__name__)


def run_encode(config: EncodeConfig, folder: Path) -> None:
    """Codes of pictures, or of the run's test images, into `config.output`: the posterior's means, or draws of it."""
    device = devices.choose(config.device, config.threads)
    run = _opened(config, device)
    target = _new(Path(config.output).expanduser(), config.overwrite)
    bad: list[tuple[str, str]] = []
    batches = _test_images(run, config) if config.input is None else _pictures(run, config, bad)
    names, codes, errors = [], [], []
    with torch.inference_mode():
        for some, pixels in batches:
            x = to_float(pixels.to(device))
            code = run.model.encode(x)
            rng = generator(device, "encode", config.seed, len(names))
            z = code.sample(rng)[0] if config.sample else code.mu
            names += some
            codes.append(z.cpu())
            errors.append(metrics.psnr(run.model.decode(z), x).cpu())
    unusable.settle(bad, len(names) + len(bad), f"input={config.input}", "on_bad", config.on_bad)
    found = torch.cat(codes)
    storage.replace(target, WRITERS[target.suffix](names, found.numpy()))
    unusable.write(target.with_name(f"{target.stem}_{unusable.FILE}"), bad)
    raw, kept = math.prod(run.shape), 4 * found.shape[1]
    log.info("%d codes of %d numbers: %s", len(names), found.shape[1], target)
    log.info(
        "%d bytes a picture become %d: compression %.1f to 1, PSNR %.2f dB", raw, kept, raw / kept,
        torch.cat(errors).mean(),
    )  # fmt: skip
    log.info("back to pictures: aectl decode run=%s input=%s output=<folder>", run.path, target)


def run_decode(config: DecodeConfig, folder: Path) -> None:
    """Pictures from the codes in `config.input`, as PNG under the codes' names, into `config.output`."""
    device = devices.choose(config.device, config.threads)
    run = _opened(config, device)
    source, target = Path(config.input).expanduser(), Path(config.output).expanduser()
    names, codes = read_codes(source, run.config.latent)
    paths = _paths(target, names)
    if len(set(paths)) < len(paths):
        raise DataError(f"input={source}: two of its codes have one name")
    for path in paths:
        _new(path, config.overwrite)
    with torch.inference_mode():
        for start in tqdm(range(0, len(names), BATCH), disable=None, unit="batch", leave=False):
            images = run.model.decode(codes[start : start + BATCH].to(device)).cpu()
            for path, image in zip(paths[start : start + BATCH], to_uint8(images), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                buffer = io.BytesIO()
                decoding.to_image(image.numpy()).save(buffer, "PNG")
                storage.replace(path, buffer.getvalue())
    log.info("%d pictures: %s", len(names), target)


def _opened(config: FilesConfig, device: torch.device) -> Run:
    run = open_run(config.run, config.checkpoint, device)
    if not run.model.has_code:
        raise ConfigError(f"run={run.path}: network=unet denoises, it has no code; try aectl denoise")
    log.info("with %s, %s checkpoint", run.title, config.checkpoint)
    return run


def _new(path: Path, overwrite: bool) -> Path:
    if path.is_dir() or (path.exists() and not overwrite):
        raise StorageError(f"output={path}: is there already; choose another or set overwrite=true")
    return path


def _paths(folder: Path, names: Sequence[str]) -> list[Path]:
    """The PNG for each code's name: a.jpg becomes a.png, but a.jpg.png where there is another a.

    Raises:
        DataError: a name would lead out of the folder.
    """
    for name in names:
        parts = Path(name).parts
        if not parts or ".." in parts or Path(name).is_absolute() or "\0" in name:
            raise DataError(f"{name[:60]!r}: cannot be the name of a picture below the output folder")
    short = [(folder / name).with_suffix(".png") for name in names]
    wanted = Counter(short)
    return [path if wanted[path] == 1 else folder / f"{name}.png" for path, name in zip(short, names, strict=True)]


# ------------------------------------------------------------------------------------------ pictures


def _test_images(run: Run, config: EncodeConfig) -> Iterator[Batch]:
    test = open_data(run, config.data.root).part("test", "give input=<image or folder>")
    first = 0
    for pixels in tqdm(test.chunks(BATCH), disable=None, unit="batch", leave=False):
        yield [f"test{first + index:05d}" for index in range(len(pixels))], pixels
        first += len(pixels)


def _pictures(run: Run, config: EncodeConfig, bad: list[tuple[str, str]]) -> Iterator[Batch]:
    """Pictures, brought to the run's channels and size as its own data set was; `bad` gets those that cannot be."""
    entries = decoding.entries(Path(config.input).expanduser(), "input")
    channels, *size = run.shape
    own = run.config.dataset
    fit = own.fit if own.fit in ("resize", "crop", "pad") else "resize"
    background = 255 * BACKGROUNDS.index(own.background or "black")
    names, pixels = [], []
    for entry in tqdm(entries, disable=None, unit="picture", leave=False):
        try:
            values = fitting.with_channels(decoding.decode(entry.read()), channels, background)
            values = fitting.fitted(values, tuple(size), fit, background)
        except DataError as error:
            bad.append((entry.name, str(error)))
            continue
        names.append(entry.name)
        pixels.append(torch.from_numpy(values.copy()))
        if len(names) == BATCH:
            yield names, torch.stack(pixels)
            names, pixels = [], []
    if names:
        yield names, torch.stack(pixels)


# --------------------------------------------------------------------------------- files of codes


def _to_npz(names: Sequence[str], codes: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, codes=codes, names=np.array(names))
    return buffer.getvalue()


def _to_csv(names: Sequence[str], codes: np.ndarray) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["name", *(f"z{index + 1}" for index in range(codes.shape[1]))])
    # Nine digits give every single-precision number back.
    writer.writerows([name, *(f"{value:.9g}" for value in code)] for name, code in zip(names, codes, strict=True))
    return buffer.getvalue().encode("utf-8", "surrogateescape")


def _to_parquet(names: Sequence[str], codes: np.ndarray) -> bytes:
    arrow, parquet = _arrow()
    columns = {"name": list(names), **{f"z{index + 1}": column for index, column in enumerate(codes.T)}}
    buffer = io.BytesIO()
    parquet.write_table(arrow.table(columns), buffer)
    return buffer.getvalue()


def _arrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("a .parquet file needs pyarrow: pip install pyarrow, or use .npz or .csv") from None
    return pyarrow, pyarrow.parquet


WRITERS = {".npz": _to_npz, ".csv": _to_csv, ".parquet": _to_parquet}


def read_codes(path: Path, latent: int) -> tuple[list[str], Tensor]:
    """Names and codes, (N, latent), float32, from a file that `aectl encode` wrote, or another of its form.

    Raises:
        DataError: it cannot be read, or its codes do not fit.
    """
    try:
        data = storage.read(path, MAX_BYTES)
        names, codes = READERS[path.suffix](data)
        if codes.ndim != 2 or codes.shape != (len(names), latent):
            raise ValueError(f"has codes of shape {codes.shape}, and the run's are {latent} numbers each")
        if not np.isfinite(codes).all():
            raise ValueError("has codes that are not finite")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, csv.Error) as error:
        raise DataError(f"input={path}: cannot be used ({brief(error)})") from None
    return names, torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32))


def _from_npz(data: bytes) -> tuple[list[str], np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        return [str(name) for name in loaded["names"]], loaded["codes"]


def _from_csv(data: bytes) -> tuple[list[str], np.ndarray]:
    rows = list(csv.reader(data.decode("utf-8", "surrogateescape").splitlines()))
    codes = [[float(value) for value in row[1:]] for row in rows[1:]]
    return [row[0] for row in rows[1:]], np.array(codes, dtype=np.float64)


def _from_parquet(data: bytes) -> tuple[list[str], np.ndarray]:
    arrow, parquet = _arrow()
    try:
        table = parquet.read_table(arrow.BufferReader(data))
    except arrow.ArrowException as error:
        raise ValueError(brief(error)) from None
    columns = [table[name].to_numpy() for name in table.column_names if name != "name"]
    return [str(name) for name in table["name"].to_pylist()], np.stack(columns, axis=1)


READERS = {".npz": _from_npz, ".csv": _from_csv, ".parquet": _from_parquet}
