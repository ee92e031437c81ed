"""What a sweep shows, in sentences that say no more than its figures carry.

Every figure is a mean with its standard deviation over seeds. Two are called different where
`aectl.measuring.comparison.apart` says so, else not to be told apart. A trend is named where
every step has it, else where the extremes are.
"""

from collections.abc import Sequence
from itertools import pairwise

from aectl.measuring.comparison import WEIGHT, Group, apart, label, series, that_learnt, varies
from aectl.measuring.tables import cell

WORDS = {
    "recon": ("the reconstruction term", " nats"), "kl": ("the KL", " nats"), "elbo": ("the ELBO", " nats"),
    "sse": ("the squared error per image", ""), "active_units": ("the number of active units", ""),
    "bpp": ("the rate of the files", " bits per pixel"), "file_psnr": ("the PSNR of the files", " dB"),
}  # fmt: skip


def findings(groups: Sequence[Group]) -> list[str]:
    """A paragraph for each series along a setting, or else on what differs; the last ones are on the spread.

    Where learning rates differ they are on the runs that have learnt: one that exploded has no figures to compare.
    """
    runs = [run for group in groups for run in group.runs]
    if varies(groups, "lr"):
        groups = that_learnt(groups)
    left = sum(len(group.runs) for group in groups)
    whose = [f"All that follows is of the {left} of {len(runs)} runs that have learnt."] if left < len(runs) else []
    said = []
    for axis, about in (("latent", _along_latent), ("kl_weight", _along_weight), (WEIGHT, _of_codec)):
        for name, members in series(groups, axis).items() if varies(groups, axis) else ():
            if len(members) > 1 and (sentences := about(members)):
                said.append(f"**{name}**: {' '.join(sentences)}")
    said = said or (_beside(groups) if len(groups) > 1 else [_alone(group) for group in groups])
    return whose + said + _spread(groups)


def _along_latent(members: Sequence[Group]) -> list[str]:
    said = [_trend(members, "sse", "latent"), *_against_pca(members)]
    if _have(members, "elbo"):
        said.append(_leading(members, "elbo", "latent"))
        said += _unused(members[-1])
    return said


def _unused(group: Group) -> list[str]:
    """How many latents are active, where not all are."""
    latents = group.value("latent")
    if not group.has("active_units") or group.mean("active_units") > latents - 0.5:
        return []
    active = cell(group, "active_units")
    are = {"0": "none is", "1": "1 is"}.get(active, f"{active} are")
    return [f"Of {latents:g} {'latent' if latents == 1 else 'latents'} {are} active."]


def _along_weight(members: Sequence[Group]) -> list[str]:
    if not _have(members, "kl"):
        return []  # the weight does nothing to an AE
    names = [name for name in ("kl", "recon", "active_units") if _have(members, name)]
    return [_trend(members, name, "kl_weight") for name in names]


def _of_codec(members: Sequence[Group]) -> list[str]:
    return [_trend(members, name, WEIGHT) for name in ("bpp", "file_psnr") if _have(members, name)]


def _beside(groups: Sequence[Group]) -> list[str]:
    """Groups that differ in no number of `AXES`: who leads among those whose figures mean the same."""
    said = []
    for name in ("elbo", "sse"):
        alike: dict[tuple[str, ...], list[Group]] = {}
        for group in groups:
            if group.has(name):
                run = group.runs[0]
                alike.setdefault((run.data, run.likelihood) if name == "elbo" else (run.data,), []).append(group)
        for of, members in alike.items():
            if len(members) > 1:
                said.append((f"**{', '.join(of)}**: " if len(alike) > 1 else "") + _leading(members, name, None))
            elif name == "elbo" or not members[0].has("elbo"):
                said.append(_alone(members[0]))
    return said


def _alone(group: Group) -> str:
    """A group that has none to be compared with."""
    name = "elbo" if group.has("elbo") else "sse"
    what, unit = WORDS[name]
    return f"**{label(group)}**: {_capital(what)} is {cell(group, name)}{unit}."


def _spread(groups: Sequence[Group]) -> list[str]:
    """How much seeds matter, and where that is not known."""
    several, one = _by_spread(groups)
    said = []
    for name, whose in (("recon", "the reconstruction term"), ("elbo", "the ELBO")):
        found = [group for group in several if group.has(name)]
        if found:
            widest = max(found, key=lambda group: group.sd(name) or 0.0)
            at_most = "at most " if len(found) > 1 else ""
            said.append(f"Over seeds {whose} has a standard deviation of {at_most}{widest.sd(name):.2f} nats.")
    if len(groups) == 1 and one:
        said.append("There is one seed, and no spread to compare with.")
    elif one and not several:
        said.append("There is one seed of each, and no spread: any difference may be chance.")
    elif one:
        has = "has" if len(one) == 1 else "have"
        said.append(f"{_listed([f'**{label(group)}**' for group in one])} {has} one seed and no spread.")
    return said


# ------------------------------------------------------------------------------------------- one figure


def _trend(members: Sequence[Group], name: str, axis: str) -> str:
    """How a figure goes along `axis`."""
    several, one = _by_spread(members)
    if len(several) < 2:
        return _trend_of(members, name, axis)
    text = _trend_of(several, name, axis)
    if one:
        text = f"Where there are several seeds, {text[0].lower()}{text[1:]}" + _besides(one, name, axis)
    return text


def _trend_of(members: Sequence[Group], name: str, axis: str) -> str:
    what, unit = WORDS[name]
    steps = [_order(a, b, name) for a, b in pairwise(members)]
    if not _differ(members, name):
        return _equal(members, name, axis)
    for goes, sign in (("falls", -1), ("rises", 1)):
        length = next((i for i, step in enumerate(steps) if step != sign), len(steps))
        if not length or _differ(members[length:], name):
            continue
        first, last, rest = members[0], members[length], members[length:]
        every = " at every step," if length > 1 else ""
        text = (
            f"{_capital(what)} {goes}{every} from {cell(first, name)}{unit} {_at([first], axis)} to "
            f"{cell(last, name)}{unit} {_at([last], axis)}"
        )
        if len(rest) > 1:
            text += f"; {_at(rest, axis)} it {_same(rest, name)}"
        return text + "."
    least, most = _ends(members, name)
    between = [group for group in least if group in most]
    low = min(least, key=lambda group: group.mean(name))
    high = max(most, key=lambda group: group.mean(name))
    if low in most:
        cells = _listed([cell(group, name) for group in members])
        return f"{_capital(_at(members, axis))} the extremes of {what} cannot be told apart: {cells}{unit}."
    if between:
        return (
            f"{_capital(what)} is less {_at([low], axis)} ({cell(low, name)}{unit}) than {_at([high], axis)} "
            f"({cell(high, name)}{unit}), and cannot be told from either {_at(between, axis)} "
            f"({_listed([cell(group, name) for group in between])}{unit})."
        )
    return (
        f"{_capital(what)} is least {_at(least, axis)} ({_alike(least, name, 'least')}) and greatest "
        f"{_at(most, axis)} ({_alike(most, name, 'greatest')})."
    )


def _leading(members: Sequence[Group], name: str, axis: str | None) -> str:
    """Which group has the highest ELBO, or the least squared error, as far as the spread lets that be said."""
    several, one = _by_spread(members)
    if len(several) < 2:
        return _leading_of(members, name, axis)
    return _leading_of(several, name, axis) + _besides(one, name, axis)


def _leading_of(members: Sequence[Group], name: str, axis: str | None) -> str:
    what, unit = WORDS[name]
    if not _differ(members, name):
        return _equal(members, name, axis)
    least, most = _ends(members, name)
    leading, which = (most, "highest") if name == "elbo" else (least, "least")
    text = f"{_capital(what)} is {which} {_at(leading, axis)} ({_alike(leading, name, which)})"
    if len(members) == 2:
        other = next(group for group in members if group not in leading)
        text += f", against {cell(other, name)}{unit} {_at([other], axis)}"
    _, one = _by_spread(members)
    if len(one) == len(members):
        text += "; there is one seed of each, and no spread to compare with"
    elif one:
        text += f"; {_at(one, axis)} there is one seed and no spread"
    return text + "."


def _equal(members: Sequence[Group], name: str, axis: str | None) -> str:
    """The sentence on groups of which none can be told from another."""
    what, _ = WORDS[name]
    return f"{_capital(_at(members, axis))} {what} {_same(members, name)}."


def _same(members: Sequence[Group], name: str) -> str:
    unit = WORDS[name][1]
    cells = [cell(group, name) for group in members]
    if len(set(cells)) == 1:
        return f"is the same, {cells[0]}{unit}"
    return f"cannot be told apart: {_listed(cells)}{unit}"


def _alike(members: Sequence[Group], name: str, which: str) -> str:
    """The figures of groups that share a place, which is the `least` or another."""
    cells, unit = [cell(group, name) for group in members], WORDS[name][1]
    if len(set(cells)) == 1:
        return f"{cells[0]}{unit}"
    told = f"none of which can be told from the {which}" if _differ(members, name) else "which cannot be told apart"
    return f"{_listed(cells)}{unit}, {told}"


def _besides(groups: Sequence[Group], name: str, axis: str | None) -> str:
    """What is left out of a comparison, since it has one seed."""
    if not groups:
        return ""
    cells = _listed([cell(group, name) for group in groups])
    return f" {_capital(_at(groups, axis))} there is one seed and no spread: {cells}{WORDS[name][1]}."


def _against_pca(members: Sequence[Group]) -> list[str]:
    """Where the error is below that of PCA with as many components."""
    if not _have(members, "pca_sse"):
        return []
    found: dict[str, list[Group]] = {"below": [], "above": [], "not to be told from": []}
    for group in members:
        difference = group.mean("sse") - group.mean("pca_sse")
        near = _figure(group, "sse") == _figure(group, "pca_sse") or abs(difference) <= (group.sd("sse") or 0.0)
        found["not to be told from" if near else "below" if difference < 0 else "above"].append(group)
    parts = [f"{how} PCA's {_at(of, 'latent')}" for how, of in found.items() if of]
    if len(parts) == 1:
        how = parts[0].partition(" PCA's")[0]
        every, both = ("any size", "either size") if how.startswith("not") else ("every size", "both sizes")
        parts = [f"{how} PCA's at {both if len(members) == 2 else every}"]
    return [f"The error is {_listed(parts)}."]


# ------------------------------------------------------------------------------------------------ order


def _order(a: Group, b: Group, name: str) -> int:
    """−1 where the figure falls from `a` to `b`, 1 where it rises, 0 where the two cannot be told apart.

    With one seed there is nothing but the figures themselves, as they are shown.
    """
    if _figure(a, name) == _figure(b, name):
        return 0
    if None not in (a.sd(name), b.sd(name)) and not apart(a, b, name):
        return 0
    return 1 if b.mean(name) > a.mean(name) else -1


def _figure(group: Group, name: str) -> float:
    """A mean as it is shown."""
    return float(cell(group, name).partition(" ")[0])


def _differ(members: Sequence[Group], name: str) -> bool:
    """Whether any two can be told apart."""
    return any(_order(a, b, name) for i, a in enumerate(members) for b in members[i + 1 :])


def _ends(members: Sequence[Group], name: str) -> tuple[list[Group], list[Group]]:
    """Those that have the least of a figure, as far as can be told, and those that have the most."""
    low = min(members, key=lambda group: group.mean(name))
    high = max(members, key=lambda group: group.mean(name))
    return (
        [group for group in members if group is low or not _order(low, group, name)],
        [group for group in members if group is high or not _order(high, group, name)],
    )


def _by_spread(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """Those with several seeds, and those with one."""
    return [group for group in groups if group.seeds > 1], [group for group in groups if group.seeds == 1]


def _have(members: Sequence[Group], name: str) -> bool:
    return all(group.has(name) for group in members)


# ------------------------------------------------------------------------------------------------ words


def _at(groups: Sequence[Group], axis: str | None) -> str:
    """Where they are: `with 2 and 8 latents`, `at kl_weight 4`, `with model.posterior=std`."""
    if axis is None:
        return f"with {_listed([label(group) for group in groups])}"
    values = [f"{group.value(axis):g}" for group in groups]
    if axis == "latent":
        return f"with {_listed(values)} {'latent' if values == ['1'] else 'latents'}"
    return f"at {'λ' if axis == WEIGHT else axis} {_listed(values)}"


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
