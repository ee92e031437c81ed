"""From a configuration to a model."""

from aectl.models.autoencoder import Autoencoder
from aectl.models.denoiser import Denoiser
from aectl.models.networks.layers import Shape
from aectl.settings.config import TrainSchema


def build_model(config: TrainSchema, shape: Shape) -> Autoencoder:
    """The model that `config` describes for images of `shape` = (C, H, W), freshly initialised."""
    if not config.network.has_code:
        return Denoiser(config.network.denoiser(shape[0]), config.likelihood.build())
    posterior = config.model.posterior  # None for an AE
    outputs = config.latent * (2 if posterior else 1)
    encoder, decoder = config.network.build(shape, outputs, config.latent)
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
