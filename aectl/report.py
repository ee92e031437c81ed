"""`aectl report`: the runs of a sweep measured on the same images, as one page with its pictures and one table."""

import base64
import csv
import io
import json
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from aectl import baselines, comparison, devices, figures, metrics, pictures, storage, sweep, typed
from aectl.baselines import Principal
from aectl.comparison import Group, Measured
from aectl.config import ReportConfig
from aectl.errors import DataError
from aectl.figures import Line
from aectl.images import Images, Split
from aectl.noise import build_noise
from aectl.runs import OUTPUTS, Run, open_data, open_run
from aectl.scoring import active_units, batches, encode, score
from aectl.tracking import read_metrics

MAX_SHOWN = 4  # series whose best run is shown with its pictures

log = logging.getLogger(__name__)

Named = tuple[str, pictures.Picture]


def run_report(config: ReportConfig, folder: Path) -> None:
    """Measure the finished runs of a sweep; write report.md, report.html, report.csv and pictures/ to `folder`."""
    device = devices.choose(config.device, config.threads)
    where = _locate(config.sweep)
    jobs = sweep.read_jobs(where)
    finished = [job for job in jobs if job["status"] == "completed"]
    if not finished:
        raise DataError(f"sweep={where}: none of its {len(jobs)} jobs has finished; see its summary.md")
    log.info("measuring %d runs of %s on their %s images", len(finished), where, config.split)
    bench = Bench(config, device)
    varying = sweep.varying(finished)
    with tqdm(finished, unit="run", disable=None, leave=False) as bar:
        runs = [bench.measure(job, varying) for job in bar]
    groups = comparison.grouped(runs)
    shown = folder / "pictures"
    shown.mkdir(parents=True, exist_ok=True)
    names = []
    for name, picture in [*_plots(groups), *_best(bench, finished, groups)]:
        Image.fromarray(picture).save(shown / f"{name}.png", optimize=True)
        names.append(name)
    page = _page(where, config, jobs, groups, names)
    storage.replace(folder / "report.md", page.encode())
    storage.replace(folder / "report.html", _html(page, folder).encode())
    storage.replace(folder / "report.csv", _csv(*comparison.records(runs)).encode())
    for sentence in comparison.findings(groups):
        log.info("%s", sentence.replace("**", ""))
    log.info("report.html, report.md, report.csv and pictures: %s", folder)


def _locate(name: str) -> Path:
    """The sweep's folder; `latest` is that below `outputs/multirun` whose jobs ended last.

    Raises:
        DataError: there is none.
    """
    if name == "latest":
        ended = list(OUTPUTS.glob(f"multirun/*/*/{sweep.RESULT}"))
        if not ended:
            raise DataError("sweep=latest: no sweep below outputs/ of this folder; make one (aectl train -m ...)")
        return max(ended, key=lambda path: path.stat().st_mtime_ns).parent.parent
    path = Path(name).expanduser()
    if not path.is_dir() or not sweep.read_jobs(path):
        raise DataError(f"sweep={name}: no sweep there; give the folder that `aectl train -m` named at its end")
    return path


class Bench:
    """Measures runs one after another; data sets and their principal components are made once for all of them."""

    def __init__(self, config: ReportConfig, device: torch.device):
        self.config = config
        self.device = device
        self._data: dict[str, tuple[Split, Principal]] = {}

    def open(self, job: dict[str, Any]) -> tuple[Run, Split, Principal]:
        """A job's run with its best checkpoint, its data, and the principal components of its training images."""
        run = open_run(str(job["folder"]), "best", self.device)
        split = run.path / "split.json"
        key = json.dumps([typed.to_dict(run.config.dataset), split.read_text() if split.is_file() else None])
        if key not in self._data:
            data = open_data(run, self.config.data.root)
            self._data[key] = data, baselines.principal(data.train)
        return run, *self._data[key]

    def images(self, data: Split, job: dict[str, Any]) -> Images:
        """The part of the data that is measured."""
        return data.part(self.config.split, f"it is that of job {job['job']}; choose another split")

    def measure(self, job: dict[str, Any], varying: Sequence[str]) -> Measured:
        """Its figures: recon, KL and ELBO in nats per image, squared error per image, PSNR, active units, seconds."""
        run, data, principal = self.open(job)
        images, model = self.images(data, job), run.model
        corrupt = build_noise(run.config.noise)
        scores = score(model, images, corrupt, run.config.kl_weight, self.device, self.config.seed)
        # What has no prior has neither a KL nor an ELBO.
        found = {"recon": scores.recon} | ({"kl": scores.kl, "elbo": scores.elbo} if model.has_prior else {})
        with torch.inference_mode():
            rows = [
                (metrics.mse(x_hat, x).cpu(), metrics.psnr(x_hat, x).cpu())
                for x, x_noisy, _ in batches(images, corrupt, self.device, self.config.seed)
                for x_hat in [model.reconstruct(x_noisy)]
            ]
        mse, psnr = (torch.cat(column).mean().item() for column in zip(*rows, strict=True))
        pixels = images.shape[0] * images.shape[1] * images.shape[2]
        found |= {"sse": mse * pixels, "psnr": psnr}
        if model.has_code:
            found["pca_sse"] = principal.sse(images, run.config.latent)
            found["active_units"] = active_units(encode(model, images, self.device))
        records = read_metrics(run.path)
        part = "val" if "val/loss" in job else "train"
        found["chosen_by"] = job[f"{part}/recon"] + job[f"{part}/kl"]
        given = sweep.settings_of(job)
        return Measured(
            job["job"],
            {key: given.get(key, "") for key in varying},
            {axis: getattr(run.config, axis) for axis in comparison.AXES},
            {**found, "seconds": job["seconds"]},
            model.has_prior,
            [record[f"{part}/loss"] for record in records],
        )


# ------------------------------------------------------------------------------------------ pictures


def _plots(groups: Sequence[Group]) -> Iterator[Named]:
    """Plots of what varies."""
    for axis in comparison.AXES:
        if not comparison.varies(groups, axis):
            continue
        along = comparison.series(groups, axis)
        axis_name = {"latent": "latent size", "kl_weight": "kl_weight β"}[axis]
        lines = [_line(name, members, axis, "sse") for name, members in along.items()]
        coded = [group for group in groups if group.has("pca_sse")]
        if axis == "latent" and coded:
            by_size = {group.value("latent"): group.mean("pca_sse") for group in coded}
            lines.append(Line("PCA", sorted(by_size), [by_size[size] for size in sorted(by_size)], dashed=True))
        title = f"reconstruction against {axis_name}"
        yield (
            f"reconstruction_by_{axis}",
            figures.lines(lines, title, axis_name, "squared error per image", log_x=True, log_y=True),
        )
        priors = {name: members for name, members in along.items() if members[0].has_prior}
        if priors:
            lines = [_line(name, members, axis, "elbo") for name, members in priors.items()]
            title = f"ELBO against {axis_name}"
            yield f"elbo_by_{axis}", figures.lines(lines, title, axis_name, "ELBO (nats per image)", log_x=True)
            lines = [_line(name, members, axis, "active_units") for name, members in priors.items()]
            if axis == "latent":
                sizes = sorted({group.value("latent") for members in priors.values() for group in members})
                lines.append(Line("all of them", sizes, sizes, dashed=True))
            title = f"active units against {axis_name}"
            yield f"active_units_by_{axis}", figures.lines(lines, title, axis_name, "active units", log_x=True)
    priors = [group for group in groups if group.has_prior]
    if any(comparison.varies(priors, axis) for axis in comparison.AXES):
        yield "rate_distortion", _rate_distortion(priors)
    along = comparison.series(groups)
    if len(along) == len(groups):
        yield "curves", _curves({comparison.label(group): group for group in groups}, "objective by epoch")
        return
    for name, members in list(along.items())[:MAX_SHOWN]:
        places = {comparison.place(group, members): group for group in members}
        yield f"curves_{_stem(name)}", _curves(places, f"{name}: objective by epoch")


def _curves(groups: dict[str, Group], title: str) -> pictures.Picture:
    """The objective by epoch, averaged over the runs of each group."""
    lines = []
    for name, group in groups.items():
        length = min(len(run.curve) for run in group.runs)
        columns = [[run.curve[epoch] for run in group.runs] for epoch in range(length)]
        means = [float("nan") if None in column else sum(column) / len(column) for column in columns]
        lines.append(Line(name, range(1, length + 1), means))
    return figures.lines(lines, title, "epoch", "nats per image")


def _stem(name: str) -> str:
    """A series' name as part of a file's."""
    return re.sub(r"\W+", "_", name)


def _line(name: str, members: Sequence[Group], axis: str, figure: str) -> Line:
    members = [group for group in members if group.has(figure)]
    return Line(
        name,
        [group.value(axis) for group in members],
        [group.mean(figure) for group in members],
        [group.sd(figure) for group in members],
    )


def _rate_distortion(groups: Sequence[Group]) -> pictures.Picture:
    """KL, the rate, against reconstruction, the distortion; ELBO at β = 1 is constant along falling diagonals."""
    axis = next(axis for axis in reversed(comparison.AXES) if comparison.varies(groups, axis))
    lines = [
        Line(
            name,
            [group.mean("kl") for group in members],
            [group.mean("recon") for group in members],
            [group.sd("recon") for group in members],
            [f"{group.value(axis):g}" for group in members],
        )
        for name, members in comparison.series(groups, axis).items()
    ]
    title = f"rate and distortion; numbers are {axis}"
    return figures.lines(lines, title, "KL (nats per image)", "reconstruction (nats per image)")


def _best(bench: Bench, jobs: Sequence[dict[str, Any]], groups: Sequence[Group]) -> Iterator[Named]:
    """The pictures of the best run of each series."""
    by_number = {job["job"]: job for job in jobs}
    for name, members in list(comparison.series(groups).items())[:MAX_SHOWN]:
        chosen = comparison.best(members)
        job = by_number[chosen.job]
        run, data, _ = bench.open(job)
        images, device = bench.images(data, job), bench.device
        noise = build_noise(run.config.noise) if run.config.noise.name != "none" else None
        settings = " ".join(f"{key}={value}" for key, value in chosen.settings.items())
        title = f"the best of {name}: job {chosen.job}, {settings}"
        stem = f"best_{_stem(name)}"
        yield f"{stem}_reconstructions", pictures.reconstructions(run.model, images, noise, device, title)
        if run.model.has_prior:
            yield f"{stem}_samples", pictures.prior_samples(run.model, run.config.latent, device)
        if run.model.has_code:
            codes = encode(run.model, images.spread(5000), device)
            title = f"codes of {len(codes):,} {bench.config.split} images, job {chosen.job}"
            yield f"{stem}_codes", pictures.latent_scatter(codes, images.spread(5000).labels, title)


# --------------------------------------------------------------------------------------------- pages


def _page(
    where: Path, config: ReportConfig, jobs: Sequence[dict[str, Any]], groups: Sequence[Group], names: Sequence[str]
) -> str:
    """The report as Markdown."""
    runs = sum(len(group.runs) for group in groups)
    command = sweep.command(where)
    text = [
        f"# Sweep {where.name}",
        f"{runs} of {len(jobs)} jobs finished. Each was measured with its best checkpoint on its {config.split} "
        "images." + (f" Trained by `{command}`." if command else ""),
        *comparison.findings(groups),
        sweep.markdown(*comparison.table(groups)),
        "Nats per image, summed over pixels and latents; squared error and PCA's (with as many components as "
        "latents, fitted to the training images) are sums over the values of an image in [0, 1]. Mean ± standard "
        "deviation over seeds.",
        *(f"Job {job['job']} failed: {job['error']}" for job in jobs if job["status"] == "failed"),
        *(f"Job {job['job']} was interrupted." for job in jobs if job["status"] == "interrupted"),
        *(f"![{name.replace('_', ' ')}](pictures/{name}.png)" for name in names),
    ]
    return "\n\n".join(text) + "\n"


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #282828 }
table { border-collapse: collapse; font-size: 0.85rem; display: block; overflow-x: auto }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
img { max-width: 100%; height: auto; display: block; margin: 1rem 0 }
"""


def _html(page: str, folder: Path) -> str:
    """The same page for a browser, in one file: the pictures are inside it."""
    from markdown import markdown

    def inside(match: re.Match[str]) -> str:
        return f'src="data:image/png;base64,{base64.b64encode((folder / match[1]).read_bytes()).decode()}"'

    body = re.sub(r'src="(pictures/[^"]+)"', inside, markdown(page, extensions=["tables"]))
    title = page.partition("\n")[0].removeprefix("# ")
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _csv(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()
