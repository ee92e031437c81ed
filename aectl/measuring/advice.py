"""What to try on a run that diverged or learnt nothing: what is not so already, the likeliest first. No torch."""

from collections.abc import Sequence

from aectl.models.objectives import ELBO_WEIGHT
from aectl.runs.config import TrainConfig

MOST = 3  # suggestions at a time
USUAL_LR = 1e-3  # what Adam's authors recommend (Kingma & Ba, 2015)


def against_divergence(config: TrainConfig) -> list[str]:
    """Settings that keep a step from growing beyond all numbers, each as words that follow "train it anew with"."""
    paid = config.model.has_kl
    high = f"a smaller lr than {config.lr:g}"
    found = [
        (high, config.lr > USUAL_LR),
        (f"a smaller kl_weight than {config.kl_weight:g}", paid and config.kl_weight > ELBO_WEIGHT),
        *config.model.against_divergence(),
        # Adam's step hardly depends on the size of the gradient, so this comes late.
        ("grad_clip=1", config.grad_clip is None),
        (f"a smaller grad_clip than {config.grad_clip or 0:g}", (config.grad_clip or 0) > 1),
        *config.likelihood.against_divergence(),
        ("noise.clip=true", config.noise.corrupts and not config.noise.clip),
        ("precision=float32", config.precision == "bf16"),
        (high, config.lr <= USUAL_LR),
    ]
    return [tip for tip, fits in found if fits][:MOST]


def against_not_learning(config: TrainConfig, recon: Sequence[float | None], active_units: int | None) -> list[str]:
    """What to try where the reconstructions are no better than the mean image, and not far worse either.

    Args:
        config: the run's.
        recon: its training reconstruction at each epoch.
        active_units: how many latents its code uses; None where it has none to use.
    """
    falls = len(recon) < 2 or None in recon[-2:] or recon[-1] < recon[-2]
    # A latent has a KL of less than 0.005 nats where it is not active (its mean's variance at most 0.01).
    paid = config.kl_weight > 0 and config.objective.free < 0.005
    collapsed = active_units == 0 and config.model.has_kl and paid
    lighter = [
        (f"a smaller kl_weight than {config.kl_weight:g}", collapsed),
        (f"kl_warmup={max(1, config.epochs // 2)}", collapsed and config.kl_warmup == 0),
    ]
    heavy = config.kl_weight > ELBO_WEIGHT  # else a code that is not used yet may be used later
    found = [
        *(lighter if heavy else ()),
        (f"more epochs than {config.epochs}", falls),
        (f"a larger lr than {config.lr:g}", config.lr < USUAL_LR),
        *(() if heavy else lighter),
        (f"a smaller lr than {config.lr:g}", config.lr > USUAL_LR),
    ]
    return [tip for tip, fits in found if fits][:MOST] or against_divergence(config)


def against_being_worse(config: TrainConfig, times: float) -> list[str]:
    """What to try where the error is `times` that of the mean image: it grew, or has only begun to fall."""
    if times > 2 or config.lr > USUAL_LR:
        return against_divergence(config)
    return [
        f"more epochs than {config.epochs}",
        *([f"a larger lr than {config.lr:g}"] if config.lr < USUAL_LR else []),
    ]


def words(suggestions: Sequence[str]) -> str:
    """Suggestions as the end of a sentence: a, b or c."""
    *first, last = suggestions
    return f"train it anew with {', '.join(first)}{' or ' if first else ''}{last}"
