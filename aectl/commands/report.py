"""`aectl report`: the runs of a sweep measured on the same images, as one page with its pictures and one table."""

import itertools
import logging
from pathlib import Path

from tqdm import tqdm

from aectl import storage
from aectl.commands.schemas import ReportConfig
from aectl.drawing import report_page, report_plots
from aectl.errors import DataError
from aectl.files.pictures import png
from aectl.files.tables import plain_csv
from aectl.machine import devices
from aectl.measuring import comparison, compression, tables
from aectl.measuring.endings import endings
from aectl.measuring.findings import findings
from aectl.measuring.sweep import PART_WORDS, Bench
from aectl.runs import finding, layout, locks, papers, sweeps

log = logging.getLogger(__name__)


def run_report(config: ReportConfig, folder: Path) -> None:
    """Measure the finished runs of a sweep; write report.md, report.html, report.csv and pictures/ to `folder`."""
    device = devices.choose(config.device, config.threads)
    where = finding.sweep(config.sweep, "sweep", layout.RESULT)
    jobs = sweeps.read_jobs(where)
    if not jobs:
        raise DataError(
            f"sweep={config.sweep}: no sweep there; give the folder that `aectl train -m` named at its end"
        )
    if training := [job["job"] for job in jobs if locks.held(job["folder"])]:
        log.warning("note: %s is still training, job %s; only what has ended is measured", where, ", ".join(training))
    for job in jobs:
        if reason := papers.damage_of_result(job["folder"]):
            log.warning("note: job %s is left out: its result.json cannot be read (%s)", job["job"], reason)
    finished = [job for job in jobs if job["status"] == "completed"]
    if not finished:
        none = "its only job has not" if len(jobs) == 1 else f"none of its {len(jobs)} jobs has"
        raise DataError(f"sweep={where}: {none} finished; see its summary.md")
    count = "one run" if len(finished) == 1 else f"{len(finished)} runs"
    log.info("measuring %s of %s on %s images", count, where, PART_WORDS[config.split])
    bench = Bench(config.split, device, root=config.data.root, seed=config.seed)
    with tqdm(finished, unit="run", disable=None, leave=False) as bar:
        runs = [bench.measure(job, given) for job, given in zip(bar, sweeps.differing(finished), strict=True)]
    place = None if config.input is None else storage.expanded(config.input)
    runs, files = compression.measured(bench, finished, runs, place)
    groups, ended = comparison.grouped(runs), endings(jobs, sweeps.differing(jobs))
    if not groups:
        raise DataError(f"sweep={where}: no finished job has finite figures; its train.log says when that began")
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for place in (folder, folder / "pictures"):
        storage.tidy(place)
    names = []
    drawn = [report_plots.along(groups, ended), report_plots.of_best(bench, finished, groups)]
    if files.beside:
        drawn.insert(0, report_plots.of_codecs(bench, finished, groups, files.beside))
    for called, picture in itertools.chain.from_iterable(drawn):
        name = called if called not in names else f"{called}_{len(names)}"  # of names cut short two may be the same
        storage.replace(folder / f"pictures/{name}.png", png.of_plot(picture, smallest=True))
        names.append(name)
    report = report_page.page(
        where.name, sweeps.command(where), bench.circumstances, jobs, runs, groups, ended, names, files
    )
    storage.replace(folder / "report.md", report_page.as_markdown(report).encode())
    storage.replace(folder / "report.html", report_page.as_html(report, folder).encode())
    storage.replace(folder / "report.csv", plain_csv(*tables.records(runs)))
    for name, table in files.records(groups):
        storage.replace(folder / name, plain_csv(*table))
    for sentence in [*ended.sentences(), *findings(groups), *files.findings(groups)]:
        log.info("%s", sentence.replace("**", ""))
    log.info("report.html, report.md, report.csv and pictures: %s", folder)
