"""The rules of the house that a program can check, the wheel, and the speed of the first answer."""

import ast
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from aectl.commands.table import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "aectl"
MODULES = sorted(PACKAGE.rglob("*.py"))
# From what a user types down to what everybody stands on: an import goes down, or stays in its wing.
WINGS = (
    "__main__", "sklearn", "api", "cli", "commands", "training", "drawing", "measuring", "runs", "data", "coding",
    "models", "files", "settings", "machine",
)  # fmt: skip
GROUND = len(WINGS)  # errors, storage, rng, ...: modules that stand in no wing


def name_of(path: Path) -> str:
    """A module's name without that of the package: `models.likelihoods`, `models` for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


NAMES = {name_of(path) for path in MODULES} - {""}
OWN = {
    name_of(path): ({one.removeprefix("aectl.") for one in imports(path)} & NAMES) - {name_of(path)}
    for path in MODULES
    if name_of(path)
}
# `from aectl.data import images` names the wing and the module, and means the module.
OWN = {
    name: {one for one in targets if not any(other.startswith(one + ".") for other in targets)}
    for name, targets in OWN.items()
}


def height(name: str) -> int:
    """The place of a module's wing in `WINGS`."""
    wing = name.partition(".")[0]
    return WINGS.index(wing) if wing in WINGS else GROUND


@pytest.mark.parametrize(
    ("library", "owners"),
    [("hydra", {"cli"}), ("omegaconf", {"cli"}), ("tensorboard", {"runs.tracking"}),
     ("torch.utils.tensorboard", {"runs.tracking"}), ("safetensors", {"runs.checkpoint"}),
     ("constriction", {"coding.stack"}),
     ("onnx", {"runs.exporting"}), ("onnxscript", {"runs.exporting"}), ("onnxruntime", {"runs.exporting"}),
     ("matplotlib", {"drawing.plots"}), ("jinja2", {"drawing.pages.filling"}),
     ("torchvision", {"data.datasets._torchvision"}),
     ("tifffile", {"files.pictures.tiff", "files.pictures.tiff_writing"}),
     ("imagecodecs", {"files.pictures.decoding", "files.pictures.encoding"}),
     ("importlib.metadata", {"installed", "commands.doctor"}),
     ("pickle", set())],
)  # fmt: skip
def test_each_library_has_its_owner(library, owners):
    users = {
        name_of(path)
        for path in MODULES
        if any(name == library or name.startswith(library + ".") for name in imports(path))
    }
    assert not {user for user in users if not {user, user.partition(".")[0]} & owners}


def test_arrows_point_down():
    """No module imports, at its top or inside a function, one of a wing above its own."""
    assert not [(name, to) for name, targets in OWN.items() for to in targets if height(to) < height(name)]


def test_every_folder_is_a_wing_and_says_what_lives_there():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(WINGS) - {"__main__", "sklearn", "api"}
    for path in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_arrows_make_no_circle():
    """No module reaches itself, and no wing another that reaches it: `test_arrows_point_down` has the second."""

    def reaches(start: str, seen: set[str]) -> set[str]:
        for target in OWN[start] - seen:
            seen.add(target)
            reaches(target, seen)
        return seen

    assert not [name for name in OWN if name in reaches(name, set())]


def test_nothing_in_a_file_can_name_code():
    """No pickle, no evaluation of text, no object made from a name in a file."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "compile", "__import__"), path
                assert name not in ("torch.load", "torch.save", "yaml.load", "yaml.unsafe_load"), path
                assert not name.endswith(("instantiate", "import_module")), path
        assert "_target_" not in path.read_text(), path


def test_no_local_name_hides_a_module_or_a_function_of_its_file():
    """What is read as one thing must not be another three lines below."""
    found = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        known = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aectl"):
                wing = node.module.removeprefix("aectl").removeprefix(".")
                known |= {a.asname or a.name for a in node.names if f"{wing}.{a.name}".strip(".") in NAMES}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for node in ast.walk(function):
                name = node.arg if isinstance(node, ast.arg) else None
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    name = node.id
                found += [(name_of(path), function.name, name)] if name in known else []
    assert not found


def test_every_file_is_written_by_storage():
    """So that it is whole or not there, and an error names it; TensorBoard and the log have writers of their own."""
    for path in MODULES:
        if name_of(path) == "storage":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in ("write_text", "write_bytes", "savefig", "to_csv", "imsave"), path
                owner = ast.unparse(node.func.value)
                if node.func.attr == "save" and owner not in ("checkpoint", "safetensors.torch"):
                    assert "buffer" in map(ast.unparse, node.args), path


OF_OUR_CONFIGS = {"cli.described", "cli.groups", "runs.defaults"}  # who reads YAML that nobody else has written
PARSERS = {"json": {"load", "loads", "JSONDecoder"}, "tomllib": {"load", "loads"},
           "yaml": {"safe_load", "safe_load_all", "parse", "compose", "compose_all", "scan"}}  # fmt: skip


def test_json_and_yaml_are_read_by_one_module():
    """So that the limits hold for every file that anybody may have written."""
    users = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                used = {(node.value.id, node.attr)}
            elif isinstance(node, ast.ImportFrom):
                used = {(node.module, one.name) for one in node.names}
            else:
                continue
            users |= {name_of(path) for library, name in used if name in PARSERS.get(library, ())}
    assert users == {"plain", *OF_OUR_CONFIGS}


def test_files_of_runs_are_read_by_storage():
    """It opens nothing but files, and reads no more than they may have."""
    found = []
    for path in MODULES:
        wing = name_of(path).partition(".")[0]
        if wing in ("runs", "training", "measuring") and name_of(path) not in OF_OUR_CONFIGS:
            nodes = ast.walk(ast.parse(path.read_text()))
            attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
            found += [(name_of(path), name) for name in ("read_text", "read_bytes") if name in attributes]
    assert not found


def test_what_is_known_of_commands_before_one_runs_needs_no_torch_and_no_hydra():
    code = "import sys, aectl.commands.table; print(*sys.modules)"
    assert not {"torch", "hydra", "omegaconf", "numpy"} & set(run(sys.executable, "-c", code).stdout.split())


def run(*args: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(args, capture_output=True, text=True, timeout=120, **more)


def test_help_answers_without_torch_or_hydra():
    code = (
        "import sys, aectl.cli.main; sys.argv[1:] = ['--help']\ntry: aectl.cli.main.main()\nexcept SystemExit: pass\n"
    )
    code += "print(sorted({'torch', 'hydra', 'numpy', 'yaml'} & set(sys.modules)))"
    done = run(sys.executable, "-c", code)
    assert done.stdout.rstrip().endswith("[]"), done.stdout


@pytest.mark.slow
def test_it_starts_where_the_system_is_not_posix(tmp_path):
    """Without what Windows lacks every module is imported, every command's help printed, and a run trained."""
    names = sorted(f"aectl.{name}" for name in NAMES - {"__main__"})
    code = f"""
import importlib, os, signal, sys
import filelock, psutil, torch  # which know where they are
sys.modules["fcntl"] = None
for name in ("sysconf", "sched_getaffinity", "fork"):
    delattr(os, name)
for name in ("SIGHUP", "SIGPIPE"):
    delattr(signal, name)
for name in {names}:
    importlib.import_module(name)
from aectl.cli.main import main
lines = [["--help"], *([name, "--help"] for name in {sorted(COMMANDS)})]
for line in [*lines, ["train", "experiment=smoke", "epochs=1", "device=cpu", "figures_every=0", "hydra.run.dir=run"]]:
    try:
        main(line)
    except SystemExit as end:
        assert not end.code, line
"""
    done = run(sys.executable, "-W", "ignore", "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("aectl ") > len(COMMANDS)


@pytest.mark.parametrize(
    ("line", "expected"),
    [("aectl tr", "train"), ("aectl train model=", "model=vae"), ("aectl train dataset=mn", "dataset=mnist5k"),
     ("aectl eval che", "checkpoint=")],
)  # fmt: skip
def test_completion_knows_commands_choices_and_settings(line, expected):
    env = {**os.environ, "COMP_LINE": line}
    done = run(sys.executable, "-m", "aectl", "-sc", "query=bash", env=env)
    assert expected in done.stdout.split(), done


@pytest.mark.parametrize(
    ("line", "group"), [("aectl eval n", "noise="), ("aectl eval mo", "model="), ("aectl train c", "common=")]
)
def test_completion_offers_no_choice_that_the_command_has_not(line, group):
    env = {**os.environ, "COMP_LINE": line}
    assert group not in run(sys.executable, "-m", "aectl", "-sc", "query=bash", env=env).stdout.split()


def test_completion_can_be_installed():
    done = run(sys.executable, "-m", "aectl", "-sc", "install=bash")
    assert done.returncode == 0
    assert "hydra_bash_completion" in done.stdout


def test_the_wheel_carries_its_configs_and_works_from_any_folder(tmp_path):
    build = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT))
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.glob("*.whl")
    home = tmp_path / "env"
    venv.create(home, system_site_packages=False, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    shutil.unpack_archive(wheel, site, "zip")
    # The dependencies of this environment, without the source checkout that is installed here.
    here = next(Path(path) for path in sys.path if (Path(path) / "omegaconf").is_dir())
    (site / "dependencies.pth").write_text(str(here))
    python, env = home / "bin/python", {"PATH": os.environ["PATH"]}
    where = run(str(python), "-c", "import aectl; print(aectl.__file__)", cwd=tmp_path, env=env)
    assert str(site) in where.stdout, where
    done = run(str(python), "-m", "aectl", "train", "--cfg", "job", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "name: mnist5k" in done.stdout
