"""The word that each job of a sweep leaves of itself: in which folder, given what, how it stands.

A sweep's jobs are known by what they say, and by nothing that their folders are called or a launcher returns. Job 3
of a sweep says it in `<sweep>/.jobs/3.json`, a place that depends on its number alone: first that it has begun, at
its end that it is completed, or has failed, of what, and with which exit code. A job that was killed cannot say
anything; what it said last is that it has begun, and so it was interrupted. It is the process that trains which
writes it, whoever has started that: Hydra's launchers, a queue's, or we.

Its folder it marks with its number (`.job`), and takes none that has another's mark: of two jobs in one folder one
would be lost. Folders lie anywhere below the sweep's. Sweeps of 0.1.0 have no receipts; their jobs are the folders
whose names begin with a number (`aectl.runs.layout.jobs_of`), until the sweep is gone on with. No torch.
"""

import contextlib
import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from aectl import storage
from aectl.errors import OtherSweepError, TakenError
from aectl.files import documents
from aectl.settings import typed
from aectl.settings.choices import Range

FOLDER = ".jobs"  # in that of the sweep
MARK = ".job"  # in that of a job
PATIENCE = 1.0  # seconds that an empty mark is given: who makes it may be about to write its number

_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass
class Receipt:
    """What a job has said.

    Attributes:
        command: what it does, such as `train`.
        folder: its own, from the sweep's on, with slashes; None where it has none.
        overrides: those that it was given.
        status: how it stands.
        error, exit_code: of what it has failed.
    """

    command: str
    folder: str | None
    overrides: list[str]
    status: Literal["begun", "completed", "failed"]
    error: str | None = None
    exit_code: Annotated[int, Range(1, 255)] | None = None


def of(sweep: Path) -> dict[int, Receipt | None] | None:
    """The receipts of a sweep's jobs by their numbers, in that order; None for a sweep that has no folder of them.

    One that cannot be read is None: there was a job, and nothing more is known of it.
    """
    try:
        names = [path.name for path in (sweep / FOLDER).iterdir()]
    except OSError:
        return None
    numbers = sorted({int(name[:-5]) for name in names if name.endswith(".json") and _NUMBER.fullmatch(name[:-5])})
    return {number: read(sweep, number) for number in numbers}


def read(sweep: Path, number: int) -> Receipt | None:
    """The receipt of one job; None where it has none that can be read."""
    try:
        return typed.from_dict(Receipt, documents.plain_of(_path(sweep, number)), "")
    except ValueError:
        return None


def folder_of(sweep: Path, receipt: Receipt | None) -> Path | None:
    """The folder that a job calls its own; None where it has none below the sweep's, or a link leads to it."""
    if receipt is None or receipt.folder is None:
        return None
    parts = PurePosixPath(receipt.folder).parts
    inside = parts and ".." not in parts and "\0" not in receipt.folder and parts[0] != FOLDER
    found = sweep.joinpath(*parts)
    if not inside or not found.is_relative_to(sweep):
        return None
    steps = [found, *found.parents[: len(parts) - 1]]
    links = map(os.path.islink, steps)  # which takes words that no file can be called
    return None if any(links) else found


def is_there(folder: Path) -> bool:
    """Whether there is such a folder; whatever a receipt calls one, such as a name longer than any can be."""
    with contextlib.suppress(OSError, ValueError):
        return folder.is_dir()
    return False


def nowhere(sweep: Path, number: int) -> Path:
    """Where there is no folder and never will be: that of a job which has none."""
    return sweep / FOLDER / str(number)


def clear(sweep: Path) -> None:
    """Forget the jobs of a sweep, whose folder is used anew."""
    for receipt in (of(sweep) or {}).values():
        if (folder := folder_of(sweep, receipt)) is not None:
            storage.remove(folder / MARK)
    storage.remove(sweep / FOLDER)


def adopt(sweep: Path, found: dict[int, Receipt]) -> None:
    """Give a sweep of 0.1.0, which is gone on with, the receipts of its jobs; all of them or, if killed, none."""
    contents = {f"{number}.json": _dump(receipt) for number, receipt in found.items()}
    storage.make_folder(sweep / FOLDER, contents)


class Word:
    """What a job of a sweep leaves word with.

    Args:
        sweep: the sweep's folder.
        number: the job's.
        command: what it does.
        folder: where everything that it makes goes.
        overrides: those that it was given.
    """

    def __init__(self, sweep: Path, number: int, command: str, folder: Path, overrides: Sequence[str]):
        self.sweep = sweep
        self.number = number
        self.folder = folder
        self.holds = False  # whether the folder is this job's
        self._receipt = Receipt(command, None, list(overrides), "begun")
        self._before: Receipt | None = None
        self._begun = False

    def begin(self) -> None:
        """Take the folder, and say that it has begun.

        Raises:
            TakenError: the folder is another job's, or lies outside of the sweep's.
            OtherSweepError: in the sweep that is gone on with, the job of this number has trained in another folder.
        """
        where, before = self._within(), read(self.sweep, self.number)
        there = folder_of(self.sweep, before)
        if there is not None and before and before.folder != where and any(there.glob("checkpoints/step-*")):
            self._leave()
            raise OtherSweepError(
                f"sweep.resume={self.sweep}: job {self.number} is {before.folder} there, not {where}; repeat the "
                "command that began the sweep"
            )
        if (owner := self._mark()) != self.number:
            own = shlex.quote(f"hydra.sweep.subdir={where}_${{hydra.job.num}}")
            raise TakenError(f"hydra.sweep.subdir={where}: is the folder of job {owner}; give each its own: {own}")
        self.holds = True
        self._before, self._receipt.folder, self._begun = before, where, True
        self._write()

    def completed(self) -> None:
        """Say that the job has ended well."""
        self._receipt.status = "completed"
        self._write()

    def failed(self, error: str, exit_code: int) -> None:
        """Say of what it has failed."""
        self._receipt.status, self._receipt.error, self._receipt.exit_code = "failed", error, exit_code
        self._write()

    def take_back(self) -> None:
        """Have said nothing: what an earlier command left is as it was."""
        if not self._begun:
            return
        if self._before is None:
            storage.remove(_path(self.sweep, self.number))
        else:
            storage.replace(_path(self.sweep, self.number), _dump(self._before))

    def _within(self) -> str:
        """The folder from that of the sweep on."""
        sweep, folder = (Path(os.path.abspath(path)) for path in (self.sweep, self.folder))  # noqa: PTH100
        inside = folder.is_relative_to(sweep) and folder != sweep
        where = folder.relative_to(sweep).as_posix() if inside else ""
        if not inside or where.split("/")[0] == FOLDER:
            self._leave()
            raise TakenError(
                f"hydra.sweep.subdir: job {self.number} would lie in {self.folder}, which is no place within its "
                f"sweep; give a name below {self.sweep}: 'hydra.sweep.subdir=job${{hydra.job.num}}'"
            )
        return where

    def _leave(self) -> None:
        """Take away the folder that was made for this job alone."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def _mark(self) -> int:
        """Whose number the folder has, from now on ours if it had none."""
        mark, ours = self.folder / MARK, f"{self.number}\n".encode()
        end = time.monotonic() + PATIENCE
        while True:
            try:
                storage.write(mark, ours)
                return self.number
            except FileExistsError:
                with contextlib.suppress(ValueError):
                    text = storage.read(mark, 10, links=False).decode("ascii").strip()
                    if _NUMBER.fullmatch(text):
                        return int(text)
            if time.monotonic() > end:  # whoever made it was killed within
                storage.replace(mark, ours)
                return self.number
            time.sleep(PATIENCE / 50)

    def _write(self) -> None:
        path = _path(self.sweep, self.number)
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.replace(path, _dump(self._receipt))


def _path(sweep: Path, number: int) -> Path:
    return sweep / FOLDER / f"{number}.json"


def _dump(receipt: Receipt) -> bytes:
    return storage.dump_json(typed.to_dict(receipt))
