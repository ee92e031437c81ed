"""Several runs of a sweep as one computation: each with its own folder, curves, pictures and checkpoints.

A run that ends, stops early or fails leaves the others to go on.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aectl.data.images import Split
from aectl.data.split import build_dataset
from aectl.machine import threads
from aectl.models.batched import can_be_batched
from aectl.models.networks.layers import Shape, count_parameters
from aectl.models.table import build_model
from aectl.runs import papers
from aectl.runs.config import TrainConfig
from aectl.runs.schema import TOGETHER
from aectl.settings import typed
from aectl.signals import StopRequest
from aectl.training.crew import Crew, FellOutError
from aectl.training.journal import Journal
from aectl.training.loop import REFRESH, begun, end_epoch, finished, is_over, stopped, train
from aectl.training.pace import per_second
from aectl.training.session import Session

log = logging.getLogger(__name__)

# Parameters of a model up to which a crew has been measured to be faster; of larger ones the weights, and what Adam
# knows of them, may fill the memory's way to the processor. See docs/performance.md.
SMALL = 700_000


@dataclass(eq=False)
class Member:
    """A run to be trained with others, and what has become of it.

    Attributes:
        config, run_dir, overrides, command: as of `aectl.training.loop.train`.
        apart: a context in which what it says goes to its own log, and where its errors are told and end.
        completed: says that it has ended well.
        result: what `train` returns, once it has ended well.
        over: whether it has ended, well or not.
    """

    config: TrainConfig
    run_dir: Path
    overrides: Sequence[str]
    command: str
    apart: Callable[[], AbstractContextManager[None]]
    completed: Callable[[], None]
    result: float | None = None
    over: bool = False
    session: Session = field(init=False)
    told: Journal = field(init=False)
    _held: ExitStack = field(default_factory=ExitStack)

    def alone(self) -> None:
        """Train it by itself."""
        with self.apart():
            self.result = train(self.config, self.run_dir, self.overrides, self.command)
            self.completed()
        self.over = True

    def begin(self, data: Split) -> None:
        """Open its folder, and tell its beginning."""
        self.over = True
        with self.apart():
            run = begun(self.config, self.run_dir, self.overrides, self.command, batched=True, data=data)
            self.session, self.told = self._held.enter_context(run)
            self.over = False

    @contextlib.contextmanager
    def own(self) -> Iterator[None]:
        """What concerns this run alone: an error in the block ends it, and the block."""
        held, self.over = self._held.pop_all(), True
        with self.apart(), held:
            yield
            self._held, self.over = held.pop_all(), False

    def finish(self) -> None:
        """Its last epoch is over."""
        with self.own():
            self.session.keeper.settle()
            self.result = finished(self.session, self.told, self.overrides)
        with self.apart():
            self._held.close()
            if self.result is not None:
                self.completed()
        self.over = True

    def close(self) -> None:
        """Let go of its folder, whatever has happened."""
        self._held.close()


def train_batched(members: Sequence[Member], *, always: bool) -> None:
    """Train all, together those whose models have one form and are small; with `always` also where they are large."""
    groups: dict[str, list[Member]] = {}
    for one in members:
        plain = {key: value for key, value in typed.to_dict(one.config).items() if key not in TOGETHER}
        groups.setdefault(json.dumps(plain, sort_keys=True, default=str), []).append(one)
    for group in groups.values():
        data = _common(group) if len(group) > 1 else None
        if data is not None and fits(group[0].config, data.train.shape, always=always):
            _together(group, data)
        else:
            for one in group:
                if not one.over:
                    one.alone()


def _common(group: Sequence[Member]) -> Split | None:
    """The images of all of them, as the first reads them; None where it cannot, and has failed."""
    first, found = group[0], None
    with first.apart():
        config, manifest = first.config, papers.read_manifest(first.run_dir)
        found = build_dataset(
            config.dataset, config.data.root, fresh=True, memory_gb=config.data.memory_gb, manifest=manifest
        )
    first.over = found is None
    return found


def fits(config: TrainConfig, shape: Shape, *, always: bool) -> bool:
    """Whether runs like this one can take their steps together, and, unless `always`, whether they gain by it."""
    with torch.device("meta"):
        model = build_model(config, shape)
    can = (config.execution, config.precision) == ("eager", "float32") and can_be_batched(model, config.objective)
    return can and (always or count_parameters(model) <= SMALL)


def _together(members: Sequence[Member], data: Split) -> None:
    """Runs that begin anew stand at the same step; those that are gone on with may not, and make several crews."""
    try:
        for one in members:
            one.begin(data)
        crews: dict[int, list[Member]] = {}
        for one in members:
            if not one.over:
                crews.setdefault(one.session.progress.step, []).append(one)
        for crew in crews.values():
            for one in crew if len(crew) > 1 else ():
                with one.own():
                    log.info("takes every step together with %d other jobs of its sweep", len(crew) - 1)
            _train(crew)
    finally:
        for one in members:
            one.close()


def _train(members: Sequence[Member]) -> None:
    """Train runs that stand at the same step to their ends, or until a signal asks to stop."""
    with StopRequest() as request:
        crew, aboard = None, []
        while True:
            for one in members:
                if not one.over and is_over(one.session):
                    one.finish()
            left = [one for one in members if not one.over]
            if request.signal is not None:
                for one in left:
                    with one.own():
                        stopped(one.session)
                request.stop()
            if not left:
                return
            if crew is None or left != aboard:
                crew, aboard = Crew([one.session for one in left]), left
            _epoch(crew, aboard, request)


def _epoch(crew: Crew, members: Sequence[Member], request: StopRequest) -> None:
    """What is left of an epoch, and its end; or less, where a run falls out or a signal asks to stop."""
    first = crew.sessions[0]
    began, done = time.perf_counter(), first.progress.batch * first.config.batch_size
    fallen: FellOutError | None = None
    try:
        for batches in crew.batches():
            crew.step(batches)
            if first.progress.step % REFRESH == 0:
                with members[0].apart():
                    threads.look()
            if request.signal is not None:
                break
    except FellOutError as error:
        fallen = error
    elapsed = max(0.0, time.perf_counter() - began)
    for one in members:
        one.session.progress.seconds += elapsed
    for place, why in fallen.why.items() if fallen else ():
        with members[place].own():
            raise why
    if first.progress.batch == first.steps_per_epoch:
        for one in members:
            with one.own():
                end_epoch(one.session, one.told, per_second(len(crew.images) - done, elapsed))
