"""A network from pictures to pictures in the place of an autoencoder."""

from torch import Tensor, nn

from aectl.models.autoencoder import Autoencoder
from aectl.models.likelihoods import Likelihood
from aectl.models.networks.unet import UNet
from aectl.models.objectives import Terms
from aectl.models.posteriors import Code


class Denoiser(Autoencoder):
    """A network from pictures to pictures, in the place of an autoencoder: skip connections pass by the bottleneck.

    Its `encode` gives features of the bottleneck, averaged over the picture; nothing can be decoded from them.
    """

    def __init__(self, network: UNet, likelihood: Likelihood):
        super().__init__(nn.Identity(), nn.Identity(), network.width, likelihood)
        self.network = network

    @property
    def has_code(self) -> bool:
        """No image can be made from the features alone."""
        return False

    def encode(self, x: Tensor) -> Code:
        """Features of (N, C, H, W): (N, K)."""
        return Code(self.network.features(x))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The denoised pictures, (N, C, H, W) twice."""
        return self.likelihood.mean(self.network(x))

    def terms(self, x: Tensor, x_noisy: Tensor, eps: None) -> tuple[Terms, Code]:
        """−log p(x | x̃) and no KL; nothing is drawn."""
        return Terms(self.likelihood.neg_log_prob(x, self.network(x_noisy))[None]), Code(x.new_zeros(len(x), 1))
