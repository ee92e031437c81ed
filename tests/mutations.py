"""Seeded defects (`defects.py`): each is applied to a copy of the project, where some test must then fail.

    python tests/mutations.py                every defect; prints the table
    python tests/mutations.py --only 3 27    some of them
    python tests/mutations.py --only checkpoint   those of a module

A defect that no test notices is a hole in the tests, and the script exits with 1. Tests run in processes that are
forked from one which has imported torch and the other libraries; so most defects take a second or two.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from defects import DEFECTS, Defect

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = [
    "torch", "torch.utils.tensorboard", "hydra", "hydra._internal.hydra", "omegaconf", "pytest",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.linear_model", "sklearn.mixture",
    "sklearn.neighbors", "sklearn.decomposition", "scipy.stats", "scipy.ndimage", "skimage.metrics",
    "skimage.restoration", "safetensors.torch", "PIL.Image",
]  # fmt: skip
HANGS = 60  # seconds after which tests are taken to hang
LONGEST = 600  # seconds for those that should not


def copied(defect: Defect, folder: Path) -> Path:
    """A copy of the project with the defect."""
    copy = folder / "project"
    ignored = shutil.ignore_patterns(".venv", ".git", "outputs", "docs", "benchmarks", "dist", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    path = copy / "aectl" / defect.module
    text = path.read_text()
    if text.count(defect.right) != 1:
        raise SystemExit(f"{defect.what}: its words stand {text.count(defect.right)} times in {defect.module}")
    path.write_text(text.replace(defect.right, defect.wrong))
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()  # or it might be taken for that of the new text
    return copy


def run_tests(copy: Path, tests: str) -> None:
    """In a process of its own: the tests in the copy, their output to a file beside it; exits with their status."""
    import pytest

    os.chdir(copy)
    sys.path.insert(0, str(copy))
    os.environ |= {"PYTHONPATH": str(copy), "COLUMNS": "300"}  # so wide that reasons are not cut
    with (copy.parent / "output").open("wb") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    file, *selection = tests.split(" ")
    options = ["-x", "-q", "-n", "0", "-m", "", "-p", "no:cacheprovider", f"--basetemp={copy.parent / 'tmp'}"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # hydra has a plugin, and is there already
    sys.exit(pytest.main([*options, f"tests/{file}", *selection]))


def noticed(defect: Defect) -> tuple[bool, str, float]:
    """Whether a test notices; which, and what it says; and how many seconds it took."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        copy = copied(defect, Path(folder))
        began = time.perf_counter()
        process = multiprocessing.get_context("forkserver").Process(target=run_tests, args=(copy, defect.tests))
        process.start()
        process.join(HANGS if defect.hangs else LONGEST)
        seconds = time.perf_counter() - began
        if process.exitcode is None:
            process.kill()
            return defect.hangs, "they do not end", seconds
        output = (Path(folder) / "output").read_text(errors="replace")
        if process.exitcode == 0:
            return False, f"**MISSED** by `{defect.tests}`", seconds
        # FAILED tests/test_x.py::test_y - AssertionError: ...
        failed = re.search(r"^(?:FAILED|ERROR) tests/\S+?::(.+?)(?: - (.*))?$", output, re.MULTILINE)
        if process.exitcode != 1 or failed is None:
            print(f"{defect.what}: the tests did not run\n{output[-4000:]}", file=sys.stderr)
            return False, f"**DID NOT RUN** to their end, exit code {process.exitcode}: `{defect.tests}`", seconds
        name, reason = failed.groups()
        return True, f"`{name}`: {(reason or '').replace('|', '¦')[:60]}", seconds


def chosen(words: list[str]) -> Iterator[int]:
    """Numbers of the defects that `--only` names by number or module; without it of all."""
    for number, defect in enumerate(DEFECTS):
        if not words or str(number) in words or Path(defect.module).stem in words:
            yield number


def main() -> None:
    """Apply the defects, as many at a time as there are cores, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="N", help="numbers or modules")
    numbers = list(chosen(parser.parse_args().only))
    os.environ["OMP_NUM_THREADS"] = "1"  # before torch starts
    multiprocessing.get_context("forkserver").set_forkserver_preload(LIBRARIES)
    print("| # | defect | module | noticed by | seconds |\n|---|---|---|---|---|")
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda n: noticed(DEFECTS[n]), numbers)
        for number, (is_noticed, verdict, seconds) in zip(numbers, results, strict=True):
            defect = DEFECTS[number]
            missed += not is_noticed
            print(f"| {number} | {defect.what} | `{defect.module}` | {verdict} | {seconds:.1f} |", flush=True)
    print(f"\n{len(numbers) - missed} of {len(numbers)} noticed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
