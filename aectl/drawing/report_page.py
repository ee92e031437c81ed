"""A report as a page: Markdown, and the same for a browser in one file."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aectl.files.tables import markdown
from aectl.measuring import tables
from aectl.measuring.comparison import Group, Measured
from aectl.measuring.compression import Compression
from aectl.measuring.endings import Endings
from aectl.measuring.findings import findings
from aectl.measuring.sweep import Circumstances

LEGEND = (
    "Nats per image, summed over pixels and latents; recon is the reconstruction term −log p(x|z). Squared error and "
    "PCA's (with as many components as latents, fitted to the training images) are sums over the values of an image "
    "in [0, 1]. Mean ± standard deviation over seeds; two means are told apart where they lie further from each "
    "other than both standard deviations together. Seconds are those of the training. In the plots, bars are ± one "
    "standard deviation, and shades of one colour are one series."
)


NONE = Compression()


def page(
    name: str,
    command: str,
    circumstances: Circumstances,
    jobs: Sequence[dict[str, Any]],
    runs: Sequence[Measured],
    groups: Sequence[Group],
    ended: Endings,
    names: Sequence[str],
    files: Compression = NONE,
) -> str:
    """The report on the sweep `name` as Markdown; `names` are those of its pictures, `files` what its runs make."""
    text = [
        f"# Sweep {name}",
        facts(command, circumstances, len(runs), len(jobs)),
        *ended.sentences(),
        *findings(groups),
        *files.findings(groups),
        markdown(*tables.table(groups)),
        LEGEND,
        *files.blocks(groups),
        *(["Runs that ended better than the mean image:", markdown(*ended.table())] if ended.differ else []),
        *(f"Job {run.job} is in no mean: {_listed(run.not_finite)} not finite." for run in runs if run.not_finite),
        *(f"Job {job['job']} failed: {html.escape(job['error'])}" for job in jobs if job["status"] == "failed"),
        *(f"Job {job['job']} was interrupted." for job in jobs if job["status"] == "interrupted"),
        *(f"![{name.replace('_', ' ')}](pictures/{name}.png)" for name in names),
    ]
    return "\n\n".join(text) + "\n"


def facts(command: str, circumstances: Circumstances, finished: int, total: int) -> str:
    """What the figures stand on, as a list."""
    found, jobs = circumstances, "job" if total == 1 else "jobs"
    items = {
        "Runs": f"{finished} of {total} {jobs} finished, each measured with its best checkpoint",
        "Data": "; ".join([*found.data, *found.sizes]),
        "Network" if len(found.networks) == 1 else "Networks": "; ".join(found.networks),
        "Measured with": found.measured,
        "Trained with": "; ".join(found.trained),
        "Trained by": f"`{command}`" if command else "",
    }
    return "\n".join(f"- **{title}:** {text}" for title, text in items.items() if text)


def _listed(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} are"


STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #282828 }
p, li { max-width: 60rem }
code { overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: 0.8rem; margin: 1.5rem 0 }
th, td { padding: 0.25rem 0.5rem; border-bottom: 1px solid #ddd; text-align: right }
td { white-space: nowrap }
img { max-width: min(100%, 60rem); height: auto; display: block; margin: 1rem 0 }
"""


def as_html(text: str, folder: Path) -> str:
    """The same page for a browser, in one file: the pictures are inside it."""
    from markdown import markdown

    def inside(match: re.Match[str]) -> str:
        return f'src="data:image/png;base64,{base64.b64encode((folder / match[1]).read_bytes()).decode()}"'

    body = re.sub(r'src="(pictures/[^"]+)"', inside, markdown(text, extensions=["tables"]))
    title = html.escape(text.partition("\n")[0].removeprefix("# "))
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    head = f'<meta charset="utf-8">{view}<title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'
