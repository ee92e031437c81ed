"""The schema of every command's configuration. No torch, no file IO; `aectl.settings.checks` knows the ranges.

YAML becomes these dataclasses once, in `aectl.cli.job`; below that, code sees plain Python values. A name such as
`dataset.name` is a key of a closed table in the module that owns it; a string from a file never names code.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

PRECISIONS = ("float32", "bf16")
EXECUTIONS = ("eager", "compile", "graph")
SCHEDULES = ("constant", "cosine", "steps")
DEVICES = ("auto", "cpu", "cuda", "mps")
ON_BAD = ("stop", "skip")
CODES = (".npz", ".csv", ".parquet")  # files of codes
SPLITS = ("train", "val", "test")
SAMPLE_MODES = ("prior", "grid", "posterior", "interpolate", "traverse")
PATH = {"path": True}  # the metadata of a setting that is a path


@dataclass
class DataConfig:
    """`root`: where downloaded data sets live; null means $AECTL_DATA, else the user's cache folder.

    `memory_gb`: decoded pictures larger than that stay in their file and are mapped into memory.
    """

    root: str | None = field(default=None, metadata=PATH)
    memory_gb: float = 4.0


@dataclass
class AdamConfig:
    """Adam's decay rates, the number that keeps its division from zero, and the weights' own decay.

    In each step weights, but no biases, shrink by the factor 1 − lr·weight_decay (Loshchilov & Hutter, 2019).
    """

    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0


@dataclass
class SweepConfig:
    """`resume`: the folder of a sweep that was begun by the same command; only what is missing there is run."""

    resume: str | None = field(default=None, metadata=PATH)


@dataclass
class TrainSchema:
    """A training run as Hydra knows it: choices are plain data here, and classes in `aectl.runs.config`."""

    dataset: Any = field(default=None, metadata={"paths": ("root",)})  # which of its settings are paths
    data: DataConfig = field(default_factory=DataConfig)
    noise: Any = None
    network: Any = None
    model: Any = None
    prior: Any = None
    objective: Any = None
    likelihood: Any = None

    latent: int = 2
    kl_weight: float = 1.0
    kl_warmup: float = 0.0

    epochs: int = 20
    batch_size: int = 32
    lr: float = 1e-3
    schedule: str = "constant"
    lr_steps: list[int] | None = None
    lr_factor: float = 0.1
    adam: AdamConfig = field(default_factory=AdamConfig)
    grad_clip: float | None = None
    early_stop: int | None = None

    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    precision: str = "float32"
    execution: str = "eager"
    figures_every: int = 5
    checkpoint_every: int = 1
    resume: str | None = field(default=None, metadata=PATH)
    sweep: SweepConfig = field(default_factory=SweepConfig)


@dataclass
class MeasureConfig:
    """What every command takes that uses what was trained: the seed of its draws, where to compute, where data is."""

    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    data: DataConfig = field(default_factory=DataConfig)


@dataclass
class RunConfig(MeasureConfig):
    """What those on one run take: which, and which of its checkpoints."""

    run: str = field(default="latest", metadata=PATH)
    checkpoint: str = "best"


@dataclass
class EvalConfig(RunConfig):
    """`aectl eval`: on which part of the data, and what is measured beyond the usual."""

    split: str = "test"
    batch_size: int = 500
    nll_samples: int | None = None
    nll_repeats: int = 1
    robustness: bool = False


@dataclass
class SampleConfig(RunConfig):
    """`aectl sample`: how many images, drawn how."""

    mode: str = "prior"
    n: int = 64


@dataclass
class FilesConfig(RunConfig):
    """What the commands on files take beyond that."""

    input: str | None = field(default=None, metadata=PATH)
    output: str | None = field(default=None, metadata=PATH)
    overwrite: bool = False


@dataclass
class PicturesConfig(FilesConfig):
    """And those that read pictures: what becomes of one that cannot be used, and how they are read.

    `scale`: the value that is white, or [black, white], in pictures of more than 8 bits; null: the run's own, else
    that of their type. `picture_gb`: GiB of memory that one picture may take while it is read.
    """

    on_bad: str = "stop"
    scale: Any = None
    picture_gb: float = 4.0


@dataclass
class DenoiseSchema(PicturesConfig):
    """`aectl denoise`: the pictures to clean, or none for the run's own test split and noise, as Hydra knows it."""

    reference: str | None = field(default=None, metadata=PATH)
    noise: Any = None


@dataclass
class EncodeConfig(PicturesConfig):
    """`aectl encode`: pictures, or none for the run's test split, into one file of codes."""

    sample: bool = False


@dataclass
class DecodeConfig(FilesConfig):
    """`aectl decode`: a file of codes back into pictures."""


@dataclass
class ReportConfig(MeasureConfig):
    """`aectl report`: which sweep, and the part of the data that its runs are measured on."""

    sweep: str = field(default="latest", metadata=PATH)
    split: str = "test"


@dataclass
class DoctorConfig:
    """`aectl doctor`: a run whose checkpoints are to be verified, or none."""

    run: str | None = field(default=None, metadata=PATH)
    data: DataConfig = field(default_factory=DataConfig)


COMMANDS = {
    "train": "train an autoencoder; everything it makes lands in a run folder",
    "eval": "measure a trained run: metrics, baselines, figures, a diagnosis",
    "sample": "draw new images from a trained run",
    "denoise": "clean pictures with a trained run",
    "encode": "pictures to codes in a file: .npz, .csv or .parquet",
    "decode": "codes in a file back to pictures",
    "report": "the runs of a sweep beside each other: a page with plots, tables and sentences",
    "doctor": "show what this machine has, and verify a run's checkpoints",
}

SCHEMAS: dict[str, type] = {
    "train": TrainSchema,
    "eval": EvalConfig,
    "sample": SampleConfig,
    "denoise": DenoiseSchema,
    "encode": EncodeConfig,
    "decode": DecodeConfig,
    "report": ReportConfig,
    "doctor": DoctorConfig,
}

# Settings of 0.1.0 that have another name today.
RENAMED = {"free_bits": "objective.free_bits", "model.samples": "objective.samples"}

# Settings that bear on no figure but the seconds (and what the last bits of a sum depend on): where files lie, what
# computes, what is saved and drawn on the way. Runs that differ in them alone are the same experiment.
WITHOUT_BEARING = (
    "resume", "device", "threads", "data.root", "data.memory_gb", "figures_every", "checkpoint_every", "sweep.resume",
)  # fmt: skip

# What a resumed run may change: nothing that the remaining training steps depend on, but how many they are.
RESUMABLE = ("resume", "epochs", *(key for key in WITHOUT_BEARING if key not in ("resume", "sweep.resume")))


def bears_on_numbers(key: str) -> bool:
    """Whether the setting `key`, such as `noise.sigma`, can change what is measured; Hydra's own settings cannot."""
    return key not in WITHOUT_BEARING and not key.startswith(("hydra.", "hydra/"))


def nearest(name: str, choices: Iterable[str]) -> str:
    """The ending `, did you mean 'x'?` for the choice most like `name`; empty where none is."""
    match = difflib.get_close_matches(str(name), list(choices), n=1, cutoff=0.5)
    return f", did you mean '{match[0]}'?" if match else ""


def title_of(config: Any) -> tuple[str, str]:
    """What people call a training run, and what more there is to say: ("vae", "latent 2"); ("dae", "unet"), codeless.

    It asks for names alone, so that a run's folder can be named before torch is imported.
    """
    noise, network, model = config.noise.name, config.network.name, config.model.name
    prior, objective = config.prior.name, config.objective.name
    kind = "dae" if (model, noise != "none") == ("ae", True) else model
    if objective != "elbo":
        kind = "iwae" if objective == "iwae" else f"{kind} {objective}"
    kind = kind if prior == "normal" else f"{kind} {prior}"
    if noise != "none" and model != "ae":
        kind = f"denoising {kind}"
    return kind, "unet" if network == "unet" else f"latent {config.latent}"
