"""What every network says of itself. Adding one: a file here with its class, its name in `table.py`, and its YAML."""

from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

from torch import nn

from aectl.models.networks.layers import ACTIVATIONS, Shape, glorot
from aectl.settings import ranges
from aectl.settings.choices import Choice, OneOf

Activation = Annotated[str, OneOf(tuple(ACTIVATIONS))]
Norm = Literal["none", "group"]


@dataclass(frozen=True)
class Widths:
    """Widths of layers, at least so many."""

    least: int = 0

    def check(self, key: str, value: list[int]) -> None:
        """Refuse too few, too many, or one that is none."""
        if value is not None and len(value) < self.least:
            ranges.fail(key, value, f"give at least {self.least} width, such as [32,64]")
        ranges.widths(key, value or [])


@dataclass(frozen=True, kw_only=True)
class Network(Choice):
    """An encoder and a decoder, sized from the shape of the images; or one network from pictures to pictures.

    Attributes:
        has_code: whether there is a code between the two; without one it has `denoiser` in the place of `build`.
        spatial: whether that code has a place for every few pixels, for pictures of any size: then it has
            `transforms` in the place of `build`.
        dense: whether its layers are dense, so that a small one is quickest with few threads.
    """

    group: ClassVar[str] = "network"
    has_code: ClassVar[bool] = True
    spatial: ClassVar[bool] = False
    dense: ClassVar[bool] = False

    @property
    def words(self) -> str:
        """`mlp, hidden 300-300, leaky_relu`: its widths, its activation, and what else is not as by default."""
        settings = {setting.name: getattr(self, setting.name) for setting in fields(self)}
        widths = {name: value for name, value in settings.items() if isinstance(value, list) and value}
        found = [self.name]
        for name in sorted(widths, key=lambda name: name.startswith("decoder")):  # the decoder's last
            found.append(f"{name.replace('_', ' ')} {'-'.join(map(str, widths[name]))}")
        for setting in fields(self):
            value = settings[setting.name]
            if isinstance(value, str) and value in ACTIVATIONS:
                found.append(value)
            elif not isinstance(value, list | None) and value != setting.default:
                found.append(f"{setting.name}={value}")
        return ", ".join(found)

    @property
    def starts_at_mean(self) -> bool:
        """Whether the decoder starts at the mean training image."""
        return False

    def build(self, shape: Shape, outputs: int, latent: int) -> tuple[nn.Module, nn.Module]:
        """Encoder with `outputs` outputs and decoder with `latent` inputs, for images of `shape` = (C, H, W)."""
        raise NotImplementedError

    def transforms(self, colours: int, channels: int, gain: float) -> tuple[nn.Module, nn.Module]:
        """From pictures of so many colours to codes of so many channels, rounded in steps of 1/gain, and back."""
        raise NotImplementedError

    def denoiser(self, colours: int) -> nn.Module:
        """The network from pictures of so many channels to such pictures."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Mirrored(Network):
    """A network with dense layers at the code: `hidden` in the encoder, and the same backwards in the decoder.

    `decoder_hidden` gives the decoder widths of its own, from the code to the image. `init=glorot` is that of Glorot
    and Bengio (2010) without biases; `output_bias=data_mean` starts the decoder at the mean training image.
    """

    hidden: Annotated[list[int], Widths()]
    decoder_hidden: Annotated[list[int] | None, Widths()] = None
    activation: Activation = "leaky_relu"
    output_bias: Literal["default", "data_mean"] = "default"
    init: Literal["default", "glorot"] = "default"

    @property
    def starts_at_mean(self) -> bool:
        """Its last bias can be set."""
        return self.output_bias == "data_mean"

    def build(self, shape: Shape, outputs: int, latent: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder, initialised."""
        encoder, decoder = self.layers(shape, outputs, latent)
        if self.init == "glorot":
            glorot(encoder, heads=outputs // latent)
            glorot(decoder)
        return encoder, decoder

    @property
    def mirrored(self) -> list[int]:
        """The decoder's dense widths."""
        return self.hidden[::-1] if self.decoder_hidden is None else self.decoder_hidden

    def layers(self, shape: Shape, outputs: int, latent: int) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder with PyTorch's own initial weights."""
        raise NotImplementedError
