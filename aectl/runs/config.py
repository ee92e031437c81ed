"""What defines a run: `aectl.runs.schema`, with classes of choices in the place of plain data, and its ranges."""

from dataclasses import dataclass, field
from typing import Annotated

from aectl.data.datasets.base import Dataset
from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.datasets.table import DATASETS
from aectl.data.noise import NOISES, Clean, Noise
from aectl.models.autoencoder import Ae
from aectl.models.base import ModelChoice
from aectl.models.likelihoods import LIKELIHOODS, Bernoulli, LikelihoodChoice
from aectl.models.networks.base import Network
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import OBJECTIVES, Elbo, Objective
from aectl.models.priors import PRIORS, NormalPrior, PriorChoice
from aectl.models.table import MODELS
from aectl.runs.schema import EXECUTIONS, PRECISIONS, SCHEDULES, TrainSchema
from aectl.settings.common import check_machine
from aectl.settings.ranges import choice, fail, number


@dataclass
class TrainConfig(TrainSchema):
    """Everything that defines a training run."""

    dataset: Annotated[Dataset, DATASETS] = field(default_factory=lambda: Mnist5k(val_size=500, test_size=500))
    noise: Annotated[Noise, NOISES] = field(default_factory=Clean)
    network: Annotated[Network, NETWORKS] = field(default_factory=lambda: Mlp(hidden=[300, 300]))
    model: Annotated[ModelChoice, MODELS] = field(default_factory=Ae)
    prior: Annotated[PriorChoice, PRIORS] = field(default_factory=NormalPrior)
    objective: Annotated[Objective, OBJECTIVES] = field(default_factory=Elbo)
    likelihood: Annotated[LikelihoodChoice, LIKELIHOODS] = field(default_factory=Bernoulli)

    def check(self) -> None:
        """Refuse the first value out of its range, and choices that do not go together."""
        check_machine(self)
        self.model.check_with(self)
        self.objective.check_with(self.prior)
        number("latent", self.latent, 1, 65536)
        number("kl_weight", self.kl_weight, 0)
        number("kl_warmup", self.kl_warmup, 0)
        number("epochs", self.epochs, 1)
        number("batch_size", self.batch_size, 1)
        number("lr", self.lr, 0, open_low=True)
        self._check_schedule()
        self.adam.check()
        choice("precision", self.precision, PRECISIONS)
        choice("execution", self.execution, EXECUTIONS)
        number("grad_clip", self.grad_clip, 0, open_low=True)
        number("early_stop", self.early_stop, 1)
        if self.early_stop is not None and self.dataset.val_size == 0:
            fail("early_stop", self.early_stop, "needs validation images: set dataset.val_size above 0")
        number("figures_every", self.figures_every, 0)
        number("checkpoint_every", self.checkpoint_every, 1)

    def _check_schedule(self) -> None:
        choice("schedule", self.schedule, SCHEDULES)
        steps = self.lr_steps
        if (steps is not None) != (self.schedule == "steps"):
            want = "a list of epochs goes with schedule=steps, and only with it"
            fail("lr_steps", "null" if steps is None else steps, want)
        if steps is not None and (min(steps, default=1) < 1 or steps != sorted(set(steps))):
            fail("lr_steps", steps, "give epochs of at least 1 in rising order")
        number("lr_factor", self.lr_factor, 0, open_low=True)

    def notices(self) -> list[str]:
        """One line for each setting that is accepted but has no effect, or not the one its name suggests."""
        usual = TrainSchema()
        found = self.model.notices(self, self.noise.corrupts)
        if not self.model.has_kl:
            costs = {key: getattr(self, key) for key in ("kl_weight", "kl_warmup")}
            ignored = {key: value for key, value in costs.items() if value != getattr(usual, key)}
            ignored |= {"objective.free_bits": self.objective.free} if self.objective.free else {}
            for key, value in ignored.items():
                found.append(f"{key}={value:g} is ignored: model={self.model.name} has no KL term")
        elif self.kl_warmup > self.epochs:
            found.append(
                f"kl_warmup={self.kl_warmup:g} is longer than epochs={self.epochs}: the KL weight never becomes "
                f"{self.kl_weight:g}"
            )
        if self.lr_factor != usual.lr_factor and self.schedule != "steps":
            found.append(f"lr_factor={self.lr_factor:g} is ignored: schedule={self.schedule} has no steps")
        found += self.likelihood.notices(self.dataset.binarize != "none")
        if self.dataset.val_size == 0:
            found.append("dataset.val_size=0: no validation, so the best checkpoint is the last")
        return found
