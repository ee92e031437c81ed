"""Make every picture and figure of the lecture and of the README by the commands of their pages: `make gallery`.

    python benchmarks/gallery.py            # all of it, afresh
    python benchmarks/gallery.py 5 7        # these pages of the lecture, from the runs that are there

The commands run in build/gallery, one after another, with one thread. Pictures get a palette, which makes them small.
Photographs have scripts of their own, benchmarks/photographs.py and benchmarks/pairs.py.
"""

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pages import Figure, Folder, parts, walk
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
LECTURE = ROOT / "docs/lecture"
FIGURES = LECTURE / "figures.json"
SCRATCH = ROOT / "build/gallery"
MOST = 3_000_000  # bytes of all pictures of the lecture


def lecture() -> list[Path]:
    """Its pages in their order."""
    return sorted(LECTURE.glob("[0-9]*.md"))


def small(path: Path, colours: int = 128) -> bytes:
    """A picture as a PNG with a palette that covers all of its colours, the rare ones of points and lines too."""
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    plain = rgb.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def clear(folder: Path, names: set[str]) -> None:
    """Take away what pages left beside their runs, and runs of these names, of which there shall be one."""
    beside = [path for path in folder.iterdir() if path.name not in ("outputs", "cache")]
    for path in [*beside, *(run for name in names for run in folder.glob(f"outputs/train/*_{name}_*"))]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def make(page: Path, folder: Folder) -> list[tuple[str, float | str]]:
    """Run a page; its pictures and its figures are new afterwards. The figures, as they were found."""
    text = page.read_text(encoding="utf-8")
    clear(folder.path, set(re.findall(r"\bname=(\w+)", text)))
    before, began = _computed(), time.monotonic()

    def run(line: str) -> str:
        print(f"$ {line}", flush=True)
        printed = _run(line, folder.path)
        folder.seconds = _computed() - before
        return printed

    walked = walk(text, folder, run)
    for place, source in walked.pictures.items():
        target = page.parent / place
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(small(source))
    page.write_text(walked.text, encoding="utf-8")
    clock = time.monotonic() - began
    print(f"{page.relative_to(ROOT)}: {folder.seconds:.0f} s of a core, {clock:.0f} s by the clock", flush=True)
    return walked.figures


def fill_in_times(page: Path, known: dict[str, list[tuple[str, float | str]]]) -> None:
    """The first page has the seconds of the others: `seconds of 4-vae`."""
    text = page.read_text(encoding="utf-8")
    for part in reversed([part for part in parts(text) if isinstance(part, Figure)]):
        begin, end = part.span
        seconds = dict(known[f"{part.key.removeprefix('seconds of ')}.md"])["seconds"]
        text = text[:begin] + part.shown(seconds) + text[end:]
    page.write_text(text, encoding="utf-8")


def _run(line: str, folder: Path) -> str:
    """What a command prints, with one thread; it ends everything where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "AECTL_CACHE": str(folder / "cache"), "MPLBACKEND": "Agg"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(line, shell=True, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{line}\n{done.stdout}{done.stderr}\nexit code {done.returncode}")
    return done.stdout + done.stderr


def _computed() -> float:
    """Seconds that cores have computed for the commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(numbers: list[str]) -> None:
    """Make all pages, or those of the lecture with these numbers."""
    pages = [*lecture(), ROOT / "docs/gallery/README.md"]
    if numbers:
        pages = [page for page in lecture() if page.name.partition("-")[0].lstrip("0") in numbers]
    elif SCRATCH.exists():
        shutil.rmtree(SCRATCH)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    known = json.loads(FIGURES.read_text()) if numbers and FIGURES.exists() else {}
    for page in pages:
        found = make(page, Folder(SCRATCH))
        if page.parent == LECTURE:
            known[page.name] = found
    fill_in_times(LECTURE / "README.md", known)
    FIGURES.write_text(json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")
    size = sum(path.stat().st_size for path in (LECTURE / "pictures").iterdir())
    print(f"pictures of the lecture: {size / 1e6:.2f} MB")
    if size > MOST:
        sys.exit(f"more than {MOST / 1e6:g} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
