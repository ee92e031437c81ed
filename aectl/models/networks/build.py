"""From a configuration to an encoder and a decoder."""

from torch import nn

from aectl.models.networks.conv import ConvDecoder, ConvEncoder, Convolutions
from aectl.models.networks.layers import Shape
from aectl.models.networks.mlp import MLPDecoder, MLPEncoder
from aectl.settings.config import NetworkConfig


def build_network(config: NetworkConfig, shape: Shape, out_features: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (with `out_features` outputs) and decoder (with `latent` inputs) for images of `shape`."""
    mirrored = config.hidden[::-1] if config.decoder_hidden is None else config.decoder_hidden
    if config.name == "mlp":
        return (
            MLPEncoder(shape, config.hidden, out_features, config.activation),
            MLPDecoder(shape, mirrored, latent, config.activation),
        )
    assert config.name == "conv", config.name
    convolutions = Convolutions(
        config.channels, config.blocks or 0, config.activation, config.norm, config.output_conv
    )
    return (
        ConvEncoder(shape, convolutions, config.hidden, out_features),
        ConvDecoder(shape, convolutions, mirrored, latent),
    )
