"""The sentences of the page: what was trained, and what is seen."""

from typing import Any

from aectl.drawing.explorer.subject import Subject
from aectl.models.priors import StandardNormal
from aectl.runs import schema

CODE = "Each dot is an image, drawn at its code: the few numbers into which the encoder squeezes it."
COLOURS = " Colours are labels, which training has not seen."
GAPS = (
    " An AE was only taught to decode codes of images: its gaps decode to nonsense, and it has no prior to draw from."
)
RINGS = (
    " Rings are 1 and 2 σ of the prior N(0, I), towards which training pulls the codes: so the gaps mean something."
)
PARTS = {"val": "validation", "train": "training"}


def title(subject: Subject) -> str:
    """What was trained, on what: `VAE, latent 2, on mnist5k`."""
    kind, detail = schema.title_of(subject.config)
    acronyms = ("ae", "dae", "vae", "iwae")
    kind = " ".join(word.upper() if word in acronyms else word for word in kind.split())
    return f"{kind}, {detail}, on {subject.config.dataset.name}"


def facts(subject: Subject, found: dict[str, Any]) -> str:
    """Network, epoch, figures with their unit, and how many images are in the page."""
    shown, train = found["shown"], found["train"]
    said = [subject.config.network.words]
    if "epoch" in subject.record:
        said.append(f"epoch {subject.record['epoch']}")
    said += _figures(subject)
    said.append(f"{shown['count']:,} of {shown['of']:,} {subject.part} images")
    if train is not None:
        said.append(f"{train['count']:,} of {train['of']:,} training images")
    return " · ".join(said)


def _figures(subject: Subject) -> list[str]:
    """The loss of the epoch, and its terms where there are several."""
    record, costs = subject.record, subject.model.costs
    part = "val" if record.get("val/loss") is not None else "train"
    terms = {"reconstruction": "recon", **{name.upper(): name for name in costs}} if costs else {}
    known = {word: record.get(f"{part}/{name}") for word, name in {"": "loss", **terms}.items()}
    texts = [f"{word} {value:.2f}".strip() for word, value in known.items() if value is not None]
    if known[""] is None:
        return []
    rest = f" ({', '.join(texts[1:])})" if texts[1:] else ""
    return [f"{PARTS[part]} loss {texts[0]} nats per image{rest}"]


def explained(subject: Subject, found: dict[str, Any]) -> dict[str, str]:
    """What the plane shows, where its pictures come from, what the draws are, what latents are sorted by."""
    prior, posterior = subject.model.prior, subject.model.posterior
    plane = CODE + (COLOURS if found["classes"] else "")
    if isinstance(prior, StandardNormal):
        plane += RINGS
    elif prior is None:
        plane += GAPS
    else:
        plane += f" The prior is {prior.words}, which has no rings."
    draws = "An AE's code is a point: there is no q(z|x), hence no ellipse and nothing to draw."
    if posterior is not None:
        draws = "A VAE's code is a Gaussian, the ellipse (1 and 2 σ); small dots are draws of z, decoded here."
    kl = found["unit"] == "KL"
    weight = "KL in nats" if kl else "the variance of the codes"
    return {"plane": plane, "decoder": _decoder(subject, found["decoder"]), "draws": draws, "weight": weight}


def _decoder(subject: Subject, decoder: dict[str, Any]) -> str:
    """Whether the browser decodes."""
    if decoder["kind"] == "dense":
        return "Drag the cross: the decoder itself runs in this page."
    return f"Drag the cross: {why_pictures(subject, decoder)}."


def why_pictures(subject: Subject, decoder: dict[str, Any]) -> str:
    """What is shown in place of the decoder's own answers, and why."""
    grid = decoder["grids"][0]
    size = f"{grid['across']}×{grid['up']}" if grid["up"] > 1 else f"{grid['across']}"
    dense = subject.config.network.dense
    why = "too large for a page" if dense else f"not a dense one (network={subject.config.network.name})"
    where = "mean" if subject.model.prior is None else "median"
    rest = f", every other latent at its {where}" if subject.model.latent > 2 else ""
    return f"the decoder is {why}, so pictures are blended from {size} made beforehand{rest}"
