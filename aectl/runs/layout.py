"""A run's folder: the names of its files and checkpoints, and what in it may be read and written. No torch."""

import os
import re
from pathlib import Path

from aectl import leads
from aectl.errors import CheckpointError
from aectl.runs import receipts, seals

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
    """Refuse to let a command, or a sweep, write into a folder that leads elsewhere; see `leads.refuse_leads`.

    Of the folder that people work in, or one around it, only what bears the names of ours is looked at.
    """
    around = Path.cwd().is_relative_to(os.path.abspath(folder))  # noqa: PTH100 (links stay as they are named)
    leads.refuse_leads(folder, _grows, _is_ours if around else None)


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
