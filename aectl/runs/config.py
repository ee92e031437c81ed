"""What defines a run: `aectl.runs.schema`, with classes of choices in the place of plain data, and its ranges."""

from dataclasses import dataclass
from typing import Annotated

from aectl import shell
from aectl.data.datasets.base import Dataset
from aectl.data.datasets.table import DATASETS
from aectl.data.noise import NOISES, Noise
from aectl.models.base import ModelChoice
from aectl.models.likelihoods.base import LikelihoodChoice
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.base import Network
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import ELBO_WEIGHT, OBJECTIVES, Objective
from aectl.models.priors import PRIORS, PriorChoice
from aectl.models.table import MODELS
from aectl.runs.schedules import SCHEDULES, Schedule
from aectl.runs.schema import EXECUTIONS, NAME, PRECISIONS, TrainSchema
from aectl.settings.common import check_machine
from aectl.settings.ranges import SINGLE, choice, fail, number


@dataclass
class TrainConfig(TrainSchema):
    """Everything that defines a training run."""

    dataset: Annotated[Dataset, DATASETS]
    noise: Annotated[Noise, NOISES]
    network: Annotated[Network, NETWORKS]
    model: Annotated[ModelChoice, MODELS]
    prior: Annotated[PriorChoice, PRIORS]
    objective: Annotated[Objective, OBJECTIVES]
    likelihood: Annotated[LikelihoodChoice, LIKELIHOODS]
    schedule: Annotated[Schedule, SCHEDULES]

    def check(self) -> None:
        """Refuse the first value out of its range, and choices that do not go together."""
        check_machine(self)
        self.model.check_with(self)
        self.objective.check_with(self.prior)
        if self.dataset.paired and self.noise.corrupts:
            fail("noise", self.noise.name, "dataset.noisy has the noisy pictures; set noise=none")
        number("latent", self.latent, 1, 65536)
        number("kl_weight", self.kl_weight, 0)
        number("kl_warmup", self.kl_warmup, 0)
        number("epochs", self.epochs, 1)
        number("batch_size", self.batch_size, 1)
        number("lr", self.lr, 0, SINGLE, open_low=True)
        self.adam.check()
        choice("precision", self.precision, PRECISIONS)
        choice("execution", self.execution, EXECUTIONS)
        number("grad_clip", self.grad_clip, 0, SINGLE, open_low=True)
        number("early_stop", self.early_stop, 1)
        if self.early_stop is not None and self.dataset.val_size == 0:
            fail("early_stop", self.early_stop, "needs validation images: set dataset.val_size above 0")
        number("figures_every", self.figures_every, 0)
        number("checkpoint_every", self.checkpoint_every, 1)
        if self.name is not None and (not NAME.fullmatch(self.name) or self.name in shell.WORDS):
            fail("name", self.name, f"give letters, digits, '-', '_' and '.', 64 at most, and not {shell.WORDS[0]}")

    @property
    def corrupts(self) -> bool:
        """Whether the model sees other pictures than it is to give: noise is added, or noisy pictures are given."""
        return self.noise.corrupts or self.dataset.paired

    @property
    def seen(self) -> str:
        """Where these come from, in words."""
        return "given noisy pictures" if self.dataset.paired else f"noise={self.noise.name}"

    def notices(self) -> list[str]:
        """One line for each setting that is accepted but has no effect, or not the one its name suggests."""
        found = self.model.notices(self, self.corrupts)
        if not self.model.has_kl:
            asked = {
                "kl_weight": (self.kl_weight, ELBO_WEIGHT),
                "kl_warmup": (self.kl_warmup, 0),
                "objective.free_bits": (self.objective.free, 0),
            }
            for key, (value, nothing) in asked.items():
                if value != nothing:
                    found.append(f"{key}={value:g} is ignored: model={self.model.name} has no KL term")
        elif self.kl_warmup > self.epochs:
            found.append(
                f"kl_warmup={self.kl_warmup:g} is longer than epochs={self.epochs}: the KL weight never becomes "
                f"{self.kl_weight:g}"
            )
        found += self.likelihood.notices(self.dataset.binarize != "none")
        if self.dataset.val_size == 0:
            found.append("dataset.val_size=0: no validation, so the best checkpoint is the last")
        return found
