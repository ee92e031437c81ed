"""A sweep in processes of ours: Hydra composes every job and calls none; then they are trained.

Side by side, each by the process that is free; or batched, a share of them in each process, which takes their steps
together where it can.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aectl import terminal
from aectl.cli.job import Job, Place, settings_for
from aectl.cli.launching import hydra_main
from aectl.cli.workers import work_through
from aectl.errors import OtherSweepError
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


def run(job: Job, overrides: Sequence[str], workers: int, *, batched: bool, always: bool) -> None:
    """All jobs of a sweep of `aectl train`, in so many processes; `always` is as of `train_batched`."""
    plans = Plans()
    hydra_main(job, ["-m", *overrides], plans)
    parts = dealt(plans.found, workers) if batched else [[one] for one in plans.found]
    parts = [part for part in parts if part]
    work = functools.partial(_work, job, always=always)
    if len(parts) > 1:
        work_through(work, parts, min(workers, len(parts)))
    elif parts:
        work(parts[0])


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
    from hydra.core.utils import env_override, setup_globals

    setup_globals()
    root = logging.getLogger()
    root.handlers.clear()  # each job has its own
    todo, environment = [], {}
    for one in planned:
        HydraConfig.instance().set_config(one.hydra)
        root.setLevel(one.level)
        environment |= one.hydra.hydra.job.env_set
        place = Place.of_hydra("train", [_log(*log) for log in one.logs])
        with job.apart(one.cfg, place):
            place.begin()
            settings = settings_for("train", one.cfg, place.overrides)
            todo.append((settings, place, functools.partial(job.apart, one.cfg, place)))

    with env_override(environment):
        from aectl.commands.train import take_up
        from aectl.training.batched import Member, train_batched

        members = []
        try:
            for settings, place, apart in todo:
                with apart():
                    if take_up(settings, place.folder, place.overrides, in_sweep=True) is None:
                        told = (place.folder, place.overrides, job.line, apart, place.completed)
                        members.append(Member(settings, *told))
                    else:
                        place.completed()
        except OtherSweepError:
            for _, place, _ in todo:
                place.take_back()
            raise
        train_batched(members, always=always)


def _log(path: str, formatter: logging.Formatter | None) -> logging.FileHandler:
    found = terminal.LogFile(path)
    found.setFormatter(formatter)
    return found
