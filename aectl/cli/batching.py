"""`hydra/launcher=batched`: first every job is composed, as any launcher does; then they are trained together."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from aectl.cli.job import Job, Planned
from aectl.machine import load

Numbered = tuple[int, Sequence[str]]  # a job's number and its overrides


# Hydra looks for launchers in this package alone, and for the module of one by its name.
PACKAGE = "hydra_plugins.aectl"
sys.modules[PACKAGE] = sys.modules[__name__]


class Batched(Launcher):
    """Several processes, in each of which jobs of one form take every step together.

    Args:
        n_jobs: processes; None for one for each core.
        always: also where the models are so large that it is no faster.
    """

    __module__ = PACKAGE

    def __init__(self, n_jobs: int | None, always: bool):
        self.n_jobs = n_jobs
        self.always = always

    def setup(self, *, hydra_context: HydraContext, task_function: Job, config: DictConfig) -> None:
        """What Hydra has to tell a launcher."""
        self.context, self.job, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """All jobs, and what they return, in their order."""
        from joblib import Parallel, delayed

        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        jobs = list(enumerate(job_overrides, initial_job_idx))
        workers = max(1, min(self.n_jobs or len(load.cores()), len(jobs)))
        more = (self.context, self.config, self.job, Singleton.get_state(), self.always)
        given = [(part, *more) for part in dealt(jobs, workers)]
        parts = Parallel(workers)(delayed(_work)(*one) for one in given) if workers > 1 else [_work(*given[0])]
        found = {number: one for part in parts for number, one in part.items()}
        return [found[number] for number, _ in jobs]


def dealt(jobs: Sequence[Numbered], workers: int) -> list[list[Numbered]]:
    """The jobs dealt out forwards and backwards in turn, so that none gets all of one value of what is swept."""
    parts: list[list[Numbered]] = [[] for _ in range(workers)]
    for place, job in enumerate(jobs):
        row, n = divmod(place, workers)
        parts[n if row % 2 == 0 else workers - 1 - n].append(job)
    return parts


def _work(
    jobs: Sequence[Numbered], context: HydraContext, config: DictConfig, job: Job, state: Any, always: bool
) -> dict[int, JobReturn]:
    """A process's share of the jobs."""
    from aectl.training.batched import Member, train_batched

    setup_globals()
    Singleton.set_state(state)
    found = {number: _planned(number, overrides, context, config, job) for number, overrides in jobs}
    members = {}
    for number, one in found.items():
        if one.status == JobStatus.COMPLETED and isinstance(plan := one.return_value, Planned):
            apart = _apart_of(job, plan, one)
            members[number] = Member(plan.settings, plan.place.folder, plan.place.overrides, job.line, apart)
            one.return_value = None
    train_batched(list(members.values()), always=always)
    for number, member in members.items():
        if found[number].status == JobStatus.COMPLETED:
            found[number].return_value = member.result
    return found


def _planned(number: int, overrides: Sequence[str], context: HydraContext, config: DictConfig, job: Job) -> JobReturn:
    """A job, composed and with its log; its result is what is to be done, unless it is done already, or wrong."""
    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = f"{composed.hydra.job.name}_{number}"
        composed.hydra.job.num = number
    HydraConfig.instance().set_config(composed)
    return run_job(job.plan, composed, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def _apart_of(job: Job, plan: Planned, returned: JobReturn) -> Any:
    """The context of what concerns one job alone; a sweeper that learns from results must know of a failure."""

    @contextlib.contextmanager
    def apart() -> Iterator[None]:
        with job.apart(plan) as failures:
            yield
        if failures and plan.place.learns:
            returned.status, returned.return_value = JobStatus.FAILED, failures[0]

    return apart
