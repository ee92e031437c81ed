"""Which values of a configuration are in range, and which have no effect. No torch, no file IO."""

from pathlib import Path
from typing import Any

from aectl.settings.config import (
    CODES,
    DEVICES,
    EXECUTIONS,
    ON_BAD,
    PRECISIONS,
    SAMPLE_MODES,
    SCHEDULES,
    SPLITS,
    DecodeConfig,
    DenoiseSchema,
    DoctorConfig,
    EncodeConfig,
    EvalConfig,
    MeasureConfig,
    PicturesConfig,
    ReportConfig,
    RunConfig,
    SampleConfig,
    TrainSchema,
)
from aectl.settings.ranges import choice, fail, number, path, scale
from aectl.settings.typed import paths_of


def check(config: Any) -> None:
    """Raise `ConfigError` for the first value of `config` out of its range; it touches no file and no data."""
    for key, value in paths_of(config).items():
        path(key, value)
    looks = {
        TrainSchema: _check_train,
        EvalConfig: _check_eval,
        SampleConfig: _check_sample,
        DenoiseSchema: _check_denoise,
        EncodeConfig: _check_encode,
        DecodeConfig: _check_decode,
        ReportConfig: _check_report,
        DoctorConfig: lambda config: None,
    }
    next(look for kind, look in looks.items() if isinstance(config, kind))(config)


def _check_machine(config: TrainSchema | MeasureConfig) -> None:
    choice("device", config.device, DEVICES)
    number("threads", config.threads, 1, 1024)
    number("data.memory_gb", config.data.memory_gb, 0)
    number("seed", config.seed, 0, 2**63 - 1)


def _check_run(config: RunConfig) -> None:
    _check_machine(config)
    choice("checkpoint", config.checkpoint, ("best", "last"))


def _check_eval(config: EvalConfig) -> None:
    _check_run(config)
    choice("split", config.split, SPLITS)
    number("batch_size", config.batch_size, 1)
    number("nll_samples", config.nll_samples, 1, 1_000_000)
    number("nll_repeats", config.nll_repeats, 1, 1000)


def _check_sample(config: SampleConfig) -> None:
    _check_run(config)
    choice("mode", config.mode, SAMPLE_MODES)
    number("n", config.n, 1, 100_000)


def _check_pictures(config: PicturesConfig) -> None:
    _check_run(config)
    choice("on_bad", config.on_bad, ON_BAD)
    scale("scale", config.scale)
    number("picture_gb", config.picture_gb, 0, open_low=True)


def _check_denoise(config: DenoiseSchema) -> None:
    _check_pictures(config)
    for key in ("output", "reference"):
        if getattr(config, key) is not None and config.input is None:
            fail(key, getattr(config, key), "needs input=<image or folder> as well")
    if config.noise.corrupts and config.input is None:
        fail("noise", config.noise.name, "is added to clean pictures first: give them with input=<image or folder>")
    if config.noise.corrupts and config.reference is not None:
        fail("reference", config.reference, "with noise=... the input itself is the reference; leave this out")
    if config.input is not None and config.output is None:
        fail("input", config.input, "say where the results go: output=<folder>")


def _check_encode(config: EncodeConfig) -> None:
    _check_pictures(config)
    if config.output is None:
        fail("output", "null", "say where the codes go: output=codes.npz (or .csv, .parquet)")
    _codes("output", config.output)


def _check_decode(config: DecodeConfig) -> None:
    _check_run(config)
    if config.input is None:
        fail("input", "null", "give the file of codes, such as input=codes.npz")
    _codes("input", config.input)
    if config.output is None:
        fail("output", "null", "say where the pictures go: output=<folder>")


def _check_report(config: ReportConfig) -> None:
    _check_machine(config)
    choice("split", config.split, SPLITS)


def _codes(key: str, name: str) -> None:
    if Path(name).suffix not in CODES:
        fail(key, name, f"is no file of codes; its name must end in {', '.join(CODES)}")


def _check_train(config: TrainSchema) -> None:
    _check_machine(config)
    config.model.check_with(config)
    config.objective.check_with(config.prior)
    number("latent", config.latent, 1, 65536)
    number("kl_weight", config.kl_weight, 0)
    number("kl_warmup", config.kl_warmup, 0)
    number("epochs", config.epochs, 1)
    number("batch_size", config.batch_size, 1)
    number("lr", config.lr, 0, open_low=True)
    _check_schedule(config)
    choice("precision", config.precision, PRECISIONS)
    choice("execution", config.execution, EXECUTIONS)
    number("grad_clip", config.grad_clip, 0, open_low=True)
    number("early_stop", config.early_stop, 1)
    if config.early_stop is not None and config.dataset.val_size == 0:
        fail("early_stop", config.early_stop, "needs validation images: set dataset.val_size above 0")
    number("figures_every", config.figures_every, 0)
    number("checkpoint_every", config.checkpoint_every, 1)


def _check_schedule(config: TrainSchema) -> None:
    choice("schedule", config.schedule, SCHEDULES)
    steps = config.lr_steps
    if (steps is not None) != (config.schedule == "steps"):
        fail(
            "lr_steps",
            "null" if steps is None else steps,
            "a list of epochs goes with schedule=steps, and only with it",
        )
    if steps is not None and (min(steps, default=1) < 1 or steps != sorted(set(steps))):
        fail("lr_steps", steps, "give epochs of at least 1 in rising order")
    number("lr_factor", config.lr_factor, 0, open_low=True)
    for key in ("beta1", "beta2"):
        value = getattr(config.adam, key)
        if not 0 <= value < 1:
            fail(f"adam.{key}", value, "must be a number of at least 0 and below 1")
    number("adam.eps", config.adam.eps, 0, open_low=True)
    number("adam.weight_decay", config.adam.weight_decay, 0)


def notices(config: TrainSchema) -> list[str]:
    """One line for each setting that is accepted but has no effect, or not the one its name suggests."""
    found = []
    defaults = TrainSchema()
    found += config.model.notices(config, config.noise.corrupts)
    if not config.model.has_kl:
        for key in ("kl_weight", "kl_warmup"):
            if getattr(config, key) != getattr(defaults, key):
                found.append(f"{key}={getattr(config, key):g} is ignored: model={config.model.name} has no KL term")
        if config.objective.free:
            free = f"objective.free_bits={config.objective.free:g}"
            found.append(f"{free} is ignored: model={config.model.name} has no KL term")
    elif config.kl_warmup > config.epochs:
        found.append(
            f"kl_warmup={config.kl_warmup:g} is longer than epochs={config.epochs}: the KL weight never becomes "
            f"{config.kl_weight:g}"
        )
    if config.lr_factor != defaults.lr_factor and config.schedule != "steps":
        found.append(f"lr_factor={config.lr_factor:g} is ignored: schedule={config.schedule} has no steps")
    found += config.likelihood.notices(config.dataset.binarize != "none")
    if config.dataset.val_size == 0:
        found.append("dataset.val_size=0: no validation, so the best checkpoint is the last")
    return found
