"""Settings of runs of 0.1.0, in the places that they have today."""

from collections.abc import Mapping
from typing import Any


def updated(settings: Any) -> Any:
    """A saved configuration, plain data, with every choice of today; one that has them stays as it is.

    In 0.1.0 IWAE was a model, free bits stood at the root, as did a schedule's name and settings, every prior was
    N(0, I), and no run left a page. What is of no such form is left to the checks.
    """
    if not isinstance(settings, Mapping):
        return settings
    found = {"prior": {"name": "normal"}, "name": None, "explore": True, **settings}
    if "objective" not in found and isinstance(found.get("model"), Mapping):
        found |= _objective(found["model"], found.pop("free_bits", 0.0))
    if isinstance(found.get("schedule"), str):
        steps = {"after": found.pop("lr_steps", None), "factor": found.pop("lr_factor", None)}
        found["schedule"] = {"name": found["schedule"], **(steps if found["schedule"] == "steps" else {})}
    return found


def _objective(model: Mapping[str, Any], free_bits: Any) -> dict[str, Any]:
    if model.get("name") != "iwae":
        return {"objective": {"name": "elbo", "free_bits": free_bits}}
    others = {key: value for key, value in model.items() if key != "samples"}
    return {"objective": {"name": "iwae", "samples": model.get("samples")}, "model": {**others, "name": "vae"}}
