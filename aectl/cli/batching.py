"""A batched sweep: Hydra composes every job and calls none; then they are trained, together where they can be."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aectl import terminal
from aectl.cli.job import Job, Place, settings_for
from aectl.cli.launching import hydra_main
from aectl.machine import load  # noqa: F401 (before torch: while that is imported, it sees what other processes take)


@dataclass(frozen=True)
class Planned:
    """A job as Hydra has composed it, to be sent to another process.

    Attributes:
        cfg: its settings.
        hydra: Hydra's own, its folder among them.
        logs: its log files, and how their lines look.
        level: from which on something is said.
    """

    cfg: Any
    hydra: Any
    logs: Sequence[tuple[str, logging.Formatter | None]]
    level: int


class Plans:
    """What Hydra calls in the place of each job: it notes what is to be done."""

    def __init__(self) -> None:
        self.found: list[Planned] = []
        functools.update_wrapper(self, settings_for)

    def __call__(self, cfg: Any) -> None:
        """Note a job."""
        from hydra.core.hydra_config import HydraConfig

        root = logging.getLogger()
        files = [one for one in root.handlers if isinstance(one, logging.FileHandler)]
        logs = [(one.baseFilename, one.formatter) for one in files]
        self.found.append(Planned(cfg, HydraConfig.instance().cfg, logs, root.level))


def run(job: Job, overrides: Sequence[str], workers: int, *, always: bool) -> None:
    """All jobs of a sweep of `aectl train`, in so many processes; `always` is as of `train_batched`."""
    plans = Plans()
    hydra_main(job, ["-m", *overrides], plans)
    parts = [part for part in dealt(plans.found, workers) if part]
    if len(parts) > 1:
        from joblib import Parallel, delayed

        Parallel(len(parts))(delayed(_work)(job, part, always=always) for part in parts)
    elif parts:
        _work(job, parts[0], always=always)


def dealt(jobs: Sequence[Any], workers: int) -> list[list[Any]]:
    """The jobs dealt out forwards and backwards in turn, so that none gets all of one value of what is swept."""
    parts: list[list[Any]] = [[] for _ in range(workers)]
    for place, job in enumerate(jobs):
        row, n = divmod(place, workers)
        parts[n if row % 2 == 0 else workers - 1 - n].append(job)
    return parts


def _work(job: Job, planned: Sequence[Planned], *, always: bool) -> None:
    """A process's share of the jobs."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.utils import setup_globals

    setup_globals()
    root = logging.getLogger()
    root.handlers.clear()  # each job has its own
    todo = []
    for one in planned:
        HydraConfig.instance().set_config(one.hydra)
        root.setLevel(one.level)
        place = Place.of_hydra([_log(*log) for log in one.logs])
        with job.apart(one.cfg, place):
            settings = settings_for("train", one.cfg, place.overrides)
            todo.append((settings, place, functools.partial(job.apart, one.cfg, place)))

    from aectl.commands.train import take_up
    from aectl.training.batched import Member, train_batched

    members = []
    for settings, place, apart in todo:
        with apart():
            if take_up(settings, place.folder, place.overrides, in_sweep=True) is None:
                members.append(Member(settings, place.folder, place.overrides, job.line, apart))
    train_batched(members, always=always)


def _log(path: str, formatter: logging.Formatter | None) -> logging.FileHandler:
    found = terminal.LogFile(path)
    found.setFormatter(formatter)
    return found
