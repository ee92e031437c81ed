"""The schema of every command's configuration, and the checks of its ranges. No torch, no file IO.

YAML becomes these dataclasses once, in `aectl.cli`; below that, code sees plain Python values. A name such as
`dataset.name` is a key of a closed table in the module that owns it; a string from a file never names code.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aectl.errors import ConfigError

T = TypeVar("T")

DATASETS = (
    "mnist5k", "digits", "synthetic", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "svhn",
)  # fmt: skip
NOISE_STRENGTH = {
    "none": None,
    "gaussian": "sigma",
    "masking": "p",
    "salt_pepper": "p",
    "speckle": "sigma",
}
NETWORKS = ("mlp", "conv")
MODELS = ("ae", "vae")
POSTERIORS = ("logvar", "std")
LIKELIHOODS = ("bernoulli", "gaussian")
SCHEDULES = ("constant", "cosine")
DEVICES = ("auto", "cpu", "cuda", "mps")
SPLITS = ("train", "val", "test")
SAMPLE_MODES = ("prior", "grid", "posterior", "interpolate", "traverse")


@dataclass
class DatasetConfig:
    """Where x comes from. Sizes are numbers of images; null takes the data set's own."""

    name: str = "mnist5k"
    val_size: int = 500
    test_size: int | None = None
    split_seed: int = 0
    emnist_split: str | None = None
    synthetic_size: int | None = None
    synthetic_shape: list[int] | None = None


@dataclass
class DataConfig:
    """`root`: where downloaded data sets live; null means $AECTL_DATA, else the user's cache folder."""

    root: str | None = None


@dataclass
class NoiseConfig:
    """The corruption x → x̃; `sigma` or `p` is its strength, `clip` keeps x̃ inside [0, 1]."""

    name: str = "none"
    sigma: float | None = None
    p: float | None = None
    clip: bool = True


@dataclass
class NetworkConfig:
    """Encoder and decoder; `hidden` are the widths of dense layers, `channels` those of stride-2 convolutions."""

    name: str = "mlp"
    hidden: list[int] = field(default_factory=lambda: [300, 300])
    channels: list[int] | None = None


@dataclass
class ModelConfig:
    """The bottleneck: a deterministic code (`ae`) or q(z|x) = N(μ, σ²) (`vae`), as a log-variance or a std."""

    name: str = "ae"
    posterior: str | None = None


@dataclass
class LikelihoodConfig:
    """How x is scored under the decoder; `sigma` is the Gaussian's fixed standard deviation."""

    name: str = "bernoulli"
    sigma: float | None = None


@dataclass
class TrainConfig:
    """Everything that defines a training run."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    data: DataConfig = field(default_factory=DataConfig)
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    likelihood: LikelihoodConfig = field(default_factory=LikelihoodConfig)

    latent: int = 2
    kl_weight: float = 1.0
    kl_warmup: float = 0.0

    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-3
    schedule: str = "constant"
    grad_clip: float | None = None
    early_stop: int | None = None

    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    figures_every: int = 5
    checkpoint_every: int = 1
    resume: str | None = None


@dataclass
class EvalConfig:
    """`aectl eval`: which run, which of its checkpoints, on which part of its data."""

    run: str = "latest"
    checkpoint: str = "best"
    split: str = "test"
    seed: int = 0
    batch_size: int = 500
    device: str = "auto"
    threads: int | None = None
    data: DataConfig = field(default_factory=DataConfig)


@dataclass
class SampleConfig:
    """`aectl sample`: how many images, drawn how."""

    run: str = "latest"
    checkpoint: str = "best"
    mode: str = "prior"
    n: int = 64
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    data: DataConfig = field(default_factory=DataConfig)


@dataclass
class DenoiseConfig:
    """`aectl denoise`: the pictures to clean, or none for the run's own test split and noise."""

    run: str = "latest"
    checkpoint: str = "best"
    input: str | None = None
    output: str | None = None
    reference: str | None = None
    overwrite: bool = False
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    data: DataConfig = field(default_factory=DataConfig)


@dataclass
class DoctorConfig:
    """`aectl doctor`: a run whose checkpoints are to be verified, or none."""

    run: str | None = None
    data: DataConfig = field(default_factory=DataConfig)


SCHEMAS: dict[str, type] = {
    "train": TrainConfig,
    "eval": EvalConfig,
    "sample": SampleConfig,
    "denoise": DenoiseConfig,
    "doctor": DoctorConfig,
}

MAX_LAYERS = 64

# What a resumed run may change: nothing that the remaining training steps depend on, but how many they are.
RESUMABLE = ("resume", "epochs", "device", "threads", "data.root", "figures_every", "checkpoint_every")


def nearest(name: str, choices: Iterable[str]) -> str:
    """The ending `, did you mean 'x'?` for the choice most like `name`; empty where none is."""
    match = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.5)
    return f", did you mean '{match[0]}'?" if match else ""


def _fail(key: str, value: object, want: str) -> typing.NoReturn:
    raise ConfigError(f"{key}={str(value)[:60]}: {want}")


def _choice(key: str, value: str, choices: Iterable[str]) -> None:
    choices = tuple(choices)
    if value not in choices:
        _fail(key, value, f"no such choice{nearest(value, choices)} (choices: {', '.join(choices)})")


def _number(key: str, value: float | None, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """A finite number in [low, high], or (low, high] with `open_low`; None passes."""
    if value is None:
        return
    inside = value < math.inf and value <= high and (value > low if open_low else value >= low)  # NaN is neither
    if not inside:
        bound = f"a number {'above' if open_low else 'of at least'} {low:g}"
        _fail(
            key,
            value,
            f"must be {bound}" + (f" and at most {high:g}" if high < math.inf else ""),
        )


def _path(key: str, value: str | None) -> None:
    """A path may be null, but the empty word would mean the current folder."""
    if value is not None and not value.strip():
        _fail(key, "''", "is empty; give a path, or null")


def _widths(key: str, widths: list[int]) -> None:
    if len(widths) > MAX_LAYERS:
        _fail(key, widths, f"at most {MAX_LAYERS} layers")
    for width in widths:
        if not 1 <= width <= 65536:
            _fail(key, widths, "every width must be between 1 and 65536")


def check(config: Any) -> None:
    """Raise `ConfigError` for the first value of `config` out of its range; it touches no file and no data."""
    {
        TrainConfig: _check_train,
        EvalConfig: _check_eval,
        SampleConfig: _check_sample,
        DenoiseConfig: _check_denoise,
        DoctorConfig: lambda config: _path("run", config.run),
    }[type(config)](config)


def _check_machine(config: Any) -> None:
    _choice("device", config.device, DEVICES)
    _number("threads", config.threads, 1, 1024)
    _path("data.root", config.data.root)
    _number("seed", config.seed, 0, 2**63 - 1)


def _check_run(config: Any) -> None:
    _check_machine(config)
    _choice("checkpoint", config.checkpoint, ("best", "last"))
    _path("run", config.run)


def _check_eval(config: EvalConfig) -> None:
    _check_run(config)
    _choice("split", config.split, SPLITS)
    _number("batch_size", config.batch_size, 1)


def _check_sample(config: SampleConfig) -> None:
    _check_run(config)
    _choice("mode", config.mode, SAMPLE_MODES)
    _number("n", config.n, 1, 100_000)


def _check_denoise(config: DenoiseConfig) -> None:
    _check_run(config)
    for key in ("input", "output", "reference"):
        _path(key, getattr(config, key))
    for key in ("output", "reference"):
        if getattr(config, key) is not None and config.input is None:
            _fail(key, getattr(config, key), "needs input=<image or folder> as well")
    if config.input is not None and config.output is None:
        _fail("input", config.input, "say where the results go: output=<folder>")


def _check_train(config: TrainConfig) -> None:
    _check_machine(config)
    _path("resume", config.resume)
    _check_dataset(config.dataset)
    _check_noise(config.noise)
    _choice("network.name", config.network.name, NETWORKS)
    _widths("network.hidden", config.network.hidden)
    if config.network.name == "conv":
        if not config.network.channels:
            _fail("network.channels", config.network.channels, "conv needs at least one width, such as [32,64]")
        _widths("network.channels", config.network.channels)
    elif config.network.channels is not None:
        _fail("network.channels", config.network.channels, "only network=conv has channels")
    _choice("model.name", config.model.name, MODELS)
    if config.model.name == "vae":
        _choice("model.posterior", config.model.posterior or "null", POSTERIORS)
    elif config.model.posterior is not None:
        _fail("model.posterior", config.model.posterior, "only model=vae has a posterior")
    _choice("likelihood.name", config.likelihood.name, LIKELIHOODS)
    if config.likelihood.name == "gaussian":
        if config.likelihood.sigma is None:
            _fail("likelihood.sigma", "null", "likelihood=gaussian needs a standard deviation")
        _number("likelihood.sigma", config.likelihood.sigma, 1e-4, 1e4)
    elif config.likelihood.sigma is not None:
        _fail("likelihood.sigma", config.likelihood.sigma, "only likelihood=gaussian has a sigma")

    _number("latent", config.latent, 1, 65536)
    _number("kl_weight", config.kl_weight, 0)
    _number("kl_warmup", config.kl_warmup, 0)
    _number("epochs", config.epochs, 1)
    _number("batch_size", config.batch_size, 1)
    _number("lr", config.lr, 0, open_low=True)
    _choice("schedule", config.schedule, SCHEDULES)
    _number("grad_clip", config.grad_clip, 0, open_low=True)
    _number("early_stop", config.early_stop, 1)
    if config.early_stop is not None and config.dataset.val_size == 0:
        _fail("early_stop", config.early_stop, "needs validation images: set dataset.val_size above 0")
    _number("figures_every", config.figures_every, 0)
    _number("checkpoint_every", config.checkpoint_every, 1)


def _check_dataset(dataset: DatasetConfig) -> None:
    _choice("dataset.name", dataset.name, DATASETS)
    _number("dataset.val_size", dataset.val_size, 0)
    _number("dataset.test_size", dataset.test_size, 1)
    _number("dataset.split_seed", dataset.split_seed, 0, 2**63 - 1)
    if dataset.test_size is not None and dataset.name not in ("mnist5k", "digits", "synthetic"):
        _fail("dataset.test_size", dataset.test_size, f"{dataset.name} has an official test part; leave it null")
    if (dataset.emnist_split is not None) != (dataset.name == "emnist"):
        _fail("dataset.emnist_split", dataset.emnist_split, "goes with dataset=emnist, and only with it")
    if dataset.emnist_split is not None:
        splits = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
        _choice("dataset.emnist_split", dataset.emnist_split, splits)
    synthetic = dataset.name == "synthetic"
    for key in ("synthetic_size", "synthetic_shape"):
        if (getattr(dataset, key) is not None) != synthetic:
            _fail(f"dataset.{key}", getattr(dataset, key), "goes with dataset=synthetic, and only with it")
    if synthetic:
        _number("dataset.synthetic_size", dataset.synthetic_size, 10, 1_000_000)
        shape = dataset.synthetic_shape
        if len(shape) != 3 or shape[0] not in (1, 3) or not all(8 <= side <= 256 for side in shape[1:]):
            _fail(
                "dataset.synthetic_shape",
                shape,
                "give [channels, height, width]: 1 or 3, then sides of 8 to 256",
            )


def _check_noise(noise: NoiseConfig) -> None:
    _choice("noise.name", noise.name, NOISE_STRENGTH)
    strength = NOISE_STRENGTH[noise.name]
    for key in ("sigma", "p"):
        value = getattr(noise, key)
        if key == strength and value is None:
            _fail(f"noise.{key}", "null", f"noise={noise.name} needs its strength")
        if key != strength and value is not None:
            takes = f"its strength is noise.{strength}" if strength else "it has no strength"
            _fail(f"noise.{key}", value, f"does not apply to noise={noise.name}; {takes}")
    _number("noise.sigma", noise.sigma, 0)
    _number("noise.p", noise.p, 0, 1)


def notices(config: TrainConfig) -> list[str]:
    """One line for each setting that is accepted but has no effect, or not the one its name suggests."""
    found = []
    if config.model.name == "ae" and config.kl_weight != 1.0:
        found.append(f"kl_weight={config.kl_weight:g} is ignored: model=ae has no KL term")
    if config.model.name == "ae" and config.kl_warmup:
        found.append(f"kl_warmup={config.kl_warmup:g} is ignored: model=ae has no KL term")
    if config.kl_warmup > config.epochs and config.model.name == "vae":
        found.append(
            f"kl_warmup={config.kl_warmup:g} is longer than epochs={config.epochs}: the KL weight never becomes "
            f"{config.kl_weight:g}"
        )
    if config.dataset.val_size == 0:
        found.append("dataset.val_size=0: no validation, so the best checkpoint is the last")
    return found


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain nested dictionaries."""
    return dataclasses.asdict(config)


def from_dict(schema: type[T], data: Mapping[str, Any], where: str) -> T:
    """`schema` from plain data of a file, every type checked; nothing in it is interpolated or called.

    Raises:
        ValueError: an unknown key or a value of the wrong type, named by its place.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where}: must be a mapping, found {type(data).__name__}")
    hints = typing.get_type_hints(schema)
    prefix = f"{where}." if where else ""
    for key in data:
        if key not in hints:
            raise ValueError(f"{prefix}{key}: no such setting{nearest(str(key), hints)}")
    return schema(**{key: _typed(hints[key], value, f"{prefix}{key}") for key, value in data.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        if value is None:
            return None
        (hint,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise ValueError(f"{where}: must be a list, found {type(value).__name__}")
        return [_typed(typing.get_args(hint)[0], item, where) for item in value]
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise ValueError(f"{where}: must be {hint.__name__}, found {type(value).__name__}")
    return value
