"""Runs that take every step together: one forward pass, one backward pass, and as few calls of Adam as can be."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from aectl.models.batched import BatchedTerms, batched
from aectl.runs.schedules import kl_weight_at, lr_at
from aectl.training.adam import Adam
from aectl.training.feeding import Batch, rest_of_epoch
from aectl.training.session import Session
from aectl.training.step import NotFiniteError, culprits


class FellOutError(Exception):
    """Some runs of a crew cannot go on; none has moved. `why` has them by their place."""

    def __init__(self, why: dict[int, NotFiniteError]):
        super().__init__(why)
        self.why = why


class Crew:
    """M runs at the same step, whose models have one form, of as many images in batches of one size.

    Their parameters, what Adam knows of them and their running sums lie in stacks here from then on, and theirs are
    views of these: they can be scored, drawn and saved as ever. A crew is made anew when one of them leaves.
    """

    def __init__(self, sessions: Sequence[Session]):
        self.sessions = list(sessions)
        first = self.sessions[0]
        self.model = batched([session.model for session in self.sessions])
        self.parameters = dict(self.model.named_parameters())
        self.sums = torch.stack([session.running.sums for session in self.sessions])
        for session, own in zip(self.sessions, self.sums, strict=True):
            session.running.sums = own
        self.adam = self._one_adam() if _same_moves([session.config for session in self.sessions]) else None
        # Runs of one seed and one noise see the same images: those are fetched once.
        keys = [(session.config.seed, repr(session.config.noise)) for session in self.sessions]
        apart = list(dict.fromkeys(keys))
        self.sources = [keys.index(key) for key in apart]
        self.source_of = [apart.index(key) for key in keys]
        self.clips = any(session.config.grad_clip is not None for session in self.sessions)
        self.images = first.data.train.to(first.device)

    def _one_adam(self) -> Adam:
        adam = Adam(self.parameters, self.sessions[0].config.adam)
        adam.take_over([session.adam for session in self.sessions])
        return adam

    def batches(self) -> Iterator[tuple[Batch, ...]]:
        """What is left of the epoch, a batch from each of the sources at a time."""
        origins = [self.sessions[place] for place in self.sources]
        return zip(
            *(rest_of_epoch(self.images, one.config, one.progress, one.device) for one in origins), strict=True
        )

    def step(self, batches: tuple[Batch, ...]) -> None:
        """One step of each run, on what `batches` gives.

        Raises:
            FellOutError: the loss or a gradient of some is not finite, and nothing has moved.
        """
        sessions, first, per_epoch = self.sessions, self.sessions[0], self.sessions[0].steps_per_epoch
        drawn = []
        for place, ((x, seen), rng) in zip(self.sources, batches, strict=True):
            x_noisy = sessions[place].config.noise(seen, rng)
            drawn.append((x, x_noisy, first.model.draw(len(x), rng)))
        xs, noisy, eps = zip(*(drawn[source] for source in self.source_of), strict=True)
        x, x_noisy = torch.cat(xs), torch.cat(noisy)
        betas = [kl_weight_at(one.progress.step, per_epoch, one.config) for one in sessions]
        terms = self.model(x, x_noisy, None if eps[0] is None else torch.cat(eps, 1))
        together = BatchedTerms(**vars(terms), models=len(sessions))
        costs = first.loss(together, torch.tensor(betas, device=x.device))
        for parameter in self.parameters.values():
            parameter.grad = None
        costs.sum().backward()
        values = torch.stack([costs, *together.means.values()], 1).detach()
        if self.clips or self.adam is None:
            self._share_gradients()
        for session in sessions if self.clips else ():
            if session.config.grad_clip is not None:
                torch.nn.utils.clip_grad_norm_(session.adam.parameters.values(), session.config.grad_clip)
        self._check(values, list(together.means))
        if self.adam is None:
            for one in sessions:
                one.adam.step(lr_at(one.progress.step, per_epoch, one.config))
        else:
            self.adam.step(lr_at(first.progress.step, per_epoch, first.config))
        self.sums.add_(values, alpha=len(xs[0]))
        for session in sessions:
            session.progress.step += 1
            session.progress.batch += 1

    def _share_gradients(self) -> None:
        """Let every run's parameters have their part of the gradients."""
        for name, stack in self.parameters.items():
            for session, own in zip(self.sessions, stack.grad, strict=True):
                session.adam.parameters[name].grad = own

    def _check(self, values: Tensor, names: list[str]) -> None:
        gradients = [stack.grad.flatten(1).sum(1) for stack in self.parameters.values()]
        totals = torch.stack([values.sum(1), *gradients]).sum(0).tolist()
        if all(map(math.isfinite, totals)):
            return
        self._share_gradients()
        why = {}
        for place, total in enumerate(totals):
            if not math.isfinite(total):
                found = culprits(values[place], names, self.sessions[place].adam)
                why[place] = NotFiniteError(next(found, "the sum of all gradients"))
        raise FellOutError(why)


def _same_moves(configs: Sequence) -> bool:
    """Whether one call of Adam moves all of them, now and in every later step; it shrinks no weights then."""
    moves = [(one.adam, one.lr, one.schedule, one.epochs) for one in configs]
    return configs[0].adam.weight_decay == 0 and all(move == moves[0] for move in moves)
