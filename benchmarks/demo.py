"""One page about the newest VAE and DAE below outputs/ and what was made of them: the end of `make demo`.

    python benchmarks/demo.py [outputs]

Writes <outputs>/demo.html: pictures are inside it, and links to the explorers go by the runs' folders.
"""

import base64
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aectl import storage
from aectl.drawing.pages.filling import filled
from aectl.runs import schema
from aectl.runs.config import TrainConfig
from aectl.runs.layout import CONFIG, EXPLORER, RESULT
from aectl.runs.opening import newest, read_config
from aectl.runs.papers import read_result

HERE = Path(__file__).resolve().parent
TEMPLATE = "demo.html"


WIDE = 1.5  # width over height from which a picture has a row for itself


@dataclass(frozen=True)
class Picture:
    """A PNG, in the page, with what it shows."""

    title: str
    words: str
    source: str
    wide: bool


@dataclass(frozen=True)
class Run:
    """A finished run below `outputs`."""

    outputs: Path
    folder: Path

    @cached_property
    def config(self) -> TrainConfig:
        """What its newest checkpoint says."""
        return read_config(newest(self.folder)[0])[0]

    @property
    def title(self) -> tuple[str, str]:
        """Kind, and what more there is to say."""
        return schema.title_of(self.config)

    @property
    def heading(self) -> str:
        """`VAE, latent 2, on mnist5k`."""
        return f"{self.title[0].upper()}, {self.title[1]}, on {self.config.dataset.name}"

    @property
    def command(self) -> str:
        """That trained it."""
        return (self.folder / CONFIG).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")

    @property
    def result(self) -> str:
        """The line on its best epoch, as training said it."""
        lines = (self.folder / "train.log").read_text(encoding="utf-8").splitlines()
        return next((line.partition("INFO ")[2] for line in reversed(lines) if "INFO best epoch" in line), "")

    @property
    def explorer(self) -> str | None:
        """Where the page to play with lies, from `outputs` on; None where there is none."""
        page = self.folder / EXPLORER
        return page.relative_to(self.outputs).as_posix() if page.is_file() else None

    def own(self, name: str) -> Path:
        """A picture that training drew."""
        return self.folder / "figures" / name

    def made(self, name: str) -> Path:
        """The newest picture of that name that another command has made of this run, such as eval's."""
        found = [path for path in self.outputs.glob(f"*/*/figures/{name}") if self._is_of(path.parent.parent)]
        return max(found, key=lambda path: path.stat().st_mtime, default=self.outputs / "none")

    def _is_of(self, folder: Path) -> bool:
        return any(self.folder.name in log.read_text(encoding="utf-8") for log in folder.glob("*.log"))


def page(outputs: Path) -> str:
    """The page about what lies below `outputs`."""
    vae, dae = _newest_run(outputs, ("vae", "latent 2")), _newest_run(outputs, ("dae",))
    parts = [(vae, list(_of_vae(vae))), (dae, list(_of_dae(dae)))]
    return filled(TEMPLATE, ("theme.css",), folder=HERE, parts=parts)


def _newest_run(outputs: Path, title: tuple[str, ...]) -> Run:
    finished = sorted(outputs.glob(f"train/*/{RESULT}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for run in (Run(outputs, path.parent) for path in finished if read_result(path.parent)["status"] == "completed"):
        if run.title[: len(title)] == title:
            return run
    sys.exit(
        f"{outputs}/train: has no finished {' of '.join((title[0].upper(), *title[1:]))}; `make demo` trains one"
    )


def _of_vae(run: Run) -> Iterator[Picture]:
    words = "Validation follows training as long as what is learnt holds for images that were not seen."
    yield from _shown("Curves", words, run.own("curves.png"))
    words = "Each dot is a validation image at its code of two numbers; colours are labels, unseen in training."
    words += " Beside it the same plane, asked the other way: what each place decodes to. Neighbours look alike."
    yield from _shown("The plane", words, run.own("latent_plane.png"))
    words = "The plane once more, each image standing for an equal share of the prior."
    yield from _shown("The plane, by the prior", words, run.made("sample_grid.png"))
    words = "Codes drawn from the prior N(0, I), decoded: images that nobody made."
    yield from _shown("Samples", words, run.made("sample_prior.png"), run.own("prior_samples.png"))
    words = "Test images, what two numbers keep of them, and what draws of z add."
    yield from _shown("Reconstructions", words, run.made("reconstructions.png"), run.own("reconstructions.png"))


def _of_dae(run: Run) -> Iterator[Picture]:
    words = "A DAE sees noisy images and is compared with the clean ones."
    yield from _shown("Curves", words, run.own("curves.png"))
    words = "Test images, the same with noise, and what the DAE makes of them."
    yield from _shown("Denoised", words, run.made("denoised.png"), run.own("reconstructions.png"))


def _shown(title: str, words: str, *places: Path) -> Iterator[Picture]:
    """The first of `places` that is there."""
    for path in places:
        if path.is_file():
            data = path.read_bytes()
            width, height = struct.unpack(">II", data[16:24])  # as every PNG begins
            source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            yield Picture(title, words, source, width > WIDE * height)
            return


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "outputs")
    target = folder / "demo.html"
    storage.replace(target, page(folder).encode())
    print(f"Open in a browser:  {target.resolve()}")
