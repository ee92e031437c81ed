"""What a model must beat: PCA, the mean image, a median filter; and how much its codes know of the labels.

scikit-learn and SciPy do the work; they are imported when used.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aectl.data.images import Images, to_float
from aectl.models.likelihoods.base import Likelihood

CHUNK = 1000  # images at a time
MAX_EXACT = 4096  # values in an image, for a covariance of all of them
SAMPLE = 1000  # images beyond that
RANK = 1e-12  # of the largest eigenvalue; what is below is rounding, a direction in which no image varies


@dataclass(frozen=True)
class Principal:
    """Mean and principal directions of a set of images, in double precision.

    Attributes:
        mean: (D,).
        directions: (D, n), orthonormal columns, the one of least variance first; none in which nothing varies.
    """

    mean: Tensor
    directions: Tensor

    def components(self, k: int) -> int:
        """How many directions `k` components have: fewer where the images do not vary in as many."""
        return min(k, self.directions.shape[1])

    def errors(self, images: Images, k: int) -> Tensor:
        """Sum of squared errors of each image, (N,), as values in [0, 1], projected onto the first `k` components.

        `k` = 0 is the mean image; above the number of directions it takes all of them.
        """
        return torch.cat([self.residuals(part.flatten(1).double() / 255, k) for part in images.chunks(CHUNK)])

    def residuals(self, x: Tensor, k: int) -> Tensor:
        """`errors` of images that are values in [0, 1] already, (N, D), double: (N,)."""
        basis = self.directions[:, self.directions.shape[1] - self.components(k) :]
        residual = x - self.mean
        residual = residual - (residual @ basis) @ basis.T
        return residual.square().sum(1)

    def sse(self, images: Images, k: int) -> float:
        """The mean of `errors` over images."""
        return self.errors(images, k).mean().item()


def principal(images: Images) -> Principal:
    """PCA of images as values in [0, 1]: all directions in which they vary, at most D = C·H·W and their number − 1.

    By the eigenvectors of their covariance, or of their inner products where there are fewer images than values.
    Exact up to D of 4,096; beyond, from the differences of 1,000 images, evenly spread, from the mean.
    """
    d = math.prod(images.shape)
    total = sum(chunk.flatten(1).double().sum(0) for chunk in images.chunks(CHUNK))
    mean = total / (255 * len(images))
    if d > MAX_EXACT or len(images) <= d:
        few = images.spread(SAMPLE) if d > MAX_EXACT else images
        centred = few.pixels.flatten(1).double() / 255 - mean
        values, vectors = torch.linalg.eigh(centred @ centred.T)  # eigenvalues ascend
        kept = values > RANK * values[-1]
        return Principal(mean, centred.T @ vectors[:, kept] / values[kept].sqrt())
    chunks = (chunk.flatten(1).double() / 255 - mean for chunk in images.chunks(CHUNK))
    values, vectors = torch.linalg.eigh(sum(part.T @ part for part in chunks))
    return Principal(mean, vectors[:, values > RANK * values[-1]])


def constant_recon(likelihood: Likelihood, decoded: Tensor, images: Images) -> float:
    """What recon is, in nats per image, if the decoder gives `decoded`, (m·C, H, W), for each of `images`."""
    parts = map(to_float, images.chunks(CHUNK))
    return likelihood.fitted_recon((x, decoded.expand(len(x), -1, -1, -1)) for x in parts)


def median_filter(x: Tensor) -> Tensor:
    """Each pixel's median over its 3×3 neighbourhood, channel by channel, edges repeated; (N, C, H, W)."""
    from scipy.ndimage import median_filter

    return torch.from_numpy(median_filter(x.cpu().numpy(), size=(1, 1, 3, 3), mode="nearest"))


def _standardise(train: Tensor, test: Tensor) -> tuple[np.ndarray, np.ndarray]:
    train, test = train.double(), test.double()
    mean, std = train.mean(0), train.std(0, correction=0).clamp_min(1e-12)
    return ((train - mean) / std).numpy(), ((test - mean) / std).numpy()


def knn_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, k: int = 5) -> float:
    """Share of `test` codes (M, K) whose label the `k` nearest of `train` (N, K) name, by Euclidean distance."""
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(n_neighbors=min(k, len(train)))
    model.fit(train.numpy(), train_labels.numpy())
    return float(model.score(test.numpy(), test_labels.numpy()))


def linear_probe_accuracy(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Share of `test` codes (M, K) that logistic regression on standardised `train` codes (N, K) labels rightly."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    train_x, test_x = _standardise(train, test)
    model = LogisticRegression(max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last few digits do not matter to an accuracy
        model.fit(train_x, train_labels.numpy())
    return float(model.score(test_x, test_labels.numpy()))
