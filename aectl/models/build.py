"""From a configuration to a model."""

from aectl.models.autoencoder import Autoencoder
from aectl.models.denoiser import Denoiser
from aectl.models.networks.build import build_network
from aectl.models.networks.layers import Shape, glorot
from aectl.models.networks.unet import UNet
from aectl.settings.config import TrainSchema


def build_model(config: TrainSchema, shape: Shape) -> Autoencoder:
    """The model that `config` describes for images of `shape` = (C, H, W), freshly initialised."""
    if config.network.name == "unet":
        network = UNet(
            shape[0], config.network.channels, config.network.blocks, config.network.activation, config.network.norm
        )
        return Denoiser(network, config.likelihood.build())
    posterior = config.model.posterior  # None for an AE
    outputs = config.latent * (2 if posterior else 1)
    encoder, decoder = build_network(config.network, shape, outputs, config.latent)
    if config.network.init == "glorot":
        glorot(encoder, heads=outputs // config.latent)
        glorot(decoder)
    return Autoencoder(
        encoder,
        decoder,
        config.latent,
        config.likelihood.build(),
        posterior,
        logvar_clip=config.model.logvar_clip,
        draws=config.model.samples or 1,
        importance=config.model.name == "iwae",
        free_bits=config.free_bits,
    )
