"""docs/choices.md word for word: its files and commands, in a copy of the source tree and as a package."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs/choices.md").read_text(encoding="utf-8")
FENCED = re.compile(r"((?:[^\n]+\n)+)\n```(?:python|yaml|toml)\n(.*?)```\n", re.DOTALL)
FILE = re.compile(r"`([\w./-]+\.(?:py|yaml|toml))`")
ENTRY = re.compile(r"Its name, `(\w+)`, goes to the end of the classes in `(\w+)` at the foot of `([^`]+)`(.*)")
IMPORT = re.compile(r", with `([^`]+)` above")
COMMANDS = re.compile(r"```sh\n(.*?)```", re.DOTALL)

# One process for the commands of a section: each start of Python would cost seconds.
COMMAND = """
import shlex, sys
from aectl.cli.main import main
for line in sys.argv[1:]:
    try:
        main(shlex.split(line)[1:])
    except SystemExit as end:
        if end.code:
            sys.exit(f"{line}: {end.code}")
"""


def section(title: str) -> str:
    """The text below a heading, up to the next of its level or above; `# ` alone is a comment in a file."""
    mark, _, _ = title.partition(" ")
    after = TEXT.partition(f"{title}\n")[2]
    assert after, title
    return re.split(rf"^#{{2,{len(mark)}}} ", after, flags=re.MULTILINE)[0]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def follow(text: str, folder: Path) -> set[str]:
    """Do in `folder` what a section says; the files that this has made or changed."""
    before = contents(folder)
    entries = {path: (name, table, rest) for name, table, path, rest in ENTRY.findall(" ".join(text.split("\n")))}
    for before_it, block in FENCED.findall(text):
        path = FILE.findall(before_it)[-1]
        place = folder / path
        if path in entries:
            assert "above its table" in before_it
            lines = place.read_text(encoding="utf-8").splitlines(keepends=True)
            start = table_in(place, entries[path][1]).lineno - 1
            while lines[start - 1].startswith("#"):
                start -= 1
            place.write_text("".join([*lines[:start], block, "\n\n", *lines[start:]]), encoding="utf-8")
        else:
            assert not place.exists()
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block, encoding="utf-8")
    for path, (name, table, rest) in entries.items():
        place = folder / path
        last = table_in(place, table).value.args[-1]
        lines = place.read_text(encoding="utf-8").splitlines(keepends=True)
        line = lines[last.end_lineno - 1]
        assert line.isascii()  # as columns count bytes
        lines[last.end_lineno - 1] = f"{line[: last.end_col_offset]}, {name}{line[last.end_col_offset :]}"
        if with_it := IMPORT.match(rest):
            first = next(number for number, one in enumerate(lines) if one.startswith("from "))
            lines.insert(first, f"{with_it[1]}\n")
        place.write_text("".join(lines), encoding="utf-8")
    after = contents(folder)
    return {path for path in after if after[path] != before.get(path)}


def table_in(place: Path, name: str) -> ast.Assign:
    tree = ast.parse(place.read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name]
    return found


def run(*args: str, path: list[Path], cwd: Path) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "AECTL_CACHE": str(cwd / "cache")}
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=300, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands(text: str) -> list[str]:
    return [line for block in COMMANDS.findall(text) for line in block.splitlines()]


@pytest.mark.parametrize(
    ("title", "touched", "setting"),
    [("### A class, its name in the table, a YAML file", {"aectl/data/noise.py", "configs/noise/fog.yaml"},
      "density: 0.3"),
     ("### A network", {"aectl/models/networks/siren.py", "aectl/models/networks/table.py",
                        "configs/network/siren.yaml"}, "frequency: 3.0")],
)  # fmt: skip
def test_a_choice_is_added_to_a_clone_as_the_page_says(tmp_path, title, touched, setting):
    clone = tmp_path / "clone"
    for name in ("aectl", "configs"):
        shutil.copytree(ROOT / name, clone / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", clone)
    assert follow(section(title), clone) == touched
    code = [str(clone / path) for path in touched if path.endswith(".py")]
    run(
        "-m", "ruff", "check", "--quiet", "--fix", *code, path=[], cwd=clone
    )  # `make format`, for the order of imports
    run("-m", "ruff", "format", "--quiet", "--check", *code, path=[], cwd=clone)
    lines = [f"{line} device=cpu epochs=1 figures_every=0" for line in commands(section(title))]
    assert len(lines) == 1
    run("-c", COMMAND, *lines, path=[clone], cwd=tmp_path)
    (saved,) = tmp_path.glob("outputs/train/*/config.yaml")
    assert setting in saved.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_package_offers_a_choice_as_the_page_says(tmp_path):
    text = section("## Without a clone")
    touched = follow(text, tmp_path)
    assert touched == {
        "aectl-fog/pyproject.toml", "aectl-fog/aectl_fog/__init__.py", "aectl-fog/aectl_fog/configs/noise/fog.yaml",
    }  # fmt: skip
    first, *lines = commands(text)
    words = shlex.split(first)
    assert words[:2] == ["pip", "install"]
    # Offline, and into a folder instead of this environment.
    offline = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    site = tmp_path / "site"
    run("-m", *words, *offline, "--target", str(site), path=[ROOT], cwd=tmp_path)
    lines = [
        f"{line} device=cpu" if "eval" in line else f"{line} device=cpu epochs=1 figures_every=0" for line in lines
    ]
    out = run("-c", COMMAND, "aectl train --help", *lines, path=[ROOT, site], cwd=tmp_path)
    assert re.search(r"^  noise .*\n.*\bfog\b", out, re.MULTILINE)
    found = [path.read_text(encoding="utf-8") for path in tmp_path.glob("outputs/**/config.yaml")]
    densities = sorted(re.search(r"density: (\S+)", saved)[1] for saved in found)
    assert densities == ["0.1", "0.3", "0.5"]
    assert len(list(tmp_path.glob("outputs/eval/*/metrics.json"))) == 1
