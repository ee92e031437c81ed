"""The commands: what each does in a line, what it takes, and where its work is. No torch until one is loaded."""

from collections.abc import Callable
from dataclasses import dataclass

from aectl.commands import schemas
from aectl.runs.schema import TrainSchema

Loaded = tuple[type, Callable]  # the class of its settings, with those of choices; and the function that does it


@dataclass(frozen=True)
class Command:
    """One word after `aectl`.

    Attributes:
        words: what it does, for `--help`.
        schema: what it takes, as Hydra knows it.
        load: imports its work.
    """

    words: str
    schema: type
    load: Callable[[], Loaded]


def _train() -> Loaded:
    from aectl.commands.train import TrainConfig, run_train

    return TrainConfig, run_train


def _eval() -> Loaded:
    from aectl.commands.eval import run_eval

    return schemas.EvalConfig, run_eval


def _sample() -> Loaded:
    from aectl.commands.sample import run_sample

    return schemas.SampleConfig, run_sample


def _explore() -> Loaded:
    from aectl.commands.explore import run_explore

    return schemas.ExploreConfig, run_explore


def _score() -> Loaded:
    from aectl.commands.score import run_score

    return schemas.ScoreConfig, run_score


def _denoise() -> Loaded:
    from aectl.commands.denoise import DenoiseConfig, run_denoise

    return DenoiseConfig, run_denoise


def _encode() -> Loaded:
    from aectl.commands.encode import run_encode

    return schemas.EncodeConfig, run_encode


def _decode() -> Loaded:
    from aectl.commands.decode import run_decode

    return schemas.DecodeConfig, run_decode


def _export() -> Loaded:
    from aectl.commands.export import run_export

    return schemas.ExportConfig, run_export


def _report() -> Loaded:
    from aectl.commands.report import run_report

    return schemas.ReportConfig, run_report


def _runs() -> Loaded:
    from aectl.commands.runs import run_runs

    return schemas.RunsConfig, run_runs


def _doctor() -> Loaded:
    from aectl.commands.doctor import run_doctor

    return schemas.DoctorConfig, run_doctor


COMMANDS = {
    "train": Command("train an autoencoder; everything it makes lands in a run folder", TrainSchema, _train),
    "eval": Command("measure a trained run: metrics, baselines, figures, a diagnosis", schemas.EvalConfig, _eval),
    "sample": Command("draw new images from a trained run", schemas.SampleConfig, _sample),
    "explore": Command("a page to play with the latent space of a run, in one file", schemas.ExploreConfig, _explore),
    "score": Command("how odd each picture is, the oddest first", schemas.ScoreConfig, _score),
    "denoise": Command("clean pictures with a trained run", schemas.DenoiseSchema, _denoise),
    "encode": Command(
        "pictures to codes in a file, .npz, .csv or .parquet, or to bits, .aec", schemas.EncodeConfig, _encode
    ),
    "decode": Command("codes or bits in a file back to pictures", schemas.DecodeConfig, _decode),
    "export": Command(
        "a run's networks as files for other programs: ONNX, .pt2, safetensors", schemas.ExportConfig, _export
    ),
    "report": Command(
        "the runs of a sweep beside each other: a page with plots, tables and sentences",
        schemas.ReportConfig,
        _report,
    ),
    "runs": Command("list the runs and sweeps below outputs/", schemas.RunsConfig, _runs),
    "doctor": Command("show what this machine has, and verify a run's checkpoints", schemas.DoctorConfig, _doctor),
}
