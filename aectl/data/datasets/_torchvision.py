"""Import torchvision safely beside any build of torch; everything else imports it from here.

torchvision's wheel on PyPI is built for CUDA. Beside a CPU-only torch its compiled operators cannot
load, and `import torchvision` dies because it registers fake kernels for two of them. aectl needs only
the datasets, which are plain Python; so where the extension cannot load, and only there, the schemas
of those two operators are declared. With a proper pair of builds this module does nothing.
"""

import importlib.util
from pathlib import Path

import torch


def _extension_loads() -> bool:
    """Whether torchvision's compiled operators can be loaded beside the installed torch."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # nothing to mend: let the import itself say what is wrong
    library = next(Path(spec.origin).parent.glob("_C*.so"), None)
    if library is None:
        return False
    try:
        torch.ops.load_library(str(library))
    except OSError:
        return False
    return True


EXTENSION_LOADS = _extension_loads()

if not EXTENSION_LOADS:
    _library = torch.library.Library("torchvision", "FRAGMENT")
    _boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for _name in ("nms", "qnms"):
        _library.define(_name + _boxes)

from torchvision import datasets  # noqa: E402  (after the schemas, on purpose)

__all__ = ["EXTENSION_LOADS", "datasets"]
