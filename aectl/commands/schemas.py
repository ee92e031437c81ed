"""What each command takes: types, paths and ranges, as Hydra knows them. No torch; values stand in YAML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aectl.settings.common import ON_BAD, PATH, DataConfig, check_machine
from aectl.settings.ranges import choice, fail, number, scale

CODES = (".npz", ".csv", ".parquet")  # files of codes
BITS = ".aec"  # of pictures as bits
SPLITS = ("train", "val", "test")
# What the tables of the commands have, for a command line that shall not wait for what they import.
EXPORT_FORMATS = ("onnx", "pt2", "safetensors")
SCORE_MEASURES = ("error", "denoising", "elbo", "nll", "mahalanobis", "regret")
RUN_ORDERS = ("age", "name", "val", "size")
SAMPLE_MODES = ("prior", "grid", "posterior", "interpolate", "traverse")


@dataclass
class MeasureConfig:
    """What every command takes that uses what was trained: the seed of its draws, where to compute, where data is."""

    seed: int
    device: str
    threads: int | None
    data: DataConfig

    def check(self) -> None:
        """Refuse the first value out of its range."""
        check_machine(self)


@dataclass
class RunConfig(MeasureConfig):
    """What those on one run take: which, and which of its checkpoints."""

    run: str = field(metadata=PATH)
    checkpoint: str

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("checkpoint", self.checkpoint, ("best", "last"))


@dataclass
class EvalConfig(RunConfig):
    """`aectl eval`: on which part of the data, and what is measured beyond the usual."""

    split: str
    batch_size: int
    nll_samples: int | None
    nll_repeats: int
    robustness: bool

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("split", self.split, SPLITS)
        number("batch_size", self.batch_size, 1)
        number("nll_samples", self.nll_samples, 1, 1_000_000)
        number("nll_repeats", self.nll_repeats, 1, 1000)


@dataclass
class SampleConfig(RunConfig):
    """`aectl sample`: how many images, drawn how."""

    mode: str
    n: int

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("mode", self.mode, SAMPLE_MODES)
        number("n", self.n, 1, 100_000)


@dataclass
class WritingConfig(RunConfig):
    """And those that write files where they are told."""

    output: str | None = field(metadata=PATH)
    overwrite: bool


@dataclass
class ExploreConfig(WritingConfig):
    """`aectl explore`: the page of a run, in its own output folder unless `output` says where."""

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        if self.output is not None and Path(self.output).suffix not in (".html", ".htm"):
            fail("output", self.output, "is no page; its name must end in .html")


@dataclass
class FilesConfig(WritingConfig):
    """And those that read files as well."""

    input: str | None = field(metadata=PATH)


@dataclass
class PicturesConfig(FilesConfig):
    """And those that read pictures: what becomes of one that cannot be used, and how they are read.

    `scale`: the value that is white, or [black, white], in pictures of more than 8 bits; null: the run's own, else
    that of their type. `picture_gb`: GiB of memory that one picture may take while it is read.
    """

    on_bad: str
    scale: Any
    picture_gb: float

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("on_bad", self.on_bad, ON_BAD)
        scale("scale", self.scale)
        number("picture_gb", self.picture_gb, 0, open_low=True)


@dataclass
class ScoreConfig(PicturesConfig):
    """`aectl score`: pictures, or none for the run's test split, and how odd they are."""

    measure: str
    samples: int
    threshold: float | None
    normal: str | None

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("measure", self.measure, SCORE_MEASURES)
        number("samples", self.samples, 1, 100_000)
        number("threshold", self.threshold, 0, 1)
        if self.output is not None and Path(self.output).suffix != ".csv":
            fail("output", self.output, "is no file of scores; its name must end in .csv")


@dataclass
class DenoiseSchema(PicturesConfig):
    """`aectl denoise`: the pictures to clean, or none for the run's own test split and noise, as Hydra knows it."""

    reference: str | None = field(metadata=PATH)
    noise: Any

    def check(self) -> None:
        """Refuse the first value out of its range, and settings that do not go together."""
        super().check()
        for key in ("output", "reference"):
            if getattr(self, key) is not None and self.input is None:
                fail(key, getattr(self, key), "needs input=<image or folder> as well")
        if self.noise.corrupts and self.input is None:
            want = "is added to clean pictures first: give them with input=<image or folder>"
            fail("noise", self.noise.name, want)
        if self.noise.corrupts and self.reference is not None:
            fail("reference", self.reference, "with noise=... the input itself is the reference; leave this out")
        if self.input is not None and self.output is None:
            fail("input", self.input, "say where the results go: output=<folder>")


@dataclass
class EncodeConfig(PicturesConfig):
    """`aectl encode`: pictures, or none for the run's test split, into one file of codes, or of bits."""

    labels: bool
    sample: bool

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        if self.output is None:
            fail(
                "output",
                "null",
                "say where they go: codes to output=codes.npz (or .csv, .parquet), bits to output=pictures.aec",
            )
        _check_codes("output", self.output)
        if Path(self.output).suffix == BITS:
            if self.sample:
                fail("sample", self.sample, f"is of codes, and {BITS} holds pictures; leave it out")
            _check_exact(self)


@dataclass
class DecodeConfig(FilesConfig):
    """`aectl decode`: a file of codes, or of bits, back into pictures."""

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        if self.input is None:
            fail("input", "null", "give the file, such as input=codes.npz or input=pictures.aec")
        _check_codes("input", self.input)
        if Path(self.input).suffix == BITS:
            _check_exact(self)
        if self.output is None:
            fail("output", "null", "say where the pictures go: output=<folder>")


def _check_codes(key: str, name: str) -> None:
    if Path(name).suffix not in (*CODES, BITS):
        fail(key, name, f"is no file of codes or bits; its name must end in {', '.join((*CODES, BITS))}")


def _check_exact(config: RunConfig) -> None:
    if config.device not in ("auto", "cpu"):
        fail("device", config.device, "bits are computed on the CPU, each time the same to the last; leave it out")


@dataclass
class ExportConfig(WritingConfig):
    """`aectl export`: a run's networks as files of a format that other programs read."""

    format: str

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("format", self.format, EXPORT_FORMATS)
        if self.output is None:
            fail("output", "null", "say where the files go: output=<folder>")
        if self.device not in ("auto", "cpu"):
            fail("device", self.device, "export computes on the CPU, and its files run anywhere; leave this out")


@dataclass
class ReportConfig(MeasureConfig):
    """`aectl report`: which sweep, the part of the data that it is measured on, and pictures for its codecs."""

    sweep: str = field(metadata=PATH)
    split: str
    input: str | None = field(metadata=PATH)

    def check(self) -> None:
        """Refuse the first value out of its range."""
        super().check()
        choice("split", self.split, SPLITS)


@dataclass
class RunsConfig:
    """`aectl runs`: in which order, and how many."""

    sort: str
    last: int | None

    def check(self) -> None:
        """Refuse the first value out of its range."""
        choice("sort", self.sort, RUN_ORDERS)
        number("last", self.last, 1)


@dataclass
class DoctorConfig:
    """`aectl doctor`: a run whose checkpoints are to be verified, or none."""

    run: str | None = field(metadata=PATH)
    data: DataConfig

    def check(self) -> None:
        """Refuse the first value out of its range."""
        number("data.memory_gb", self.data.memory_gb, 0)
