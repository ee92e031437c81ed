"""The README of an export: what its files take and give, and lines of Python that use them as they stand."""

from collections.abc import Iterator, Mapping

from aectl import __version__
from aectl.files.tables import in_markdown
from aectl.models.parts import Part
from aectl.runs import schema
from aectl.runs.opening import Run

Parts = Mapping[str, Part]

NEEDS = {"onnx": "onnxruntime numpy pillow", "pt2": "torch numpy pillow", "safetensors": "aectl"}
IMPORTS = {
    "onnx": ["import numpy as np", "import onnxruntime"],
    "pt2": ["import numpy as np", "import torch"],
    "safetensors": [
        "import json", "from pathlib import Path", "", "import numpy as np", "import torch",
        "from aectl.runs.exporting import rebuilt", "from safetensors.torch import load_file",
    ],
}  # fmt: skip
LANCZOS = "Image.Resampling.LANCZOS"


def text(run: Run, parts: Parts, kind: str, difference: float) -> str:
    """Markdown for the folder with the files of `parts`; `kind` is their format, `difference` theirs from torch."""
    (what, more), name = schema.title_of(run.config), in_markdown(run.path.name)
    lines = [
        f"# {what}, {more}, trained on {in_markdown(run.config.dataset.words)}",
        "",
        f"By aectl {__version__}, from epoch {run.progress.epoch} of {name}. All numbers are float32.",
        "",
        "| file | takes | gives |",
        "|---|---|---|",
        *(_row(run, name, part, kind) for name, part in parts.items()),
        "",
        *_remarks(run, parts),
        f"The largest difference from torch is {difference:.2g} (`parity.json`).",
        "",
        f"With an 8-bit picture of yours beside them, `picture.png` (`pip install {NEEDS[kind]}`):",
        "",
        "```python",
        *_program(run, parts, kind),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _row(run: Run, name: str, part: Part, kind: str) -> str:
    takes, *gives = (f"`{one}` {_shape(run, one, part)}" for one in (part.takes, *part.gives))
    return f"| `{name}.{kind}` | {takes} | {', '.join(gives)} |"


def _shape(run: Run, name: str, part: Part) -> str:
    channels, *sides = run.shape
    if not name.startswith("x"):
        return f"(N, {run.model.latent})"
    height, width = sides if part.multiple is None else "HW"
    return f"(N, {channels}, {height}, {width})"


def _remarks(run: Run, parts: Parts) -> Iterator[str]:
    """What the table does not say."""
    yield "N is any number of pictures, whose values are 0 (black) to 1 (white)."
    for part in parts.values():
        if part.multiple is not None:
            yield f"H and W are any multiples of {part.multiple}, from {2 * part.multiple}."
    if run.config.likelihood.output_is_mean:
        yield "`x_hat` may go a little beyond 0 and 1, hence the `clip`."
    if any("logvar" in part.gives for part in parts.values()):
        yield "A draw of z is `mu + np.exp(logvar / 2) * noise`, its noise from N(0, 1)."


# ---------------------------------------------------------------------------------------- the program


def _program(run: Run, parts: Parts, kind: str) -> Iterator[str]:
    """With a code: from a picture to its code and back; and, where there is one, through the denoiser."""
    has_code = "encoder" in parts
    fitted = has_code and run.config.dataset.own_fit[0] in ("crop", "pad")
    yield from [*IMPORTS[kind], f"from PIL import Image{', ImageOps' if fitted else ''}", ""]
    yield from _opened(parts, kind)
    yield ""
    yield f'picture = Image.open("picture.png").convert("{"L" if run.shape[0] == 1 else "RGB"}")'
    if has_code:
        yield f"picture = {_fitted(run)}  # width, height"
    yield from _values(run)
    if not has_code:
        yield from _padded(parts["denoiser"])
    if kind != "onnx":
        yield "x = torch.from_numpy(x)"
    if has_code:
        yield _call(parts["encoder"], "encoder", "x", kind)
        yield _call(parts["decoder"], "decoder", parts["encoder"].gives[0], kind)
        yield from _saved(run, "x_hat[0]", "picture_again.png", kind)
    if "denoiser" in parts:
        yield _call(parts["denoiser"], "denoiser", "x", kind)
        yield from _saved(run, f"x_hat[0{'' if has_code else ', :, :height, :width'}]", "picture_denoised.png", kind)


def _opened(parts: Parts, kind: str) -> Iterator[str]:
    if kind == "safetensors":
        yield 'parts = rebuilt(json.loads(Path("config.json").read_text())).parts()'
    for name in parts:
        if kind == "onnx":
            yield f'{name} = onnxruntime.InferenceSession("{name}.onnx")'
        elif kind == "pt2":
            yield f'{name} = torch.export.load("{name}.pt2").module()'
        else:
            yield f'{name} = parts["{name}"]'
            yield f'{name}.load_state_dict(load_file("{name}.safetensors"))'


def _fitted(run: Run) -> str:
    """To the size of the run's pictures as its own data set does it."""
    channels, height, width = run.shape
    fit, background = run.config.dataset.own_fit
    if fit == "crop":
        return f"ImageOps.fit(picture, ({width}, {height}), {LANCZOS})"
    if fit == "pad":
        colour = background if channels == 1 else (background,) * channels
        return f"ImageOps.pad(picture, ({width}, {height}), {LANCZOS}, {colour})"
    return f"picture.resize(({width}, {height}), {LANCZOS})"


def _values(run: Run) -> Iterator[str]:
    """From the picture to x, black and white alone where the run has seen no other."""
    channels, binarize = run.shape[0], run.config.dataset.binarize
    axes = "[None, None]" if channels == 1 else ".transpose(2, 0, 1)[None]"
    yield f"pixels = np.asarray(picture){axes}  # (1, {channels}, height, width), 0 to 255"
    if binarize == "threshold":
        yield "x = (pixels > 127).astype(np.float32)  # black or white, as in training"
        return
    yield "x = pixels.astype(np.float32) / 255"
    if binarize == "dynamic":
        draw = "np.random.default_rng(0).random(x.shape) < x"
        yield f"x = ({draw}).astype(np.float32)  # drawn black or white, as in training"


def _padded(part: Part) -> Iterator[str]:
    """For a network that takes sides without a rest: the picture goes on with its edge, which is cut off again."""
    yield "height, width = x.shape[2:]"
    rests = ", ".join(f"(0, -{side} % {part.multiple})" for side in ("height", "width"))
    yield f'x = np.pad(x, ((0, 0), (0, 0), {rests}), mode="edge")'


def _call(part: Part, name: str, given: str, kind: str) -> str:
    got = ", ".join(part.gives)
    if kind == "onnx":
        return f'{got if len(part.gives) > 1 else f"({got},)"} = {name}.run(None, {{"{part.takes}": {given}}})'
    return f"{got} = {name}({given})"


def _saved(run: Run, image: str, file: str, kind: str) -> Iterator[str]:
    array = image if kind == "onnx" else f"{image}.numpy()"
    yield f"pixels = ({array}.clip(0, 1) * 255).round().astype(np.uint8)"
    yield f'Image.fromarray({"pixels[0]" if run.shape[0] == 1 else "pixels.transpose(1, 2, 0)"}).save("{file}")'
