"""A sweep's jobs: what is there of one, a bar while they run, and one table of what varies and what came out."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aectl import plain, storage
from aectl.errors import OtherSweepError, brief, one_line
from aectl.runs import finding, layout, papers, receipts, schema
from aectl.runs.config import TrainConfig
from aectl.runs.layout import CONFIG, RESULT
from aectl.runs.receipts import Receipt
from aectl.settings import typed

UNKNOWN = ""  # what a job was given that ended before it left word, or what is no setting of its choice
COLUMNS = (
    "train/loss",
    "val/loss",
    "val/recon",
    "val/kl",
    "val/elbo",
    "val/psnr",
    "val/active_units",
    "best_epoch",
    "seconds",
)


def record_failure(folder: Path, overrides: Sequence[str], message: str, exit_code: int) -> None:
    """Leave word in a run's folder that it failed, why, and which checkpoint was its last."""
    folder.mkdir(parents=True, exist_ok=True)
    step = max(map(layout.step_of, layout.checkpoints_seen(folder)), default=0)
    result = {
        "status": "failed", "overrides": list(overrides), "error": message, "exit_code": exit_code, "step": step,
    }  # fmt: skip
    storage.replace(folder / RESULT, storage.dump_json(result))


def begun(folder: Path, settings: TrainConfig) -> dict[str, Any] | None:
    """What a sweep left of the job in `folder`: its result.json, empty if it has none yet; None if it saved nothing.

    Raises:
        OtherSweepError: it was begun with settings that bear on its numbers and are not `settings`, or that cannot be
            read.
    """
    saved = any(folder.glob("checkpoints/step-*"))
    if not saved and not _has_a_result(folder):
        return None
    path = folder / CONFIG
    try:
        theirs = typed.to_dict(typed.from_dict(TrainConfig, papers.read_config(folder), ""))
    except ValueError as error:
        raise OtherSweepError(
            f"{path}: cannot be read ({brief(error)}); put back what the job saved there, or begin a new sweep"
        ) from None
    ours = typed.to_dict(settings)
    free = {key.partition(".")[0] for key in schema.WITHOUT_BEARING}
    if (theirs["precision"], ours["precision"]) == ("float32", "bf16"):
        ours["precision"] = "float32"  # which a run took where it would have been emulated
    other = next((key for key in ours if key not in free and theirs[key] != ours[key]), None)
    if other is not None:
        raise OtherSweepError(
            f"sweep.resume={folder.parent}: {folder.name} was begun with {other}={brief(theirs[other])}, not "
            f"{ours[other]}; repeat the command that began the sweep"
        )
    result = papers.read_result(folder)
    if result.get("status") == "completed" and result.get("objective") is None:
        raise OtherSweepError(
            f"{folder / RESULT}: says completed and has no objective; put back what the job saved there, "
            "or begin a new sweep"
        )
    return result if saved else None


def _has_a_result(folder: Path) -> bool:
    """Whether a job has ended well, or has a word of its end that cannot be read: nothing is put in its place."""
    return papers.read_result(folder).get("status") == "completed" or papers.damage_of_result(folder) is not None


def read_jobs(folder: Path) -> list[dict[str, Any]]:
    """The jobs of the sweep in `folder` in the order of their numbers, as they say themselves, with their results.

    A job that has begun and said no more was interrupted, unless it still trains. One whose folder was taken away is
    none, but for one that has failed: `sweep.resume=` makes it anew.
    """
    found = receipts.of(folder)
    if found is None:
        return [_read_job(number, path, papers.read_result(path)) for number, path in layout.numbered(folder)]
    jobs = [_said(folder, number, receipt) for number, receipt in found.items()]
    return [job for job in jobs if job is not None]


def _read_job(number: int, folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    return {"status": "interrupted", "overrides": [], **result, "job": str(number), "folder": folder}


def _said(sweep: Path, number: int, receipt: Receipt | None) -> dict[str, Any] | None:
    """A job as it stands by its receipt; what came out stands in the result.json of its folder."""
    own = receipts.folder_of(sweep, receipt)
    where = own or receipts.nowhere(sweep, number)
    if receipt is None:
        return _read_job(number, where, {})
    given, failed = {"overrides": receipt.overrides}, receipt.status == "failed"
    if not failed and not receipts.is_there(where):
        return None
    result = papers.read_result(where) if receipt.command == "train" else {}
    if failed and result.get("status") not in ("failed", "diverged"):  # else it says more of the same
        result = {"status": "failed", "error": receipt.error or "", "exit_code": receipt.exit_code or 1}
    elif receipt.command != "train" and receipt.status == "completed":
        result = {"status": "completed"}
    elif receipt.status == "begun" and result.get("status") != "completed":
        result = {}  # what is there was said before it was gone on with
    return _read_job(number, where, given | result)


def taken_up(folder: Path) -> None:
    """Let the jobs of a sweep of 0.1.0, which is gone on with, be known as today's are."""
    if receipts.of(folder) is not None:
        return
    trained = [job for job in layout.numbered(folder) if finding.is_run(job[1]) or (job[1] / RESULT).is_file()]
    receipts.adopt(folder, {number: _as_today(path) for number, path in reversed(trained)})


def _as_today(path: Path) -> Receipt:
    result = papers.read_result(path)
    known, overrides = {"completed": "completed", "failed": "failed"}, result.get("overrides")
    given = [one for one in overrides if isinstance(one, str)] if isinstance(overrides, list) else []
    error, code = (result.get(key) for key in ("error", "exit_code"))
    return Receipt(
        "train", path.name, given, known.get(result.get("status", ""), "begun"),
        error if isinstance(error, str) else None, code if type(code) is int else None,
    )  # fmt: skip


def given_to(job: dict[str, Any]) -> dict[str, str]:
    """A job's overrides by key, without those that bear on no number."""
    pairs = (item.lstrip("+").partition("=") for item in job["overrides"])
    return {
        schema.RENAMED.get(key, key): value for key, equals, value in pairs if equals and schema.bears_on_numbers(key)
    }


def differing(jobs: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """For each job, what some job was given and not all have, by key in the order of the command line.

    What a job was not given it has from its configuration: `lr=0.001` and nothing, or `1e-3`, are the same where that
    is the default. Of a choice, such as `model=dae`, it is what was asked for. A job that was interrupted before it
    left word differs in nothing that is known.
    """
    given = [given_to(job) for job in jobs]
    keys = dict.fromkeys(key for setting in given for key in setting)
    saved = [_saved_settings(job) for job in jobs]
    full = [{key: one_line(_value(key, *both)) for key in keys} for both in zip(given, saved, strict=True)]
    kept = [key for key in keys if len({setting[key] for setting in full} - {UNKNOWN}) > 1]
    return [{key: setting[key] for key in kept} for setting in full]


def _saved_settings(job: dict[str, Any]) -> dict[str, Any]:
    """A job's whole configuration, one level; empty where it has failed before it was saved."""
    try:
        return typed.flat(papers.read_config(job["folder"]))
    except ValueError:
        return {}


def _value(key: str, given: dict[str, str], saved: dict[str, Any]) -> str:
    """What the setting `key` is in a job, written one way."""
    if key in saved:
        return _written(saved[key])
    if key not in given:
        return _written(saved.get(f"{key}.name", UNKNOWN))
    try:
        value = plain.value_of(given[key])
        with contextlib.suppress(TypeError, ValueError):
            value = float(value) if isinstance(value, str) else value  # YAML takes 1e-3 for text
        return _written(value)
    except ValueError:
        return given[key]


def _written(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)


def command(folder: Path) -> str:
    """The command line that made the sweep in `folder`, as its jobs have kept it; empty where none has."""
    found = [line for job in layout.jobs_of(folder) if (line := papers.command_of(job))]
    # Jobs that a later `sweep.resume=` has begun keep that command, which is the first one and more.
    return min(found, key=lambda line: "sweep.resume=" in line, default="")


def table(jobs: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: job, the settings that differ between jobs, status, the metrics that some job has."""
    settings = differing(jobs)
    keys = list(settings[0]) if jobs else []
    metrics = [name for name in COLUMNS if any(job.get(name) is not None for job in jobs)]
    header = ["job", *keys, "status", *metrics]
    rows = []
    for job, setting in zip(jobs, settings, strict=True):
        figures = [_number(job.get(name)) for name in metrics]
        rows.append([job["job"], *setting.values(), _status(job), *figures])
    return header, rows


def _status(job: dict[str, Any]) -> str:
    """How a job ended, and whether it is any better than the mean image."""
    return f"{job['status']}, not learnt" if job.get("learnt") is False else job["status"]


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, float) else str(value)
