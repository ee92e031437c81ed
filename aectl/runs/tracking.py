"""What a command leaves to look at: TensorBoard events, metrics.jsonl, PNG files. The only user of TensorBoard."""

import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from aectl import storage
from aectl.errors import ConfigError, spelled_out
from aectl.files.pictures import png
from aectl.runs.layout import METRICS, VALIDATION
from aectl.runs.papers import read_metrics, without_nan

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MAX_LATENT_CURVES = 64  # beyond it, per-latent KL goes into the histogram alone

# Groups of TensorBoard in the order of their names: curves come first, how training went on comes last. The columns
# of its table of runs are sorted by code points, in which a space comes before a slash: what the best epoch reached
# comes before the curves there, and after them in the charts, where a name comes before one that is longer.
CURVES, BEST = "epoch", "epoch (best)"
_GROUPS = {
    "elbo": "measures", "active_units": "measures", "lr": "training", "kl_weight": "training",
    "images_per_s": "training",
}  # fmt: skip


def _refuse_unnamed(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        reason = "is no UTF-8, which TensorBoard's files need; give the folder another name"
        raise ConfigError(f"{folder}: {reason}") from None


def tag_of(name: str) -> str:
    """How a figure of an epoch is called, such as `epoch/loss`: of training and of validation the same."""
    return f"{_GROUPS.get(name, CURVES)}/{name}"


class Tracker:
    """Writes into one folder; `close` flushes.

    TensorBoard goes by names: it sorts groups by what stands before the slash, and draws in one chart what has one
    name in several folders. So validation has a folder of its own within the run's, and curves come first.

    Args:
        folder: the run's folder.
        step: where a run starts or goes on; records and events behind it are dropped, since they will come again.
            None for what is no run.

    Raises:
        ConfigError: the folder's name is no text, which TensorBoard needs.
    """

    def __init__(self, folder: Path, step: int | None = None):
        _refuse_unnamed(folder)
        self.folder = folder
        self.figures = folder / "figures"
        self.figures.mkdir(parents=True, exist_ok=True)
        self._step = step
        if step is not None:
            kept = [record for record in read_metrics(folder) if record["step"] <= step]
            lines = "".join(json.dumps(record, allow_nan=False) + "\n" for record in kept)
            storage.replace(folder / METRICS, lines.encode())
        self._writer = self._writes(folder)

    def _writes(self, folder: Path) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=None if self._step is None else self._step + 1, flush_secs=10)

    @cached_property
    def _validation(self) -> "SummaryWriter":
        return self._writes(self.folder / VALIDATION)

    def epoch(self, record: dict[str, Any]) -> None:
        """One epoch's figures: a line of metrics.jsonl, and a curve each."""
        storage.append(self.folder / METRICS, json.dumps(without_nan(record), allow_nan=False))
        step = record["step"]
        for key, value in record.items():
            if value is None or key in ("epoch", "step"):
                continue
            part, _, name = key.rpartition("/")
            writer = self._validation if part == "val" else self._writer
            writer.add_scalar(tag_of(name), value, step)
        for writer in self._writers():
            writer.flush()

    def _writers(self) -> list["SummaryWriter"]:
        """Those that have been needed."""
        return [self._writer, *([self._validation] if "_validation" in self.__dict__ else [])]

    def scalars(self, group: str, values: dict[str, float]) -> None:
        """A dot for each of `values`: what was found once."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, 0)

    def latent_kl(self, kl: Tensor, step: int) -> None:
        """KL of each latent, (K,), in nats: a curve each and a histogram."""
        for index, value in enumerate(kl[:MAX_LATENT_CURVES].tolist()):
            self._writer.add_scalar(f"latent_kl/{index:02d}", value, step)
        self._writer.add_histogram("latent_kl/all", kl, step)

    def picture(self, name: str, pixels: np.ndarray, step: int) -> None:
        """An RGB picture, (H, W, 3) uint8: TensorBoard, and `figures/<name>.png`."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        file = png.of_plot(pixels)
        storage.replace(self.figures / f"{name}.png", file)
        # The same bytes: `add_image` would compress them again, which takes as long as some hundred steps.
        height, width, _ = pixels.shape
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file)
        value = Summary.Value(tag=f"pictures/{name}", image=image)
        self._writer.file_writer.add_summary(Summary(value=[value]), step)

    def text(self, name: str, text: str) -> None:
        """A page of preformatted text."""
        self._writer.add_text(name, f"```\n{spelled_out(text)}\n```")

    def embedding(self, codes: Tensor, labels: Tensor | None, images: Tensor, step: int) -> None:
        """The projector: codes (N, K), labels (N,), -1 for none, and thumbnails (N, C, H, W) in [0, 1]."""
        codes = F.pad(codes, (0, max(0, 3 - codes.shape[1])))  # the projector's PCA needs three columns
        # A resumed run says it again: SummaryWriter would warn of its folder, and list the same embedding twice.
        for earlier in self.folder.glob("[0-9]*/codes"):
            shutil.rmtree(earlier.parent)
        (self.folder / "projector_config.pbtxt").unlink(missing_ok=True)
        names = None if labels is None else ["none" if label < 0 else str(label) for label in labels.tolist()]
        # TensorBoard's sprite of thumbnails wants squares.
        height, width = images.shape[2:]
        images = F.pad(images, (0, max(0, height - width), 0, max(0, width - height)))
        self._writer.add_embedding(codes, names, images, step, tag="codes")

    def hparams(self, parameters: dict[str, bool | int | float | str], metrics: dict[str, float]) -> None:
        """The hparams tab's row: what defines the run, and what its best epoch reached.

        It stands in this run itself; `SummaryWriter.add_hparams` would make a run of its own.
        TensorBoard shows five columns of each kind unasked. Where no run describes the whole experiment, it takes all
        runs together and puts first the parameters that differ between them, then goes by name. With a description,
        torch's third summary, it would take that of any one run for all, in the order of the names.
        """
        from torch.utils.tensorboard.summary import hparams

        simple = {
            key: str(value).lower()
            if isinstance(value, bool)  # torch makes numbers of them
            else spelled_out(value)
            if isinstance(value, str)
            else value
            for key, value in parameters.items()
        }
        _, start, end = hparams(simple, metrics)
        for summary in (start, end):
            self._writer.file_writer.add_summary(summary)
        self.scalars(BEST, metrics)

    def close(self) -> None:
        """Write out what is pending."""
        for writer in self._writers():
            writer.close()
