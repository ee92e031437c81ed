"""Every public name of Python has a docstring and stands on a page; else the build warns, and so fails."""

import inspect
import logging
import re
from collections.abc import Iterator
from typing import Any

import aectl
import aectl.sklearn

log = logging.getLogger("mkdocs.hooks.public")
shown: set[str] = set()  # anchors of the pages of this build


def public() -> Iterator[tuple[str, Any]]:
    """Path and object of every public name: the functions, the classes, and what the classes have of aectl."""
    tops = {f"aectl.{name}": getattr(aectl, name) for name in aectl.__all__ if not name.startswith("_")}
    for path, top in {**tops, "aectl.sklearn.Autoencoder": aectl.sklearn.Autoencoder}.items():
        yield path, top
        if inspect.isclass(top):
            yield from ((f"{path}.{name}", member) for name, member in members(top).items())


def members(cls: type) -> dict[str, Any]:
    """Public methods and properties of a class, and those that it inherits from classes of aectl."""
    ours = [base for base in reversed(cls.__mro__) if base.__module__.split(".")[0] == "aectl"]
    every = {name: member for base in ours for name, member in vars(base).items()}
    return {name: member for name, member in every.items() if not name.startswith("_")}


def faults(anchors: set[str]) -> list[str]:
    """What is missing, where a site has these anchors."""
    undescribed = [f"{path} has no docstring" for path, member in public() if not member.__doc__]
    return undescribed + [f"{path} stands on no page" for path, _ in public() if path not in anchors]


def on_pre_build(**_: Any) -> None:
    """A build begins."""
    shown.clear()


def on_page_content(content: str, **_: Any) -> None:
    """Remember a page's anchors."""
    shown.update(re.findall(r'id="([\w.]+)"', content))


def on_post_build(**_: Any) -> None:
    """Warn of what is missing."""
    for fault in faults(shown):
        log.warning(fault)
