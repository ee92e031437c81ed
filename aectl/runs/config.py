"""What defines a run: `aectl.settings.config`, with classes of choices in the place of plain data."""

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
from aectl.settings import config


@dataclass
class TrainConfig(config.TrainSchema):
    """Everything that defines a training run."""

    dataset: Annotated[Dataset, DATASETS] = field(default_factory=lambda: Mnist5k(val_size=500, test_size=500))
    noise: Annotated[Noise, NOISES] = field(default_factory=Clean)
    network: Annotated[Network, NETWORKS] = field(default_factory=lambda: Mlp(hidden=[300, 300]))
    model: Annotated[ModelChoice, MODELS] = field(default_factory=Ae)
    prior: Annotated[PriorChoice, PRIORS] = field(default_factory=NormalPrior)
    objective: Annotated[Objective, OBJECTIVES] = field(default_factory=Elbo)
    likelihood: Annotated[LikelihoodChoice, LIKELIHOODS] = field(default_factory=Bernoulli)


@dataclass
class DenoiseConfig(config.DenoiseSchema):
    """`aectl denoise`: the pictures to clean, or none for the run's own test split and noise."""

    noise: Annotated[Noise, NOISES] = field(default_factory=Clean)


# What each command's plain settings become.
CONFIGS: dict[str, type] = {**config.SCHEMAS, "train": TrainConfig, "denoise": DenoiseConfig}
