"""Choices that installed packages offer, under the entry-point group `aectl.choices`: `noise.fog = "aectl_fog:Fog"`.

Who installs a package has chosen its code; no name and no path in a configuration or a checkpoint leads to any. What
is offered, and where its YAML file is, comes from the metadata: a package is imported when its choice is read.
"""

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # 30 ms, which only those pay who look
    from importlib.metadata import EntryPoint

GROUP = "aectl.choices"


def names(group: str) -> list[str]:
    """What packages offer as choices of `group`, in the order of their names."""
    return sorted(name for of, name in _all() if of == group)


def offers(group: str, name: str) -> list["Offer"]:
    """Who offers `group=name`: nobody, a package, or several."""
    return _all().get((group, name), [])


def folders() -> dict[Path, str]:
    """The folders of the packages' YAML files, and each one's package."""
    found = [(offer.folder, offer.package) for several in _all().values() for offer in several]
    return {folder: package for folder, package in found if folder is not None}


def listed() -> list[str]:
    """Every choice that is offered, and by which package: `noise=fog (aectl-fog 1.0)`."""
    return [f"{group}={name} ({offer.package})" for (group, name), several in _all().items() for offer in several]


@functools.cache
def _all() -> dict[tuple[str, str], list["Offer"]]:
    """Every offer by its group and name."""
    from importlib import metadata

    found: dict[tuple[str, str], list[Offer]] = {}
    for entry in metadata.entry_points(group=GROUP):
        group, _, name = entry.name.partition(".")
        found.setdefault((group, name), []).append(Offer(entry))
    return found


@dataclass(frozen=True)
class Offer:
    """One line of a package's metadata: a class of its own as a choice."""

    entry: "EntryPoint"

    @property
    def package(self) -> str:
        """The package as `pip` calls it, and its version."""
        return f"{self.entry.dist.name} {self.entry.dist.version}"

    @property
    def module(self) -> str:
        """The module that has the class."""
        return self.entry.value.partition(":")[0].strip()

    @property
    def folder(self) -> Path | None:
        """`configs` beside the module, which is not imported for it; None where there is none.

        A module that is no part of a package has none: the folder would be everybody's.
        """
        first, *others = self.module.split(".")
        try:
            spec = importlib.util.find_spec(first)
        except (ImportError, ValueError):
            return None
        for location in (spec and spec.submodule_search_locations) or ():
            place = Path(location, *others)
            folder = (place if place.is_dir() else place.parent) / "configs"
            if folder.is_dir():
                return folder
        return None

    def load(self) -> Any:
        """Import what is offered; whatever the package raises, this does."""
        return self.entry.load()
