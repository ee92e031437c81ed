"""docs/results.json, what is kept of every run, and docs/results.md, the page that is made from it."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import codec
import odd
from rows import ENOUGH, ROWS, Figure, Result, Row, mean_and_sd, verdict

from aectl import storage

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs/results.json"
PAGE = ROOT / "docs/results.md"

INTRODUCTION = f"""# Published results, and what aectl reaches

Written by `make reproduce` (`benchmarks/reproduce.py`) from what docs/results.json keeps of real runs. Means over
seeds ± their standard deviation (n − 1); lower is better, unless said otherwise. Nats per image, mean over the 10,000
test images; PSNR is averaged over images. Dynamic binarization: fresh draws for every training batch, one fixed draw
for validation and test (from `split_seed` 0).

- *reproduced*: the source's set-up, or one that differs in the length of its schedule alone and says so; the mean of
  at least {ENOUGH} seeds is accepted.
- *ours*: something else than the schedule's length was changed, or there is no published set-up. It is a result of
  aectl's, not a reproduction, and is never said to go beyond one.
- *missed*: the mean is not accepted. *open*: fewer than {ENOUGH} seeds; nothing is claimed.

Nothing is chosen by looking at test images: what a source leaves open is chosen by validation images, which are taken
out of the training part, and the test images are measured once for each seed. Where that was not so it is said.

NLL₅₀₀₀ is the importance-weighted bound with K = 5,000 draws of z for each image. Beside it stand its standard error
over images, that over draws, and the effective number of draws. CPU minutes are the processor time of the whole
command, on one thread unless said otherwise; the machine did other work at the same time.
"""


def read_results() -> Result:
    """What is kept; empty before anything was."""
    return json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}


def write_results(results: Result) -> None:
    """Both files."""
    storage.replace(RESULTS, (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode())
    storage.replace(PAGE, page(results).encode())


def page(results: Result) -> str:
    """docs/results.md from what was kept of every row's seeds."""
    kept = [(row, results["rows"][row.preset]) for row in ROWS if results.get("rows", {}).get(row.preset)]
    lines = [
        INTRODUCTION,
        "| # | experiment | figure | published | aectl | seeds | accepted | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, seeds in kept:
        for index, figure in enumerate(row.figures):
            values = [seed["values"][index] for seed in seeds.values()]
            lines.append(
                f"| {row.number} | {row.title} | {figure.name} | {figure.published} | {summary(figure, values)} | "
                f"{len(values)} | {accepted(figure)} | {verdict(row, figure, values)} |"
            )
    missing = sorted({row.number for row in ROWS} - {row.number for row, _ in kept})
    lines.append("")
    if missing:
        lines += paragraph(f"Not measured by these rules yet: rows {', '.join(map(str, missing))}.")
    lines += ["## How each was made", ""]
    for row, seeds in kept:
        lines += section(row, seeds)
    lines += odd.sections(results, paragraph)
    if "codec" in results:
        lines += codec.section(results["codec"], paragraph)
    if "photographs" in results:
        lines += photographs(results["photographs"])
    return "\n".join(lines)


def summary(figure: Figure, values: Sequence[float]) -> str:
    """Mean ± standard deviation, or the value of a single seed."""
    mean, sd = mean_and_sd(values)
    text = f"{mean:.{figure.digits}f}"
    return text if sd is None else f"{text} ± {sd:.{figure.digits}f}"


def accepted(figure: Figure) -> str:
    """The bounds in words."""
    low, high = figure.accept
    if low is None:
        return f"≤ {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g} to {high:g}"


def section(row: Row, seeds: Result) -> Iterator[str]:
    """A row's source, set-up, commands and seeds."""
    settings = sorted({seed["setting"] for seed in seeds.values()})
    yield from (f"### {row.number}. {row.title}", "")
    yield from paragraph(f"Source: {row.source}. Set-up: {' / '.join(settings)}.")
    for words, text in (("Not as there: ", row.changed), ("Shortened: ", row.shortened), ("Chosen: ", row.chosen),
                        ("", row.remark)):  # fmt: skip
        yield from paragraph(words + text) if text else ()
    yield from ("```sh", f"make reproduce ROWS={row.number}", "```", "")
    yield from table(row, seeds)
    yield ""
    for note in sorted({seed["note"] for seed in seeds.values() if seed.get("note")}):
        yield from paragraph(note)
    machines = sorted({f"aectl {seed['aectl']}, torch {seed['torch']}, {seed['machine']}" for seed in seeds.values()})
    yield from paragraph(f"{'; '.join(machines)}.")


def paragraph(text: str) -> list[str]:
    """Lines of a readable width, and an empty one."""
    return [*textwrap.wrap(text, 118, break_long_words=False, break_on_hyphens=False), ""]


def table(row: Row, seeds: Result) -> Iterator[str]:
    """A line for each seed: its figures, what belongs to an NLL, the epoch, the cost."""
    bound = any("nll" in seed for seed in seeds.values())
    heads = ["seed", *(figure.name for figure in row.figures)]
    heads += ["± images", "± draws", "effective draws"] if bound else []
    heads += ["epochs", "measured", "CPU min training", "CPU min measuring"]
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for seed, kept in seeds.items():
        cells = [
            seed,
            *(f"{value:.{figure.digits}f}" for figure, value in zip(row.figures, kept["values"], strict=True)),
        ]
        if bound:
            nll = kept["nll"]
            effective = nll["effective_samples"]
            cells += [f"{nll['se_images']:.2f}", f"{nll['se_draws']:.4f}"]
            cells += ["not kept" if effective is None else f"{effective:,.0f}"]
        cells += [str(kept["epochs"]), kept["measured"], minutes(kept, "train"), minutes(kept, "eval")]
        yield f"| {' | '.join(cells)} |"


def minutes(kept: Result, command: str) -> str:
    """CPU minutes of one of the two commands, as far as they were measured."""
    if command not in kept["cpu_minutes"]:
        return "–"
    spent = kept["cpu_minutes"][command]
    if spent is None:
        return "not kept"
    return f"{'≥ ' if kept.get('at_least') else ''}{spent:.1f}"


def photographs(result: Result) -> list[str]:
    """The section on denoising photographs, from what benchmarks/photographs.py kept."""
    names = [Path(name).stem for name in result["names"]]
    rows = [
        f"| {row['method']} | {row['psnr']:.2f} | {row['ssim']:.4f} | "
        f"{' | '.join(f'{one:.2f}' for one in row['each'])} | {row['seconds']:g} |"
        for row in result["rows"]
    ]
    return [
        "## Photographs",
        "",
        *paragraph(
            f"Gaussian noise of σ = {result['sigma']:g}/255, clipped to [0, 1] and kept as 8 bits, on colour "
            "photographs of scikit-image that were not trained on; PSNR in dB, means over pictures, then each; "
            f"seconds for all. aectl: `network=unet`, one run, {result['training_minutes']:g} min of training by the "
            f"clock, threads={result['threads']}; its CPU time was not kept. Of five photographs and one seed "
            "nothing follows about differences as small as that between BM3D and aectl, which PSNR and SSIM put in "
            "opposite orders. How the settings were chosen was not written down, so a look at these photographs "
            "cannot be excluded. Made by `benchmarks/photographs.py`, which names the photographs and the commands."
        ),
        f"| method | PSNR | SSIM | {' | '.join(names)} | s |",
        "|" + "---|" * (4 + len(names)),
        *rows,
        "",
        "![crops of three photographs](gallery/photographs.png)",
        "",
    ]
