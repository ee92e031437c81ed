"""The families of models that `model=` takes."""

from aectl.models.autoencoder import Ae, Vae
from aectl.models.base import Choices, Model, ModelChoice
from aectl.models.networks.layers import Shape
from aectl.models.rounded import RoundedChoice
from aectl.settings.choices import Table

MODELS = Table(ModelChoice, Ae, Vae, RoundedChoice)


def build_model(choices: Choices, shape: Shape) -> Model:
    """The model that these choices make for images of `shape` = (C, H, W), freshly initialised."""
    return choices.model.build(choices, shape)
