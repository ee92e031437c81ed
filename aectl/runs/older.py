"""Settings of runs of 0.1.0, in the places that they have today."""

from collections.abc import Mapping
from typing import Any


def updated(settings: Any) -> Any:
    """A saved configuration, plain data, with an objective of its own; one that has it stays as it is.

    In 0.1.0 IWAE was a model, and free bits stood at the root. What is of no such form is left to the checks.
    """
    if not isinstance(settings, Mapping) or "objective" in settings or not isinstance(settings.get("model"), Mapping):
        return settings
    model = settings["model"]
    found = {key: value for key, value in settings.items() if key != "free_bits"}
    if model.get("name") == "iwae":
        found["objective"] = {"name": "iwae", "samples": model.get("samples")}
        found["model"] = {**{key: value for key, value in model.items() if key != "samples"}, "name": "vae"}
    else:
        found["objective"] = {"name": "elbo", "free_bits": settings.get("free_bits", 0.0)}
    return found
