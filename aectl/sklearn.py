"""An autoencoder as scikit-learn knows models: fit, transform, inverse_transform, score_samples, sample."""

import io
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data
from torch import Tensor

from aectl import storage
from aectl.cli.composing import composed
from aectl.commands.sampling import from_mixture
from aectl.measuring.oddness import Oddness
from aectl.models.arrays import at_once
from aectl.models.base import Model
from aectl.models.table import build_model
from aectl.rng import generator
from aectl.runs import checkpoint
from aectl.runs.config import TrainConfig
from aectl.runs.opening import open_run
from aectl.settings import typed
from aectl.training import loop


class Autoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Codes of images, and images of codes; trained as `aectl train` does, by the same words.

    X is (N, D), or images as (N, H, W), (N, H, W, C) or (N, C, H, W) where C is 1 or 3; `inverse_transform` and
    `sample` give back what `fit` was given. Images are trained on with 8 bits a value, as everywhere in aectl; codes
    are computed from X as it is.

    Args:
        model: `ae`, `dae`, `vae` or `iwae`.
        latent: size of the code.
        epochs: as of `aectl train`, and so the next three; None is its own value.
        batch_size: images in a step.
        lr: Adam's learning rate.
        kl_weight: β, the weight on the KL.
        words: more of them, such as `("network=conv", "noise=masking")`.
        image_shape: (C, H, W) of the rows, where X is (N, D); None: (1, √D, √D) where D is a square, else (1, 1, D).
        limits: (black, white), the values of X that become 0 and 1; None: 0 and 255 for uint8, 0 and 1 where the
            training data are floats in between, else the least and the most of them.
        validation_fraction: part of the training data by which the best epoch is chosen; 0 takes the last.
        random_state: of the weights, the order and the draws.
        device: `cpu`, `cuda`, `mps` or `auto`.

    Attributes:
        config_: the settings of the run, plain data.
        weights_: the model's, as safetensors has them; what pickles.
        image_shape_, limits_, layout_, n_features_in_: of the training data.
        codes_: theirs, (N, K), of a model without a prior, for `sample`; else None.
    """

    def __init__(
        self,
        model: str = "vae",
        latent: int = 2,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        kl_weight: float | None = None,
        words: Sequence[str] = (),
        image_shape: Sequence[int] | None = None,
        limits: Sequence[float] | None = None,
        validation_fraction: float = 0.0,
        random_state: Any = 0,
        device: str = "auto",
    ):
        self.model = model
        self.latent = latent
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.kl_weight = kl_weight
        self.words = words
        self.image_shape = image_shape
        self.limits = limits
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> "Autoencoder":  # noqa: N803 (scikit-learn's name)
        """Train on X; `y` is ignored.

        Raises:
            ValueError: X or a setting cannot be used; the message says what could be.
        """
        rows, self.layout_ = _rows(X)
        rows = validate_data(self, rows)
        self.image_shape_ = self._shape(rows)
        self.limits_ = _limits(rows, self.limits)
        seed = int(check_random_state(self.random_state).randint(2**31))
        x = self._scaled(rows)
        if x.size and (x.min() < 0 or x.max() > 1):
            raise ValueError(f"limits={self.limits}: X has values beyond them; leave limits out, or give its own")
        with tempfile.TemporaryDirectory() as folder:
            buffer = io.BytesIO()
            np.save(buffer, x)
            storage.replace(Path(folder) / "images.npy", buffer.getvalue())
            config = composed("train", *self._words(f"{folder}/images.npy", len(x), seed))
            loop.train_untold(config, Path(folder))
            run = open_run(folder, "best", torch.device("cpu"))
        self.config_ = typed.to_dict(replace(run.config, dataset=replace(run.config.dataset, root="X")))
        self.weights_ = checkpoint.to_bytes(run.model.state_dict())
        self._model = run.model
        self._n_features_out = run.model.latent
        self.codes_ = self._over(x, run.model.codes) if run.model.prior is None else None
        return self

    def _words(self, path: str, n: int, seed: int) -> list[str]:
        """What `aectl train` would be told; `words` come last but for what they cannot change."""
        names = ("model", "latent", "epochs", "batch_size", "lr", "kl_weight")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        fixed = {
            "dataset": "array", "dataset.root": path, "dataset.val_size": round(self.validation_fraction * n),
            "dataset.test_size": 0, "seed": seed, "device": self.device, "threads": torch.get_num_threads(),
        }  # fmt: skip
        return [*(f"{key}={value}" for key, value in given.items()), *self.words,
                *(f"{key}={value}" for key, value in fixed.items())]  # fmt: skip

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Codes of X, (N, K), float32; of a VAE the means of q(z|x)."""
        x = self._read(X)
        return self._over(x, self._opened().codes)

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Images of codes, (N, K), as `fit` was given them."""
        check_is_fitted(self)
        codes = check_array(X, dtype=np.float32)
        if codes.shape[1] != self._n_features_out:
            raise ValueError(f"X has {codes.shape[1]} features, and the codes have {self._n_features_out}")
        return self._given_back(self._over(codes, self._opened().decode))

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """How usual each of X is, (N,): of a VAE the ELBO, a bound of log p(x) in nats; else −Σ (x̂ − x)²."""
        x = self._read(X)
        model = self._opened()
        measure = "error" if model.prior is None else "elbo"
        return -Oddness(model, self._config().noise, measure, torch.device("cpu"))(torch.from_numpy(x)).numpy()

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """The mean of `score_samples`; `y` is ignored."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples: int = 1, random_state: Any = 0) -> np.ndarray:
        """New images, as `fit` was given them: z ~ p(z), or of an AE from a mixture fitted to its training codes."""
        check_is_fitted(self)
        model, seed = self._opened(), int(check_random_state(random_state).randint(2**31))
        if model.prior is not None:
            codes = model.prior.sample(n_samples, generator("cpu", "sample", seed))
        else:
            codes = from_mixture(torch.from_numpy(self.codes_), n_samples, seed)
        return self._given_back(self._over(codes.numpy(), model.decode))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {key: value for key, value in state.items() if key != "_model"}  # `weights_` has it

    # ---------------------------------------------------------------------------------- X, and what is made of it

    def _shape(self, rows: np.ndarray) -> tuple[int, int, int]:
        """(C, H, W) of the rows."""
        features = rows.shape[1]
        side = math.isqrt(features)
        square = (1, side, side) if side * side == features else (1, 1, features)
        shape = tuple(self.image_shape) if self.image_shape is not None else self.layout_.shape or square
        if len(shape) != 3 or math.prod(shape) != features:
            raise ValueError(
                f"image_shape={self.image_shape}: X has {features} features; give (C, H, W) of that many"
            )
        return shape

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        """(N, C, H, W), float32, black being 0 and white 1."""
        low, high = self.limits_
        values = (rows.astype(np.float64) - low) / ((high - low) or 1)
        return values.astype(np.float32).reshape(-1, *self.image_shape_)

    def _read(self, X: Any) -> np.ndarray:  # noqa: N803
        check_is_fitted(self)
        return self._scaled(validate_data(self, _rows(X)[0], reset=False))

    def _given_back(self, images: np.ndarray) -> np.ndarray:
        low, high = self.limits_
        return self.layout_.like(low + images * (high - low))

    def _over(self, values: np.ndarray, work: Callable[[Tensor], Tensor]) -> np.ndarray:
        with torch.inference_mode():
            parts = [work(part).cpu() for part in torch.from_numpy(values).split(at_once(self.image_shape_))]
        return torch.cat(parts).numpy()

    def _config(self) -> TrainConfig:
        return typed.from_dict(TrainConfig, self.config_, "")

    def _opened(self) -> Model:
        """The model; made again from its weights where this estimator was pickled."""
        if not hasattr(self, "_model"):
            self._model = build_model(self._config(), self.image_shape_)
            self._model.load_state_dict(checkpoint.from_bytes(self.weights_))
            self._model.eval()
        return self._model


@dataclass(frozen=True)
class Layout:
    """How images were given: the axes of (N, C, H, W) in what was given, and (C, H, W); both None for rows."""

    axes: tuple[int, ...] | None = None
    shape: tuple[int, ...] | None = None

    def like(self, images: np.ndarray) -> np.ndarray:
        """Images (N, C, H, W) as they were given."""
        if self.axes is None:
            return images.reshape(len(images), -1)
        return images[:, 0] if len(self.axes) == 3 else images.transpose(np.argsort(self.axes))


def _rows(X: Any) -> tuple[Any, Layout]:  # noqa: N803
    """X as rows, each an image channel after channel; what has no more than two axes as it is."""
    if not hasattr(X, "ndim") or X.ndim < 3:
        return X, Layout()
    images = np.asarray(X)
    if images.ndim == 3:
        return images.reshape(len(images), -1), Layout((0, 2, 3), (1, *images.shape[1:]))
    if images.ndim == 4 and images.shape[1] in (1, 3):
        return images.reshape(len(images), -1), Layout((0, 1, 2, 3), images.shape[1:])
    if images.ndim == 4 and images.shape[3] in (1, 3):
        first = images.transpose(0, 3, 1, 2)
        return first.reshape(len(images), -1), Layout((0, 3, 1, 2), first.shape[1:])
    raise ValueError(
        f"X is of shape {images.shape}; give (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1 or 3"
    )


def _limits(rows: np.ndarray, given: Sequence[float] | None) -> tuple[float, float]:
    """Black and white of the training data.

    Raises:
        ValueError: what was given is not that.
    """
    if given is not None:
        low, high = map(float, given) if len(given) == 2 else (0.0, 0.0)
        if not -math.inf < low < high < math.inf:
            raise ValueError(f"limits={given}: give (black, white), two numbers of which white is the larger")
        return low, high
    if rows.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(rows.min()), float(rows.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
