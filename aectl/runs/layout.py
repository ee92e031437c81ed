"""A run's folder: the names of its files and checkpoints, what its small files say, and its lock. No torch."""

import contextlib
import hashlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aectl import storage
from aectl.errors import CheckpointError, DataError, DivergedError, brief
from aectl.files import documents
from aectl.plain import LINE, SMALL, from_json
from aectl.runs import older, receipts, records, seals

OUTPUTS = Path("outputs")
RESULT = "result.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
EXPLORER = "explore.html"
VALIDATION = "validation"  # the folder of its curves
LOCK = ".lock"
SPLIT = "split.json"  # which of people's own pictures are in which part
FILES = ("model.safetensors", "config.json", "trainer.safetensors", "trainer.json")  # of a checkpoint
MANIFEST = "manifest.json"
PATIENCE = 1.0  # seconds that a start waits for the lock: somebody may be looking whether it is held

_NAME = re.compile(r"step-(\d{8,})")
_NUMBERED = re.compile(r"([0-9]{1,9})(?=_|\Z)")

# What commands make in their folders beside files that `storage` writes: folders, and files that grow in place.
FOLDERS = ("checkpoints", "figures", "images", "pictures", VALIDATION)


def _grows(name: str) -> bool:
    """Whether a file of this name is opened in its place, not written anew: the lock, and logs."""
    return name == LOCK or name.endswith(".log")


def _is_ours(name: str) -> bool:
    """Whether writers other than `storage` open something of this name in a command's folder.

    TensorBoard's projector, and the jobs of a sweep, have folders whose names begin with digits.
    """
    return _grows(name) or name in FOLDERS or name[:1].isdigit()


def refuse_leads(folder: Path) -> None:
    """Refuse to let a command, or a sweep, write into a folder that leads elsewhere; see `storage.refuse_leads`.

    Of the folder that people work in, or one around it, only what bears the names of ours is looked at.
    """
    around = Path.cwd().is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (links stay as they are named)
    storage.refuse_leads(folder, _grows, _is_ours if around else None)


def refuse_links(path: Path) -> None:
    """Refuse to read a run, or one of its checkpoints, that was not made here and has a link in it.

    That is, in the place of one of its files and folders.

    Raises:
        CheckpointError: names the link.
    """
    run_dir = run_of(path)
    if seals.any_in(run_dir):
        return
    shelf = checkpoints_of(run_dir)
    steps = [shelf] if shelf.is_symlink() else [shelf, *(one for one in _below(shelf) if step_of(one) >= 0)]
    files = [folder / name for folder in (path, *steps) if not folder.is_symlink() for name in (*FILES, MANIFEST)]
    own = [run_dir / name for name in (CONFIG, METRICS, RESULT, SPLIT, LOCK, seals.FILE)]
    link = next((one for one in (*own, *steps, *files) if one.is_symlink()), None)
    if link is not None:
        raise CheckpointError(
            f"{link}: is a link, and {run_dir} was not made here, so nothing is read through it; put a copy of what "
            "it leads to in its place"
        )


def _below(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def checkpoints_of(run_dir: Path) -> Path:
    """The folder of a run's checkpoints."""
    return run_dir / "checkpoints"


def run_of(path: Path) -> Path:
    """The run's folder, of that or of one of its checkpoints; whether it is there or not."""
    if step_of(path) >= 0 and path.parent.name == "checkpoints":
        path = path.parent
    return path.parent if path.name == "checkpoints" else path


def name_of(step: int) -> str:
    """The folder's name of the checkpoint after `step` optimizer steps."""
    return f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step in a checkpoint folder's name; -1 for what is none."""
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def listing(folder: Path) -> list[Path]:
    """The checkpoints below `folder`, newest first, verified or not; temporary ones are none.

    Where links lead is looked at only in a run that was made here.
    """
    if not folder.is_dir() or (folder.is_symlink() and not seals.any_in(folder.parent)):
        return []
    found = [path for path in folder.iterdir() if step_of(path) >= 0]
    if any(path.is_symlink() for path in found) and not seals.any_in(folder.parent):
        found = [path for path in found if not path.is_symlink()]
    return sorted(found, key=step_of, reverse=True)


def checkpoints_seen(run_dir: Path) -> list[Path]:
    """`listing` of a run's checkpoints for those who only look: none where the folder cannot be read."""
    try:
        return listing(checkpoints_of(run_dir))
    except OSError:
        return []


def looks_whole(path: Path) -> bool:
    """Whether a checkpoint has every file in the size that its manifest says; their bytes are not read."""
    files = _seen(path / MANIFEST).get("files")
    if not isinstance(files, dict) or sorted(files) != sorted(FILES):
        return False
    try:
        return all((path / name).lstat().st_size == files[name]["bytes"] for name in FILES)
    except (OSError, KeyError, TypeError):
        return False


def jobs_of(sweep: Path) -> list[Path]:
    """The folders of a sweep's jobs, in the order of their numbers: those that its jobs say are theirs."""
    found = receipts.of(sweep)
    if found is None:
        return [path for _, path in numbered(sweep)]
    folders = (receipts.folder_of(sweep, receipt) for receipt in found.values())
    return [folder for folder in folders if folder is not None and receipts.is_there(folder)]


def has_trained(sweep: Path) -> bool:
    """Whether some job of a sweep has a checkpoint."""
    try:
        return any(any(job.glob("checkpoints/step-*")) for job in jobs_of(sweep))
    except OSError:  # there is no such folder, or it cannot be read
        return False


def numbered(sweep: Path) -> list[tuple[int, Path]]:
    """The jobs of a sweep of 0.1.0, in order: the folders whose names up to an underscore are numbers."""
    named = ((_NUMBERED.match(path.name), path) for path in sweep.iterdir())
    return sorted((int(match[1]), path) for match, path in named if match and path.is_dir() and not path.is_symlink())


@contextlib.contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold the run for this process; the lock goes with the process, however it ends.

    Raises:
        CheckpointError: another process holds it.
        StorageError: the folder has a link somewhere, or the like; see `refuse_leads`.
    """
    import filelock  # 50 ms, which only those pay who train

    run_dir.mkdir(parents=True, exist_ok=True)
    refuse_leads(run_dir)
    lock = filelock.FileLock(run_dir / LOCK)
    try:
        lock.acquire(timeout=PATIENCE)
    except filelock.Timeout:
        raise CheckpointError(f"{run_dir}: another process is training this run; wait for it to end") from None
    try:
        yield
    finally:
        lock.release()


def held(run_dir: Path) -> bool:
    """Whether a process holds the run, hence trains it; nothing is made or changed by looking.

    The look is a lock of its own, shared with others who look, for some microseconds: `locked` waits for so long.
    """
    path = run_dir / LOCK
    try:
        import fcntl
    except ImportError:  # on Windows
        return path.is_file() and not path.is_symlink() and not _can_be_locked(path)
    try:
        if not path.is_file() or path.is_symlink():
            return False
        descriptor = os.open(path, os.O_RDONLY | storage.PLAIN)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second on some network file systems
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)  # and with it the lock goes
    return False


def _can_be_locked(path: Path) -> bool:
    import filelock

    lock = filelock.FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return True
    except (filelock.Timeout, OSError):
        return False


def read_manifest(run_dir: Path) -> dict[str, list[list[str]]] | None:
    """Which pictures the run has in which part, as `aectl.data.images.Split` has it; None for data sets with a name.

    Raises:
        DataError: the file is damaged.
    """
    path = run_dir / SPLIT
    if not os.path.lexists(path):
        return None
    try:
        return records.parts(documents.plain_of(path, records.OF_SPLIT))
    except ValueError as error:
        raise DataError(
            f"{path}: cannot be used ({brief(error, 200)}); put back what the run saved there, or train it anew"
        ) from None


def digest_of_split(run_dir: Path) -> str | None:
    """The SHA-256 of split.json, which tells whether two runs have the same; None where there is none.

    Raises:
        DataError: it cannot be read.
    """
    path = run_dir / SPLIT
    if not os.path.lexists(path):
        return None
    try:
        return hashlib.sha256(storage.read(path, records.OF_SPLIT.size, links=False)).hexdigest()
    except ValueError as error:
        raise DataError(f"{path}: {error}; put back what the run saved there, or train it anew") from None


def plain(value: Any) -> Any:
    """`value` for JSON, which has no NaN and no infinities: those become null, in mappings and lists too."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The epochs recorded in a run's metrics.jsonl, in their order, but for a last line that a crash has cut short.

    Raises:
        CheckpointError: a line is damaged, or something else.
    """
    path = folder / METRICS
    if not os.path.lexists(path):
        return []
    try:
        found = list(_epochs_of(path))
        records.check_order(found)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: cannot be used ({brief(error, 200)}); mend or remove that line, or train the run anew"
        ) from None
    return found


def epochs_seen(folder: Path) -> list[dict[str, Any]]:
    """`read_metrics` for those who only look: up to a line that is none; a record may have no count there."""
    found = []
    with contextlib.suppress(ValueError):
        for record in _epochs_of(folder / METRICS):
            found.append(record)
    return found


def _epochs_of(path: Path) -> Iterator[dict[str, Any]]:
    *lines, last = documents.lines_of(path, records.MAX_METRICS)
    for number, line in enumerate(lines if _cut_short(last) else [*lines, last], 1):
        try:
            yield records.epoch(from_json(line, LINE))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _cut_short(line: bytes) -> bool:
    """Whether a last line, which has no end, is no whole document; after a line end it has nothing at all."""
    try:
        from_json(line, LINE)
    except ValueError:
        return True
    return False


def _seen(path: Path) -> dict[str, Any]:
    """A JSON file of ours for those who only look; empty where it is missing, damaged or something else."""
    try:
        return documents.plain_of(path)
    except ValueError:
        return {}


def read_result(run_dir: Path) -> dict[str, Any]:
    """How the run ended, if it has: its result.json, checked; empty where it has none that can be read."""
    try:
        return records.result(documents.plain_of(run_dir / RESULT))
    except ValueError:
        return {}


def damage_of_result(run_dir: Path) -> str | None:
    """Why a result.json that is there cannot be read; None where it can, or is not there."""
    if not os.path.lexists(run_dir / RESULT):
        return None
    try:
        records.result(documents.plain_of(run_dir / RESULT))
    except ValueError as error:
        return brief(error, 200)
    return None


def outcome(run_dir: Path) -> dict[str, Any]:
    """`read_result` of a run that has saved nothing since; empty where it was gone on with."""
    result = read_result(run_dir)
    step, newest = result.get("step"), max(map(step_of, checkpoints_seen(run_dir)), default=0)
    return {} if isinstance(step, int) and step < newest else result


def diverged(result: dict[str, Any]) -> bool:
    """Whether a run's result says that its numbers were not finite; as job of a sweep 0.1.0 called that failed."""
    return result.get("status") == "diverged" or result.get("exit_code") == DivergedError.exit_code


def read_config(run_dir: Path) -> dict[str, Any]:
    """The settings in a run's config.yaml, plain data, under the names of today.

    Raises:
        ValueError: it is missing, damaged or something else.
    """
    return older.updated(documents.plain_of(run_dir / CONFIG))


def command_of(run_dir: Path) -> str:
    """The command line that a run was begun with, as its config.yaml has it; empty where none can be read."""
    try:
        first = documents.lines_of(run_dir / CONFIG, SMALL)[0].decode("utf-8")
    except ValueError:
        return ""
    return first.removeprefix("# ") if first.startswith("# ") else ""


def read_settings(run_dir: Path) -> dict[str, Any]:
    """The run's configuration as plain data, as its newest checkpoint has it; empty where none can be read.

    Without a checkpoint it is that of config.yaml, which a run that is gone on with does not write again.
    """
    for path in checkpoints_seen(run_dir):
        if isinstance(settings := _seen(path / "config.json").get("train"), dict):
            return older.updated(settings)
    try:
        return read_config(run_dir)
    except ValueError:
        return {}
