"""A training run as Hydra knows it: types, paths, and what may differ between runs that are one. No torch.

Values stand in YAML; choices are plain data here, and classes in `aectl.runs.config`.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from aectl.settings.common import PATH, DataConfig
from aectl.settings.ranges import fail, number

PRECISIONS = ("float32", "bf16")
EXECUTIONS = ("eager", "compile", "graph")


@dataclass
class AdamConfig:
    """Adam's decay rates, the number that keeps its division from zero, and the weights' own decay.

    In each step weights, but no biases, shrink by the factor 1 − lr·weight_decay (Loshchilov & Hutter, 2019).
    """

    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    def check(self) -> None:
        """Refuse the first value out of its range."""
        for key in ("beta1", "beta2"):
            value = getattr(self, key)
            if not 0 <= value < 1:
                fail(f"adam.{key}", value, "must be a number of at least 0 and below 1")
        number("adam.eps", self.eps, 1e-30)  # float32 takes less for 0, and divides by it
        number("adam.weight_decay", self.weight_decay, 0)


@dataclass
class SweepConfig:
    """`resume`: the folder of a sweep that was begun by the same command; only what is missing there is run."""

    resume: str | None = field(metadata=PATH)


@dataclass
class TrainSchema:
    """Everything that defines a training run, choices as plain data."""

    dataset: Any = field(metadata={"paths": ("root", "noisy")})  # which of its settings are paths
    data: DataConfig
    noise: Any
    network: Any
    model: Any
    prior: Any
    objective: Any
    likelihood: Any

    latent: int
    kl_weight: float
    kl_warmup: float

    epochs: int
    batch_size: int
    lr: float
    schedule: Any
    adam: AdamConfig
    grad_clip: float | None
    early_stop: int | None

    seed: int
    device: str
    threads: int | None
    precision: str
    execution: str
    figures_every: int
    checkpoint_every: int
    explore: bool
    name: str | None
    resume: str | None = field(metadata=PATH)
    sweep: SweepConfig


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of a run, in the name of its folder

# Settings of 0.1.0 that have another name today.
RENAMED = {
    "free_bits": "objective.free_bits", "model.samples": "objective.samples", "lr_steps": "schedule.after",
    "lr_factor": "schedule.factor",
}  # fmt: skip

# Settings that bear on no figure but the seconds (and what the last bits of a sum depend on): where files lie, what
# computes, what is saved and drawn on the way. Runs that differ in them alone are the same experiment.
WITHOUT_BEARING = (
    "name", "resume", "device", "threads", "data.root", "data.memory_gb", "figures_every", "checkpoint_every",
    "explore", "sweep.resume",
)  # fmt: skip

# What may differ between runs of a sweep that take their steps together; top-level keys.
TOGETHER = (
    "name", "seed", "noise", "kl_weight", "kl_warmup", "epochs", "lr", "schedule", "adam", "grad_clip", "early_stop",
    "figures_every", "checkpoint_every", "explore", "resume", "sweep",
)  # fmt: skip

# What a resumed run may change: nothing that the remaining training steps depend on, but how many they are.
RESUMABLE = ("resume", "epochs", *(key for key in WITHOUT_BEARING if key not in ("name", "resume", "sweep.resume")))


def bears_on_numbers(key: str) -> bool:
    """Whether the setting `key`, such as `noise.sigma`, can change what is measured; Hydra's own settings cannot."""
    return key not in WITHOUT_BEARING and not key.startswith(("hydra.", "hydra/"))


def title_of(config: Any) -> tuple[str, str]:
    """What people call a training run, and what more there is to say: ("vae", "latent 2"); ("dae", "unet"), codeless.

    It asks for names alone, so that a run's folder can be named before torch is imported.
    """
    network, model = config.network.name, config.model.name
    prior, objective = config.prior.name, config.objective.name
    noisy = config.noise.name != "none" or getattr(config.dataset, "noisy", None) is not None
    kind = "dae" if noisy and model == "ae" else model
    if objective != "elbo":
        kind = "iwae" if objective == "iwae" else f"{kind} {objective}"
    kind = kind if prior == "normal" else f"{kind} {prior}"
    if noisy and model != "ae":
        kind = f"denoising {kind}"
    return kind, "unet" if network == "unet" else f"latent {config.latent}"


def caption(config: Any) -> str:
    """Whose picture it is: `vae, latent 2, mnist5k`."""
    return ", ".join((*title_of(config), config.dataset.name))
