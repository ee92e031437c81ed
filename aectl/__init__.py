"""aectl: the autoencoder workbench. `load` opens a trained run, `train` makes one; both import torch when used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aectl.api import TrainedRun, load, train

__version__ = "0.1.0"
__all__ = ["TrainedRun", "__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    """`aectl.load` and the others, imported when they are asked for."""
    if name in __all__:
        from aectl import api

        return getattr(api, name)
    raise AttributeError(f"module aectl has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
