"""Parts of a trained model as files for other programs, and such files read again.

`onnx`: for ONNX Runtime and others; `pt2`: PyTorch's own, of torch.export; `safetensors`: weights alone, which
`rebuilt` makes a place for. In the first two N is free, and so are height and width where a part says so.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from aectl import __version__
from aectl.errors import ConfigError, brief
from aectl.models.base import Model, ModelChoice
from aectl.models.likelihoods.base import LikelihoodChoice
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.base import Network
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import OBJECTIVES, Objective
from aectl.models.parts import Part, tensors
from aectl.models.priors import PRIORS, PriorChoice
from aectl.models.table import MODELS, build_model
from aectl.runs import checkpoint
from aectl.runs.opening import Run
from aectl.settings import typed

MAX_ONNX = 2**31  # bytes, as its format counts them

Function = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        write: the bytes of a part, which is traced with an example of what it takes, (2, ...).
        read: from such bytes, and a part of `rebuilt` for those that are weights alone, to the function.
    """

    write: Callable[[Part, Tensor], bytes]
    read: Callable[[bytes, Part], Function]


def prepare(kind: str) -> None:
    """Raise ConfigError where such files cannot be made: ONNX needs packages."""
    if kind == "onnx":
        try:
            with _quietly():
                import onnx  # noqa: F401
                import onnxruntime  # noqa: F401
                import onnxscript  # noqa: F401
        except ImportError as error:
            raise ConfigError(
                f"format=onnx: needs {error.name}: pip install 'aectl[export]'; or use format=pt2 or safetensors"
            ) from None


def versions(kind: str) -> dict[str, str]:
    """Of what makes such a file, and reads it for the check."""
    found = {"aectl": __version__, "torch": str(torch.__version__)}
    if kind == "onnx":
        import onnxruntime

        found["onnxruntime"] = onnxruntime.__version__
    return found


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Neither log lines nor warnings: what the exporter says of its own passes is for those who develop it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _tracing(kind: str) -> Iterator[None]:
    """Quietly; what an installed package's network does may be no graph, or one that the format has no words for."""
    try:
        with _quietly():
            yield
    except Exception as error:  # whatever somebody else's module does
        raise ConfigError(
            f"format={kind}: the network cannot be written as a graph ({type(error).__name__}: {brief(error)}); "
            "use format=safetensors"
        ) from error


# ---------------------------------------------------------------------------------------- torch.export


def _free(part: Part) -> tuple[dict[int, Any]]:
    """Which dimensions of what it takes are free."""
    free: dict[int, Any] = {0: Dim("N")}
    if part.multiple is not None:
        sides = {2: Dim("H", min=2), 3: Dim("W", min=2)}  # with one, a picture's code would have a single row
        free |= {axis: side if part.multiple == 1 else part.multiple * side for axis, side in sides.items()}
    return (free,)


def _traced(part: Part, example: Tensor) -> ExportedProgram:
    """The part as a graph, which says nothing of the files of this machine."""
    program = torch.export.export(part.eval(), (example,), dynamic_shapes=_free(part), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _to_pt2(part: Part, example: Tensor) -> bytes:
    buffer = io.BytesIO()
    with _tracing("pt2"):
        torch.export.save(_traced(part, example), buffer)
    return buffer.getvalue()


def _from_pt2(data: bytes, fresh: Part) -> Function:
    with _quietly():
        module = torch.export.load(io.BytesIO(data)).module()
    return lambda x: tensors(module(x))


# ------------------------------------------------------------------------------------------------ ONNX


def _to_onnx(part: Part, example: Tensor) -> bytes:
    if sum(weight.nbytes for weight in part.parameters()) >= MAX_ONNX:
        raise ConfigError("format=onnx: a file holds at most 2 GiB, and the network has more; use format=pt2")
    buffer = io.BytesIO()
    names = {"input_names": [part.takes], "output_names": part.gives}
    with _tracing("onnx"):
        traced = _traced(part, example)
        program = torch.onnx.export(traced, dynamo=True, verbose=False, dynamic_shapes=_free(part), **names)
        program.save(buffer)
    return buffer.getvalue()


def _from_onnx(data: bytes, fresh: Part) -> Function:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda x: tuple(torch.from_numpy(found) for found in session.run(None, {fresh.takes: x.numpy()}))


# ----------------------------------------------------------------------------------------- safetensors


def _to_safetensors(part: Part, example: Tensor) -> bytes:
    return checkpoint.to_bytes(part.state_dict())


def _from_safetensors(data: bytes, fresh: Part) -> Function:
    fresh.load_state_dict(checkpoint.from_bytes(data))
    return lambda x: tensors(fresh(x))


@dataclass
class Plan:
    """What a model is made of, `aectl.models.base.Choices`, and its pictures' (C, H, W)."""

    shape: list[int]
    model: Annotated[ModelChoice, MODELS]
    network: Annotated[Network, NETWORKS]
    likelihood: Annotated[LikelihoodChoice, LIKELIHOODS]
    prior: Annotated[PriorChoice, PRIORS]
    objective: Annotated[Objective, OBJECTIVES]
    latent: int


def plan(run: Run) -> dict[str, Any]:
    """What `rebuilt` makes the run's model of, as plain data; nothing of data, training or places is in it."""
    choices = {one.name: getattr(run.config, one.name) for one in fields(Plan) if one.name != "shape"}
    return typed.to_dict(Plan(shape=list(run.shape), **choices))


def rebuilt(config: Mapping[str, Any]) -> Model:
    """The model that a `config.json` of an export describes, with initial weights.

    `rebuilt(config).parts()["encoder"].load_state_dict(...)` takes those of `encoder.safetensors`.

    Raises:
        ValueError: it describes none.
    """
    found = typed.from_dict(Plan, config, "")
    return build_model(found, tuple(found.shape)).requires_grad_(False).eval()


FORMATS = {
    "onnx": Format(_to_onnx, _from_onnx),
    "pt2": Format(_to_pt2, _from_pt2),
    "safetensors": Format(_to_safetensors, _from_safetensors),
}
