"""A network from pictures to pictures in the place of an autoencoder."""

from torch import Tensor

from aectl.models.base import Model, Tiles
from aectl.models.likelihoods.base import Likelihood
from aectl.models.networks.layers import Shape
from aectl.models.networks.unet import UNet
from aectl.models.objectives import Terms
from aectl.models.parts import Part

WHOLE = 512  # side of a tile; most pictures are one


class Denoiser(Model):
    """A network from pictures to pictures: its skip connections pass by the bottleneck, so there is no code."""

    def __init__(self, network: UNet, likelihood: Likelihood):
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def codes(self, x: Tensor) -> Tensor:
        """Features of the bottleneck, averaged over the picture: (N, C, H, W) → (N, K)."""
        return self.network.features(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """The denoised pictures, of the same shape: (N, C, H, W)."""
        return self.likelihood.mean(self.network(x))

    def terms(self, x: Tensor, x_noisy: Tensor, eps: None) -> Terms:
        """−log p(x | x̃), and nothing that costs; nothing is drawn."""
        decoded = self.network(x_noisy)
        return Terms(self.likelihood.neg_log_prob(x, decoded)[None], decoded=decoded)

    def untrained(self, x_noisy: Tensor) -> Tensor:
        """It adds to what it sees."""
        return x_noisy

    def tiles(self, shape: Shape, size: tuple[int, int]) -> Tiles:
        """Whole, or in large tiles, since it is fully convolutional; they share what a pixel sees to either side."""
        reach, multiple = self.network.reach, self.network.multiple
        tile = tuple(min(max(WHOLE, 4 * reach), -(-side // multiple) * multiple) for side in size)
        return tile, tuple(min(2 * reach, side // 2) for side in tile)

    def parts(self) -> dict[str, Part]:
        """A denoiser of pictures whose sides the network divides without a rest."""

        def denoise(x: Tensor) -> Tensor:
            return self.likelihood.mean(self.network.divisible(x))

        return {"denoiser": Part(denoise, "x_noisy", ["x_hat"], self.network.multiple, network=self.network)}
