"""Plain sentences about what an evaluation's figures show, and no more than they show."""

from typing import Any

from aectl.measuring import advice
from aectl.measuring.importance import ENOUGH, MANY
from aectl.measuring.scoring import ACTIVE
from aectl.runs import layout, papers
from aectl.runs.opening import Run

SURE = 2.0  # standard errors that a difference must exceed to be called one
FEW = 10  # images over which the variance of a code says little
ROUNDING = 1e-12  # an error per pixel, or a share of the mean image's error, that is none


def diagnose(run: Run, found: dict[str, Any]) -> list[str]:
    """The sentences for the figures `found` of `run`, under the names that `metrics.json` gives them."""
    if papers.diverged(result := papers.outcome(layout.run_of(run.path))):
        return [_diverged(run, str(result.get("error", "a number was not finite")))]
    if run.progress.epoch == 0:
        return [_too_early(run)]
    said, comparing = [], (_latents, _reconstruction, _denoising)
    if found["images"] == 1:
        said.append("One image: no figure has a standard error, so that no difference is sure, and no latent varies.")
        comparing = ()
    for sentence in (*comparing, _prior, _floor, _density, _draws):
        said += sentence(run, found)
    return said


def _diverged(run: Run, error: str) -> str:
    what = f"epoch {run.progress.epoch}" if run.progress.epoch else "step 0, the weights that training starts from"
    return (
        f"This run diverged: {error.partition(';')[0]}. These are the weights of {what}, from which nothing follows "
        "for its settings: train it anew, as its last line says."
    )


def _too_early(run: Run) -> str:
    if run.progress.step == 0:
        return (
            "This checkpoint is of step 0, the weights that training starts from: its figures say nothing of the "
            "run. There is no other until the first epoch ends; a run that diverged before needs a smaller lr."
        )
    return f"This checkpoint is of step {run.progress.step}, in the first epoch: too early for a diagnosis."


def _latents(run: Run, found: dict[str, Any]) -> list[str]:
    """Those that do not vary. For a model with a KL that is a choice it made, for an AE it may be their scale."""
    latent, config = run.config.latent, run.config
    unused = latent - found.get("active_units", latent)
    if not unused or found["images"] < FEW:
        return []
    what = f"{unused} of {latent} latents"
    if run.model.prior is None:
        return [
            f"{what} {_verb(unused, 'varies', 'vary')} little over these images (variance at most {ACTIVE:g}); an "
            "AE's codes have no scale of their own, so that may be enough."
        ]
    # An active latent has a KL of more than ACTIVE/2 nats, since KL ≥ ½·E[μ²].
    free = config.objective.free
    if config.kl_weight == 0 or free >= ACTIVE / 2:
        setting = f"objective.free_bits={free:g}" if free >= ACTIVE / 2 else "kl_weight=0"
        remedy = f"not because of the KL, which costs {_verb(unused, 'it', 'them')} nothing with {setting}"
    else:
        warmup = "a longer kl_warmup" if config.kl_warmup else "kl_warmup"
        options = ["a lower kl_weight", *(["more objective.free_bits"] if free else []), warmup]
        remedy = f"to use {_verb(unused, 'it', 'them')}, try {', '.join(options[:-1])} or {options[-1]}"
    return [f"{what} {_verb(unused, 'is', 'are')} collapsed, hardly depending on the image: {remedy}."]


def _reconstruction(run: Run, found: dict[str, Any]) -> list[str]:
    """The error beside that of the mean image, and beside that of PCA where it is well below."""
    mse, mean = found["mse"], found["mean_image_mse"]
    if mean <= ROUNDING:
        return ["These images are the mean training image: they do not vary, so there is nothing to reconstruct."]
    if not _apart(found, "mse", "mean_image_mse"):
        return ["The reconstructions are no better than the mean image, within the standard error."]
    if mse > mean:
        tips = advice.words(advice.against_being_worse(run.config, mse / mean))
        return [f"The error is {_above(mse / mean)} that of the mean image: {tips}."]
    if mse > 0.95 * mean:
        return [
            f"The reconstructions are hardly better than the mean image: the error is {_share(1 - mse / mean)} less."
        ]
    if not run.config.corrupts and run.model.latent is not None and found["pca_components"]:
        return [_against_pca(run, found)]
    return []


def _against_pca(run: Run, found: dict[str, Any]) -> str:
    mse, pca, count = found["mse"], found["pca_mse"], found["pca_components"]
    name = f"PCA with {count} component{'s' if count > 1 else ''}"
    if count < run.config.latent:
        name += " (in more the training images do not vary)"
    if pca <= ROUNDING * found["mean_image_mse"]:
        return f"{name} reconstructs these images exactly; the error here is {mse:.3g} per pixel."
    if not _apart(found, "mse", "pca_mse"):
        return (
            f"Its error cannot be told from that of {name}, within the standard error ({mse:.3g} and {pca:.3g} per "
            "pixel)."
        )
    if mse < pca:
        return f"Its error is {_share(1 - mse / pca)} below that of {name}."
    pays = run.model.prior is not None and run.config.kl_weight > 0
    remedy = "PCA pays no KL" if pays else "a linear autoencoder can reach that; train longer"
    return f"Its error is {_above(mse / pca)} that of {name}: {remedy}."


def _prior(run: Run, found: dict[str, Any]) -> list[str]:
    if run.model.prior is not None or run.model.latent is None:
        return []
    return [
        "An autoencoder has no prior: codes drawn from N(0, I) decode to arbitrary images (prior_samples.png); "
        "`aectl sample` draws from a Gaussian mixture fitted to its codes instead."
    ]


def _floor(run: Run, found: dict[str, Any]) -> list[str]:
    floor = found.get("recon_floor", 0)
    if floor < 0.005:
        return []
    gap = max(found["recon"] - floor, 0)  # negative by rounding alone
    return [
        f"Grey pixels have an entropy of {floor:.2f} nats per image, a floor of this grey BCE; the "
        f"reconstruction is {gap:.2f} nats above it{', about as low as it can be' if gap < 0.02 * floor else ''}."
    ]


def _density(run: Run, found: dict[str, Any]) -> list[str]:
    if "nll" not in found or run.model.likelihood.levels:
        return []
    return [
        f"Its NLL is that of a density over {run.model.likelihood.support} for each pixel: compare it with the "
        "same likelihood only, never with a Bernoulli's."
    ]


def _draws(run: Run, found: dict[str, Any]) -> list[str]:
    """Whether enough draws carry the importance-weighted bound for it and its standard error to be trusted."""
    name = next((name for name in ("nll", "grey_bce_bound") if name in found), None)
    if name is None or found[f"{name}_scarce"] < MANY:
        return []
    error = ""
    if f"{name}_se_draws" not in found:
        error = f", and one draw gives no {name}_se_draws"
    elif found[f"{name}_repeats"] == 1:
        error = f", and {name}_se_draws, estimated from the same draws, too small"
    return [
        f"Too few draws: {_share(found[f'{name}_scarce'])} of the images have fewer than {ENOUGH} effective ones "
        f"(the median is {found[f'{name}_effective_samples']:.1f} of {found[f'{name}_samples']:,}), so {name} is too "
        f"high by an unknown amount{error}; raise nll_samples."
    ]


def _denoising(run: Run, found: dict[str, Any]) -> list[str]:
    if "psnr_denoised" not in found:
        return []
    against = [
        _decibels(found, other, words)
        for other, words in (("psnr_noisy", "the noisy ones"), ("psnr_median", "a 3×3 median of them"))
    ]
    return [f"The denoised images are {' and '.join(against)}."]


def _decibels(found: dict[str, Any], other: str, words: str) -> str:
    gain = found["psnr_denoised"] - found[other]
    if abs(gain) < 0.005:
        return f"as good as {words}"
    if not _apart(found, "psnr_denoised", other):
        return f"not to be told from {words} ({gain:+.2f} dB, within the standard error)"
    return f"{abs(gain):.2f} dB {'better' if gain > 0 else 'worse'} than {words}"


def _apart(found: dict[str, Any], one: str, other: str) -> bool:
    """Whether two figures differ by more than chance would have it."""
    return abs(found[one] - found[other]) > SURE * found["standard_errors"][f"{one} - {other}"]


def _verb(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _share(value: float) -> str:
    """A share in percent; what is neither none nor all is not rounded to it."""
    if value < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < value < 1 else f"{value:.0%}"


def _above(ratio: float) -> str:
    """How far above another an error of `ratio` > 1 times that is; in percent up to half as much again."""
    if ratio < 1.5:
        return f"{_share(ratio - 1)} above"
    if ratio > 1e6:
        return "more than a million times"
    return f"{ratio:.3g} times" if ratio < 100 else f"{ratio:,.0f} times"
