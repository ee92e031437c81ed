"""`aectl explore`: a page on which the latent space of a run can be played with, in one file."""

import logging
from pathlib import Path

import torch

from aectl import storage
from aectl.commands import works
from aectl.commands.schemas import ExploreConfig
from aectl.drawing.explorer import page, sentences
from aectl.drawing.explorer.subject import Subject, subject_of
from aectl.errors import counted
from aectl.files import places
from aectl.machine import devices
from aectl.runs import layout, papers, sanity
from aectl.runs.opening import Run, open_data, open_with_code

log = logging.getLogger(__name__)


def run_explore(config: ExploreConfig, folder: Path) -> None:
    """The page of a run, into `config.output` or `folder`.

    Raises:
        ConfigError: its network has no code.
        StorageError: the output is there already, or cannot be written.
    """
    target = folder / layout.EXPLORER if config.output is None else storage.expanded(config.output)
    device = devices.choose(config.device, config.threads)
    run = open_with_code(config.run, config.checkpoint, device)
    work = works.work(run, config, device, target, folder=False)
    work.refuse([target.name])
    sanity.watch(run)
    found = _subject(run, config.data.root, device)
    with places.prepared([target]), work.begun([target.name]):
        text, document = page.explorer(found)
        work.write({target.name: text.encode()})
    if document["decoder"]["kind"] == "grid":
        log.info("note: %s", sentences.why_pictures(found, document["decoder"]))
    shown, train = document["shown"], document["train"]
    more = f", {train['count']:,} training images" if train else ""
    log.info("%s%s, %.1f MB; open it in a browser: %s",
             counted(shown["count"], f"{found.part} image"), more, len(text.encode()) / 1e6, target)  # fmt: skip


def _subject(run: Run, root: str | None, device: torch.device) -> Subject:
    data = open_data(run, root)
    records = papers.read_metrics(layout.run_of(run.path))
    record = next((one for one in records if one["step"] == run.progress.step), {"epoch": run.progress.epoch})
    return subject_of(run.config, run.model, record, data, device)
