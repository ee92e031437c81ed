"""The networks that `network=` takes."""

from aectl.models.networks.base import Network
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.strided import Strided
from aectl.models.networks.unet import Unet
from aectl.settings.choices import Table

NETWORKS = Table(
    Network, Mlp, Conv, Unet, Strided,
    formerly={"norm": "none", "output_conv": False, "hidden": [], "output_bias": "default", "init": "default"},
)  # fmt: skip
