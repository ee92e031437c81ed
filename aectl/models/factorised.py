"""A factorised prior of whole numbers: each channel of a code has a density of its own, learnt with the rest."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMPONENTS = 3  # logistics in the mixture of a channel
WIDTHS = 0.1, 0.5, 4.0  # their scales at the start, in steps of rounding
SPEED = 30.0  # how much faster it learns than the networks: Adam moves each of its numbers as far as one weight


class Factorised(nn.Module):
    """P(y = k) = c(k + ½) − c(k − ½) for whole k, c being the cumulative of a mixture of logistics for each channel.

    With y + u, u ~ U(−½, ½), in the place of k it is the density of the code with that noise, which has the rounded
    code's probabilities at whole numbers (Ballé, Laparra & Simoncelli, "End-to-end optimized image compression", ICLR
    2017). A mixture of logistics has tails like those of transform coefficients, and its logarithm is exact in them.

    Args:
        channels: K.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.means = nn.Parameter(torch.zeros(channels, COMPONENTS))
        self.log_scales = nn.Parameter(torch.tensor(WIDTHS).log().repeat(channels, 1) / SPEED)
        self.logits = nn.Parameter(torch.zeros(channels, COMPONENTS))

    def neg_log_prob(self, y: Tensor) -> Tensor:
        """−log P of each value of a code, (N, K, h, w), nats: the same shape.

        σ(b) − σ(a) = σ(b)·σ(−a)·(1 − e^(a − b)), of which no factor cancels, however far in the tails.
        """
        means, log_scales, logits = (SPEED * one[:, None, None, :] for one in self.parameters())
        inverse = (-log_scales).exp()
        at = (y[..., None] - means) * inverse
        half = 0.5 * inverse
        mass = F.logsigmoid(at + half) + F.logsigmoid(half - at) + torch.log(-torch.expm1(-inverse))
        return -(logits.log_softmax(-1) + mass).logsumexp(-1)

    def cumulative(self, edges: np.ndarray) -> np.ndarray:
        """c at the edges (n,) between whole numbers, of each channel: (K, n), float64, computed on the CPU."""
        means, log_scales, logits = (
            SPEED * one.detach().cpu().double().numpy()[:, None] for one in self.parameters()
        )
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        at = (edges[:, None] - means) * np.exp(-log_scales)
        return (shares / (1 + np.exp(-at.clip(-700, 700)))).sum(-1)
