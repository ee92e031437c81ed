"""Runs whose encoder and decoder are linear and whose weights are given: NumPy can say what each figure must be."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from aectl.data import noise as noises
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.split import build_dataset
from aectl.models.autoencoder import Vae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, layout, opening
from aectl.runs.config import TrainConfig
from aectl.training import loop
from configs import train_config

SHAPE = (1, 12, 13)
D = math.prod(SHAPE)
# Parts of different sizes, so that a figure of one cannot pass for that of another.
DATASET = Synthetic(val_size=70, test_size=150, split_seed=3, synthetic_size=620, synthetic_shape=list(SHAPE))
VAE = Vae(posterior="logvar")
BLUR = 1.0  # pixels; of all the noises the one whose result SciPy can give


@dataclass
class Linear:
    """A run: μ = x·A + a, log σ² = x·L + l, decoded = z·W + b, with x as rows of pixels.

    Attributes:
        path: its folder.
        config: its configuration.
        images: pixels in [0, 1] by part, (N, D), float64.
        labels: by part, (N,).
        weights: A, a, L, l (where there is a posterior), W and b by those names.
    """

    path: Path
    config: TrainConfig
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]

    def seen(self, part: str) -> np.ndarray:
        """What the encoder sees of a part: blurred where the run's noise is blur."""
        x = self.images[part]
        if not self.config.noise.corrupts:
            return x
        assert self.config.noise.name == "blur"
        pictures = x.reshape(-1, *SHAPE[1:])
        return gaussian_filter(pictures, (0, BLUR, BLUR), mode="nearest", truncate=3).reshape(len(x), D)

    def mu(self, x: np.ndarray) -> np.ndarray:
        """Means of the codes of x (N, D): (N, K)."""
        return x @ self.weights["A"] + self.weights["a"]

    def logvar(self, x: np.ndarray) -> np.ndarray:
        """Their log-variances, (N, K)."""
        return x @ self.weights["L"] + self.weights["l"]

    def decoder(self, z: np.ndarray) -> np.ndarray:
        """What the decoder gives for z (..., K): (..., D)."""
        return z @ self.weights["W"] + self.weights["b"]

    def decode(self, z: np.ndarray) -> np.ndarray:
        """The mean image for z (..., K): (..., D)."""
        decoded = self.decoder(z)
        return decoded if self.config.likelihood.name == "gaussian" else 1 / (1 + np.exp(-decoded))

    def code_of(self, x: np.ndarray) -> np.ndarray:
        """The code that a linear decoder made images (N, D) from: (N, K)."""
        return np.linalg.lstsq(self.weights["W"].T, (x - self.weights["b"]).T, rcond=None)[0].T


def planted(folder: Path, weights: dict[str, np.ndarray], **settings) -> Linear:
    """A run of one epoch with these weights in the place of what it has learnt."""
    latent = len(weights["W"])
    settings = {"model": VAE, "likelihood": Gaussian(sigma=0.3), "dataset": DATASET, **settings}
    config = train_config(
        network=Mlp(hidden=[]), latent=latent, epochs=1, device="cpu", threads=1, figures_every=0,
        **settings,
    )  # fmt: skip
    loop.train(config, folder)
    for path in checkpoint.listing(layout.checkpoints_of(folder)):
        plant(path, weights)
    return opened(folder, config, weights)


def trained(folder: Path) -> Linear:
    """A run with a linear network and a posterior as it was trained, its best checkpoint."""
    run = opening.open_run(str(folder), "best", torch.device("cpu"))
    state = {name: tensor.double().numpy() for name, tensor in run.model.state_dict().items()}
    given = {(name.partition(".")[0], value.ndim): value for name, value in state.items()}
    encoder, bias = given["encoder", 2].T, given["encoder", 1]
    latent = run.config.latent
    weights = {
        "A": encoder[:, :latent], "L": encoder[:, latent:], "a": bias[:latent], "l": bias[latent:],
        "W": given["decoder", 2].T, "b": given["decoder", 1],
    }  # fmt: skip
    return opened(folder, run.config, weights)


def opened(folder: Path, config: TrainConfig, weights: dict[str, np.ndarray]) -> Linear:
    """A run with its images."""
    data = build_dataset(config.dataset, None)
    parts = {"train": data.train, "val": data.val, "test": data.test}
    images = {name: part.pixels.flatten(1).double().numpy() / 255 for name, part in parts.items()}
    labels = {name: part.labels.numpy() for name, part in parts.items()}
    return Linear(folder, config, images, labels, weights)


def plant(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Put weights into a checkpoint."""
    saved = checkpoint.load(path)
    given = {
        ("encoder", 2): np.concatenate([weights[name] for name in ("A", "L") if name in weights], axis=1).T,
        ("encoder", 1): np.concatenate([weights[name] for name in ("a", "l") if name in weights]),
        ("decoder", 2): weights["W"].T,
        ("decoder", 1): weights["b"],
    }
    model = {}
    for name, tensor in saved.model.items():
        found = given.get((name.partition(".")[0], tensor.dim()))
        model[name] = tensor if found is None else torch.from_numpy(found.copy()).float()
        assert model[name].shape == tensor.shape, name
    checkpoint.save(path.parent, checkpoint.step_of(path), model, saved.config, saved.trainer, saved.state)


def as_float32(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights as a checkpoint keeps them, in double precision."""
    return {name: value.astype(np.float32).astype(np.float64) for name, value in weights.items()}


def basis(columns: int, seed: int = 0) -> np.ndarray:
    """Orthonormal directions in pixel space, as rows, (columns, D)."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((D, columns)))[0].T


def principal_directions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The training images' mean (D,) and first principal directions (count, D), by singular values."""
    x = build_dataset(DATASET, None).train.pixels.flatten(1).double().numpy() / 255
    mean = x.mean(0)
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2][:count]


def spread_codes(latent: int = 4, *, posterior: bool = True) -> dict[str, np.ndarray]:
    """Codes that vary differently along each latent, one hardly, and a decoder that has something of the images.

    Var(μ) is about 1, 0.3, 0.05 and 0.002: of four latents three are active, and two would be at a bound of 0.1.
    """
    mean, directions = principal_directions(latent)
    x = build_dataset(DATASET, None).train.pixels.flatten(1).double().numpy() / 255
    spread = ((x - mean) @ directions.T).std(0)
    scale = np.sqrt(np.array([1.0, 0.3, 0.05, 0.002])[:latent]) / spread
    weights = {
        "A": directions.T * scale,
        "a": -(mean @ directions.T) * scale + np.array([0.3, -0.2, 0.1, 0.0])[:latent],
        "W": directions * (0.8 / scale.clip(0.3))[:, None],
        "b": mean,
    }
    if posterior:
        rng = np.random.default_rng(1)
        weights |= {"L": 0.05 * rng.standard_normal((D, latent)), "l": np.array([-4.0, -3.5, -3.0, -2.5])[:latent]}
    return as_float32(weights)


def exact_posterior(sigma: float, off: float = 0.0) -> dict[str, np.ndarray]:
    """Probabilistic PCA, whose log p(x) is a Gaussian's, and, where `off` is 0, an encoder that is its posterior.

    x = z·W + b + σε, so x ~ N(b, WᵀW + σ²I). With orthogonal rows of W the posterior is diagonal:
    N(M⁻¹W(x − b), σ²M⁻¹), M = WWᵀ + σ²I (Tipping & Bishop, 1999).
    """
    mean, directions = principal_directions(3)
    w = directions * np.array([1.2, 0.8, 0.4])[:, None]
    m = np.square(w).sum(1) + sigma**2
    return as_float32(
        {
            "A": w.T / m, "a": -(w @ mean) / m + off, "L": np.zeros((D, 3)), "l": np.log(sigma**2 / m) + off,
            "W": w, "b": mean,
        }
    )  # fmt: skip


def noise_blur() -> noises.Noise:
    """The noise that `Linear.seen` knows."""
    return noises.Blur(sigma=BLUR)
