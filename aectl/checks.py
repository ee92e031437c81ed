"""Which values of a configuration are in range, and which have no effect. No torch, no file IO."""

import math
import typing
from collections.abc import Iterable
from typing import Any

from aectl.config import (
    ACTIVATIONS,
    BACKGROUNDS,
    BINARIZATIONS,
    CODES,
    DATASETS,
    DEVICES,
    FITS,
    INITS,
    LIKELIHOODS,
    MIXTURE,
    MODELS,
    NETWORKS,
    NOISE_STRENGTH,
    NORMS,
    ON_BAD,
    OUTPUT_BIASES,
    POSTERIORS,
    SAMPLE_MODES,
    SCHEDULES,
    SPLITS,
    DatasetConfig,
    DecodeConfig,
    DenoiseConfig,
    DoctorConfig,
    EncodeConfig,
    EvalConfig,
    LikelihoodConfig,
    ModelConfig,
    NetworkConfig,
    NoiseConfig,
    SampleConfig,
    TrainConfig,
    nearest,
)
from aectl.errors import ConfigError

MAX_LAYERS = 64


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
        EncodeConfig: _check_encode,
        DecodeConfig: _check_decode,
        DoctorConfig: lambda config: _path("run", config.run),
    }[type(config)](config)


def _check_machine(config: Any) -> None:
    _choice("device", config.device, DEVICES)
    _number("threads", config.threads, 1, 1024)
    _path("data.root", config.data.root)
    _number("data.memory_gb", config.data.memory_gb, 0)
    _number("seed", config.seed, 0, 2**63 - 1)


def _check_run(config: Any) -> None:
    _check_machine(config)
    _choice("checkpoint", config.checkpoint, ("best", "last"))
    _path("run", config.run)


def _check_eval(config: EvalConfig) -> None:
    _check_run(config)
    _choice("split", config.split, SPLITS)
    _number("batch_size", config.batch_size, 1)
    _number("nll_samples", config.nll_samples, 1, 1_000_000)
    _number("nll_repeats", config.nll_repeats, 1, 1000)


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
    _check_noise(config.noise)
    if config.noise.name != "none" and config.input is None:
        _fail("noise", config.noise.name, "is added to clean pictures first: give them with input=<image or folder>")
    if config.noise.name != "none" and config.reference is not None:
        _fail("reference", config.reference, "with noise=... the input itself is the reference; leave this out")
    if config.input is not None and config.output is None:
        _fail("input", config.input, "say where the results go: output=<folder>")


def _check_encode(config: EncodeConfig) -> None:
    _check_run(config)
    _path("input", config.input)
    _path("output", config.output)
    if config.output is None:
        _fail("output", "null", "say where the codes go: output=codes.npz (or .csv, .parquet)")
    _codes("output", config.output)


def _check_decode(config: DecodeConfig) -> None:
    _check_run(config)
    _path("input", config.input)
    _path("output", config.output)
    if config.input is None:
        _fail("input", "null", "give the file of codes, such as input=codes.npz")
    _codes("input", config.input)
    if config.output is None:
        _fail("output", "null", "say where the pictures go: output=<folder>")


def _codes(key: str, path: str) -> None:
    if not path.endswith(CODES):
        _fail(key, path, f"is no file of codes; its name must end in {', '.join(CODES)}")


def _check_train(config: TrainConfig) -> None:
    _check_machine(config)
    _path("resume", config.resume)
    _check_dataset(config.dataset)
    _check_noise(config.noise)
    _check_network(config.network)
    _check_model(config.model)
    if config.network.name == "unet" and (config.model.name, config.likelihood.name) != ("ae", "gaussian"):
        _fail("network.name", "unet", "predicts the clean picture, without a code: it goes with model=ae or dae and "
              "likelihood=gaussian")  # fmt: skip
    _check_likelihood(config.likelihood)
    _number("latent", config.latent, 1, 65536)
    _number("kl_weight", config.kl_weight, 0)
    _number("kl_warmup", config.kl_warmup, 0)
    _number("free_bits", config.free_bits, 0)
    if config.free_bits and config.model.name == "iwae":
        _fail("free_bits", config.free_bits, "model=iwae has one bound, not a KL for each latent; use model=vae")
    _number("epochs", config.epochs, 1)
    _number("batch_size", config.batch_size, 1)
    _number("lr", config.lr, 0, open_low=True)
    _check_schedule(config)
    _number("grad_clip", config.grad_clip, 0, open_low=True)
    _number("early_stop", config.early_stop, 1)
    if config.early_stop is not None and config.dataset.val_size == 0:
        _fail("early_stop", config.early_stop, "needs validation images: set dataset.val_size above 0")
    _number("figures_every", config.figures_every, 0)
    _number("checkpoint_every", config.checkpoint_every, 1)


def _check_schedule(config: TrainConfig) -> None:
    _choice("schedule", config.schedule, SCHEDULES)
    steps = config.lr_steps
    if (steps is not None) != (config.schedule == "steps"):
        _fail(
            "lr_steps",
            "null" if steps is None else steps,
            "a list of epochs goes with schedule=steps, and only with it",
        )
    if steps is not None and (min(steps, default=1) < 1 or steps != sorted(set(steps))):
        _fail("lr_steps", steps, "give epochs of at least 1 in rising order")
    _number("lr_factor", config.lr_factor, 0, open_low=True)
    for key in ("beta1", "beta2"):
        value = getattr(config.adam, key)
        if not 0 <= value < 1:
            _fail(f"adam.{key}", value, "must be a number of at least 0 and below 1")
    _number("adam.eps", config.adam.eps, 0, open_low=True)


def _check_network(network: NetworkConfig) -> None:
    _choice("network.name", network.name, NETWORKS)
    _choice("network.activation", network.activation, ACTIVATIONS)
    _choice("network.init", network.init, INITS)
    _choice("network.output_bias", network.output_bias, OUTPUT_BIASES)
    _widths("network.hidden", network.hidden)
    _widths("network.decoder_hidden", network.decoder_hidden or [])
    if network.name in ("conv", "unet"):
        if not network.channels:
            _fail("network.channels", network.channels, f"{network.name} needs at least one width, such as [32,64]")
        _widths("network.channels", network.channels)
    elif network.channels is not None:
        _fail("network.channels", network.channels, "only network=conv and network=unet have channels")
    if network.blocks is not None and network.name == "mlp":
        _fail("network.blocks", network.blocks, "only network=conv and network=unet have residual blocks")
    if network.blocks is None and network.name == "unet":
        _fail("network.blocks", "null", "network=unet needs the number of residual blocks of a level")
    _number("network.blocks", network.blocks, 1 if network.name == "unet" else 0, MAX_LAYERS)
    if network.output_conv and network.name != "conv":
        _fail("network.output_conv", "true", "only network=conv has a decoder of convolutions")
    _choice("network.norm", network.norm, NORMS)
    if network.norm != "none" and network.name == "mlp":
        _fail("network.norm", network.norm, "only network=conv and network=unet have a normalisation")
    if network.name == "unet":
        for key, only in (("hidden", []), ("decoder_hidden", None), ("output_bias", "default"), ("init", "default")):
            if getattr(network, key) != only:
                _fail(f"network.{key}", getattr(network, key), "network=unet has neither dense layers nor a decoder")


def _check_model(model: ModelConfig) -> None:
    _choice("model.name", model.name, MODELS)
    if model.name == "ae":
        for key in ("posterior", "logvar_clip"):
            if getattr(model, key) is not None:
                _fail(f"model.{key}", getattr(model, key), "only model=vae and model=iwae have a posterior")
    else:
        _choice("model.posterior", model.posterior or "null", POSTERIORS)
    clip = model.logvar_clip
    if clip is not None and not (len(clip) == 2 and -math.inf < clip[0] < clip[1] < math.inf):
        _fail("model.logvar_clip", clip, "give [least, most], such as [-6,2]")
    if (model.samples is not None) != (model.name == "iwae"):
        _fail("model.samples", "null" if model.samples is None else model.samples,
              "the number of draws goes with model=iwae, and only with it")  # fmt: skip
    _number("model.samples", model.samples, 1, 100_000)


def _check_likelihood(likelihood: LikelihoodConfig) -> None:
    _choice("likelihood.name", likelihood.name, LIKELIHOODS)
    if likelihood.name == "gaussian":
        if likelihood.sigma is None:
            _fail("likelihood.sigma", "null", "likelihood=gaussian needs a standard deviation")
        _number("likelihood.sigma", likelihood.sigma, 1e-4, 1e4)
    elif likelihood.sigma is not None:
        _fail("likelihood.sigma", likelihood.sigma, "only likelihood=gaussian has a sigma")
    elif likelihood.learn:
        _fail("likelihood.learn", "true", "only likelihood=gaussian has a sigma to learn")


def _check_dataset(dataset: DatasetConfig) -> None:
    _choice("dataset.name", dataset.name, DATASETS)
    own = dataset.name in ("folder", "array")
    if dataset.val_size is None and not own:
        _fail("dataset.val_size", "null", "give the number of validation images; only folder and array take a tenth")
    _number("dataset.val_size", dataset.val_size, 0)
    _check_own(dataset, own)
    _number("dataset.test_size", dataset.test_size, 1)
    _number("dataset.split_seed", dataset.split_seed, 0, 2**63 - 1)
    _choice("dataset.binarize", dataset.binarize, BINARIZATIONS)
    if dataset.test_size is not None and dataset.name not in ("mnist5k", "digits", "synthetic", "folder", "array"):
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


def _check_own(dataset: DatasetConfig, own: bool) -> None:
    """The settings of people's own pictures."""
    if own and dataset.root is None:
        _fail("dataset.root", "null", f"dataset={dataset.name} needs dataset.root=<path>")
    if not own and dataset.root is not None:
        _fail("dataset.root", dataset.root, "goes with dataset=folder and dataset=array; other sets use data.root")
    _path("dataset.root", dataset.root)
    folder = dataset.name == "folder"
    for key, choices in (
        ("fit", FITS),
        ("background", BACKGROUNDS),
        ("on_bad", ON_BAD),
        ("channels", ("auto", 1, 3)),
    ):
        value = getattr(dataset, key)
        if folder:
            if value not in choices or isinstance(value, bool):
                _fail(f"dataset.{key}", value, f"no such choice (choices: {', '.join(map(str, choices))})")
        elif value is not None:
            _fail(f"dataset.{key}", value, "goes with dataset=folder, and only with it")
    if folder != (dataset.patches is not None):
        _fail("dataset.patches", "null" if dataset.patches is None else dataset.patches, "goes with dataset=folder")
    _number("dataset.patches", dataset.patches, 1, 1_000_000)
    if dataset.fit == "patches" and dataset.size is None:
        _fail("dataset.size", "null", "dataset.fit=patches needs the size of a patch, such as dataset.size=64")
    if dataset.fit == "patches" and dataset.binarize != "none":
        _fail("dataset.binarize", dataset.binarize, "patches are not binarized; choose another dataset.fit")
    sides = dataset.size if isinstance(dataset.size, list) else [dataset.size, dataset.size]
    if dataset.size is None:
        return
    if not folder:
        _fail("dataset.size", dataset.size, "goes with dataset=folder, and only with it")
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
        _fail("dataset.size", dataset.size, "give one side, or [height, width], from 1 to 4096")


def _check_noise(noise: NoiseConfig) -> None:
    _choice("noise.name", noise.name, NOISE_STRENGTH)
    strength = NOISE_STRENGTH[noise.name]
    for key in ("sigma", "p", "peak", "quality"):
        value = getattr(noise, key)
        if key == strength and value is None:
            _fail(f"noise.{key}", "null", f"noise={noise.name} needs its strength")
        if key != strength and value is not None:
            takes = f"its strength is noise.{strength}" if strength else "it has no strength"
            _fail(f"noise.{key}", value, f"does not apply to noise={noise.name}; {takes}")
    for key, names in (("sigma_max", ("gaussian", "speckle")), ("side", ("blocks",)), ("kinds", ("mixture",))):
        if getattr(noise, key) is not None and noise.name not in names:
            _fail(f"noise.{key}", getattr(noise, key), f"goes with noise={' and noise='.join(names)}")
    for key in ("side", "kinds"):
        if getattr(noise, key) is None and noise.name == {"side": "blocks", "kinds": "mixture"}[key]:
            _fail(f"noise.{key}", "null", f"noise={noise.name} needs it")
    _number("noise.sigma", noise.sigma, 0, 100 if noise.name == "blur" else math.inf)
    _number("noise.sigma_max", noise.sigma_max, noise.sigma or 0)
    _number("noise.p", noise.p, 0, 1)
    _number("noise.peak", noise.peak, 0, open_low=True)
    _number("noise.side", noise.side, 1, 4096)
    _number("noise.quality", noise.quality, 1, 95)
    if noise.kinds is not None and not noise.kinds:
        _fail("noise.kinds", noise.kinds, f"give at least one of {', '.join(MIXTURE)}")
    for kind in noise.kinds or ():
        _choice("noise.kinds", kind, MIXTURE)


def notices(config: TrainConfig) -> list[str]:
    """One line for each setting that is accepted but has no effect, or not the one its name suggests."""
    found = []
    defaults = TrainConfig()
    if config.network.name == "unet" and config.noise.name == "none":
        found.append("network=unet without noise has nothing to do: it returns its input; choose one with noise=...")
    if config.model.name == "ae":
        for key in ("kl_weight", "kl_warmup", "free_bits"):
            if getattr(config, key) != getattr(defaults, key):
                found.append(f"{key}={getattr(config, key):g} is ignored: model=ae has no KL term")
    elif config.kl_warmup > config.epochs:
        found.append(
            f"kl_warmup={config.kl_warmup:g} is longer than epochs={config.epochs}: the KL weight never becomes "
            f"{config.kl_weight:g}"
        )
    if config.lr_factor != defaults.lr_factor and config.schedule != "steps":
        found.append(f"lr_factor={config.lr_factor:g} is ignored: schedule={config.schedule} has no steps")
    if config.likelihood.name == "continuous_bernoulli" and config.dataset.binarize != "none":
        found.append("likelihood=continuous_bernoulli is a density on [0, 1]; for binarized pixels use bernoulli")
    if config.dataset.val_size == 0:
        found.append("dataset.val_size=0: no validation, so the best checkpoint is the last")
    return found
