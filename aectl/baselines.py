"""What a model must beat: PCA, the mean image, a median filter; and how much its codes know of the labels.

scikit-learn and SciPy do the work; they are imported when used.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

CHUNK = 5000  # images at a time


@dataclass(frozen=True)
class Principal:
    """Mean and principal directions of a set of images, in double precision.

    Attributes:
        mean: (D,).
        directions: (D, D), orthonormal columns, the one of least variance first.
    """

    mean: Tensor
    directions: Tensor

    def sse(self, x: Tensor, k: int) -> float:
        """Sum of squared errors per image of (N, D) floats projected onto the first `k` components; k=0: the mean."""
        basis = self.directions[:, self.directions.shape[1] - min(k, self.directions.shape[1]) :]
        total = 0.0
        for part in x.split(CHUNK):
            residual = part.double() - self.mean
            residual = residual - (residual @ basis) @ basis.T
            total += residual.square().sum().item()
        return total / len(x)


def principal(images: Tensor) -> Principal:
    """PCA of images (N, C, H, W), uint8, as values in [0, 1]; exact, by the eigenvectors of their covariance.

    The covariance is summed over chunks, so memory does not grow with N.
    """
    chunks = images.flatten(1).split(CHUNK)
    mean = sum(chunk.double().sum(0) for chunk in chunks) / (255 * len(images))
    centred = (chunk.double() / 255 - mean for chunk in chunks)
    scatter = sum(part.T @ part for part in centred)
    return Principal(mean, torch.linalg.eigh(scatter).eigenvectors)  # eigenvalues ascend


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
