"""Choices that installed packages offer: listed everywhere, imported where one is used, refused in one line."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SMALL
from packages import FOG_YAML, OFFERED, WEATHER, install

from aectl import installed
from aectl.data.noise import NOISES, Gaussian, Mixture
from aectl.errors import CheckpointError, ConfigError
from aectl.measuring import robustness
from aectl.models.networks.table import NETWORKS
from aectl.runs import checkpoint, opening
from aectl.runs.layout import checkpoints_of

pytestmark = pytest.mark.usefixtures("without_pictures")

RUN = "hydra.run.dir=r"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install packages for one test."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)

    def now(project: str, files: dict[str, str], offered: dict[str, str]) -> None:
        install(site, project, files, offered)
        installed._all.cache_clear()

    yield now
    installed._all.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("aectl_"):
            del sys.modules[name]


@pytest.fixture
def weather(put) -> None:
    put("aectl-weather", WEATHER, OFFERED)


def run(site: Path, folder: Path, *args: str, **more: str) -> subprocess.CompletedProcess:
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)]),
        "AECTL_CACHE": str(folder / "cache"),
        **more,
    }
    return subprocess.run(args, capture_output=True, text=True, timeout=120, cwd=folder, env=env)


@pytest.mark.slow
def test_the_command_trains_with_a_packages_noise_and_network_and_measures_the_run(tmp_path):
    site = tmp_path / "site"
    install(site, "aectl-weather", WEATHER, OFFERED)
    aectl = [sys.executable, "-m", "aectl"]
    chosen = ["noise=fog", "noise.density=0.3", "network=deep", "network.times=3"]
    trained = run(site, tmp_path, *aectl, "train", *chosen, *SMALL, "hydra.run.dir=run")
    assert trained.returncode == 0, trained.stderr
    measured = run(site, tmp_path, *aectl, "eval", "run=run", "device=cpu", "threads=1")
    assert measured.returncode == 0, measured.stderr
    saved, _ = checkpoint.newest(checkpoints_of(tmp_path / "run"))
    assert saved.config["train"]["noise"] == {"name": "fog", "clip": True, "density": 0.3}
    assert saved.config["train"]["network"]["times"] == 3
    # experiment=smoke has one hidden layer, of 64.
    shapes = [tuple(weight.shape) for name, weight in saved.model.items() if "encoder" in name and weight.ndim == 2]
    assert shapes.count((64, 64)) == 2


LISTS = """
import os, sys
from aectl.cli.main import main
try:
    main({args})
except SystemExit as end:
    assert not end.code
print(sorted({{"torch", "aectl_weather"}} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("args", "line", "shown"),
    [(["train", "--help"], "", "none (default), blocks, blur, fog, gaussian"),
     (["train", "noise=fog", "--help"], "", "noise.density      0.5 "),
     (["-sc", "query=bash"], "aectl train noise=f", "noise=fog"),
     (["-sc", "query=bash"], "aectl train noise=fog noise.d", "noise.density=")],
)  # fmt: skip
def test_help_and_completion_list_them_and_import_neither_the_package_nor_torch(tmp_path, args, line, shown):
    site = tmp_path / "site"
    install(site, "aectl-weather", WEATHER, OFFERED)
    listed = run(site, tmp_path, sys.executable, "-c", LISTS.format(args=args), COMP_LINE=line)
    assert listed.returncode == 0, listed.stderr
    assert shown in listed.stdout
    assert listed.stdout.rstrip().endswith("[]")


@pytest.mark.usefixtures("weather")
def test_names_are_known_without_an_import_and_a_class_when_it_is_asked_for(tmp_path):
    assert list(NOISES)[-1] == "fog"
    assert list(NETWORKS)[-1] == "deep"
    assert len(NOISES) == len(NOISES.choices) + 1
    assert NOISES.read({"name": "gaussian", "sigma": 0.5}) == Gaussian(sigma=0.5)
    Mixture(kinds=["gaussian"])
    with pytest.raises(KeyError):
        NOISES["frog"]
    assert installed.folders().keys() == {tmp_path / "site/aectl_weather/configs"}
    assert "aectl_weather" not in sys.modules
    fog = NOISES.read({"name": "fog", "density": 0.25, "clip": True})
    assert fog.to_plain() == {"name": "fog", "clip": True, "density": 0.25}
    assert type(fog) is NOISES["fog"]
    assert fog in [kind(density=0.25) for kind in NOISES.usable() if kind.name == "fog"]
    assert Mixture(kinds=["fog"]).kinds == ["fog"]


@pytest.mark.usefixtures("weather")
def test_what_is_wrong_with_its_name_and_settings_is_said_as_for_every_choice(aectl):
    assert "did you mean 'fog'?" in aectl("train", "noise=fogg").err
    assert "noise.density=2.0: must be a number of at least 0 and at most 1" in aectl(
        "train", "noise=fog", "noise.density=2").err  # fmt: skip
    refused = aectl("train", "noise=fog", "noise.p=1")
    assert "noise.p: no such setting of noise=fog" in refused.err


# What a package may do wrong, as what it offers, and what the refusal says beside the choice and the package.
WRONG = {
    "its name is ours": ("noise.gaussian", "aectl_weather:Fog", "is aectl's own"),
    "no such module": ("noise.x", "aectl_rain:Rain", "cannot be imported (ModuleNotFoundError: No module"),
    "no such class": ("noise.x", "aectl_weather:Rain", "cannot be imported (AttributeError"),
    "its module fails": ("noise.x", "aectl_weather.broken:Fog", "cannot be imported (ZeroDivisionError"),
    "of another kind": (
        "likelihood.fog",
        "aectl_weather:Fog",
        "is no subclass of aectl.models.likelihoods.",
    ),
    "no class": ("noise.x", "aectl_weather:THING", "is no subclass of aectl.data.noise.Noise"),
    "a module": ("noise.x", "os", "is no subclass of aectl.data.noise.Noise"),
    "another name": ("noise.x", "aectl_weather:Fog", "has the name 'fog'"),
    "no dataclass": ("noise.bare", "aectl_weather:Bare", "is no dataclass"),
    "nonsense": ("noise.x", "a b c", "cannot be imported"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_package_that_offers_something_wrong_is_named_where_that_is_chosen_and_nowhere_else(aectl, put, case):
    entry, value, says = WRONG[case]
    group, _, name = entry.partition(".")
    files = {
        "aectl_weather/broken.py": "1 / 0\n",
        f"aectl_weather/configs/{group}/{name}.yaml": f"name: {name}\n",
    }
    put("aectl-weather", {**WEATHER, **files}, {entry: value, "noise.fog": "aectl_weather:Fog"})
    assert {kind.name for kind in NOISES.usable()} == {*NOISES.choices, "fog"}
    refused = aectl("train", f"{group}={name}", *SMALL)
    assert refused.status == 2
    (line,) = refused.err.strip().splitlines()
    assert line.startswith(f"aectl: {group}={name}: ")
    assert says in line
    assert "aectl-weather 1.0" in line
    assert "uninstall" in line
    assert NOISES.read({"name": "fog", "density": 0.5}).name == "fog"
    assert NOISES.read({"name": "masking", "p": 0.5}).name == "masking"


def test_two_packages_with_one_name_are_both_named(aectl, put):
    put("aectl-weather", WEATHER, OFFERED)
    put("aectl-mist", {"aectl_mist/__init__.py": ""}, {"noise.fog": "aectl_mist:Fog"})
    refused = aectl("train", "noise=fog", *SMALL).err
    assert "noise=fog: is offered by " in refused
    assert "aectl-weather 1.0" in refused
    assert "aectl-mist 1.0" in refused
    assert NETWORKS.read({"name": "deep", "hidden": [3], "times": 1}).name == "deep"


@pytest.mark.parametrize(
    ("files", "says"),
    [({}, "noise=fog: aectl-weather 1.0 offers it without its settings; it needs configs/noise/fog.yaml beside"),
     ({"aectl_weather/configs/noise/fog.yaml": "name: [fog\n"}, "{site}/aectl_weather/configs/noise/fog.yaml: "),
     ({"aectl_weather/configs/noise/fog.yaml": "density: 1\n"}, "noise: must be a choice with its name"),
     ({"aectl_weather/configs/noise/fog.yaml": "name: fog\n"}, "noise.density=null: noise=fog needs it")],
)  # fmt: skip
def test_a_yaml_file_that_is_missing_or_wrong_is_said(aectl, put, tmp_path, files, says):
    put("aectl-weather", {"aectl_weather/__init__.py": WEATHER["aectl_weather/__init__.py"], **files}, OFFERED)
    refused = aectl("train", "noise=fog", *SMALL)
    assert refused.status == 2
    (line,) = refused.err.strip().splitlines()
    assert line.startswith("aectl: " + says.replace("{site}", str(tmp_path / "site")))
    assert aectl("train", "noise=gaussian", "--cfg", "job").status == 0


def test_a_yaml_file_of_a_package_hides_none_of_ours(aectl, put):
    own = {
        "aectl_weather/configs/noise/gaussian.yaml": "name: fog\n",
        "aectl_weather/configs/train.yaml": "latent: 9\n",
    }
    put("aectl-weather", {**WEATHER, **own}, OFFERED)
    shown = aectl("train", "noise=gaussian", "--cfg", "job").out
    assert "name: gaussian" in shown
    assert "latent: 2" in shown


def test_a_yaml_file_lies_beside_the_module_that_has_the_class(aectl, put):
    deeper = {"aectl_parts/__init__.py": "", "aectl_parts/noises/__init__.py": "",
              "aectl_parts/noises/fog.py": WEATHER["aectl_weather/__init__.py"],
              "aectl_parts/noises/configs/noise/fog.yaml": FOG_YAML}  # fmt: skip
    put("aectl-parts", deeper, {"noise.fog": "aectl_parts.noises.fog:Fog"})
    assert "density: 0.3" in aectl("train", "noise=fog", "noise.density=0.3", "--cfg", "job").out
    assert "aectl_parts" not in sys.modules


STRINGS = [
    "os.system",
    "aectl_weather:Fog",
    "aectl_weather",
    "aectl_weather.Fog",
    "noise.fog",
    "../fog",
    "fog:Fog",
    "",
]


@pytest.mark.usefixtures("weather")
@pytest.mark.parametrize("name", STRINGS)
def test_no_string_in_a_configuration_or_a_checkpoint_imports_anything(aectl, small_run, tmp_path, name):
    saved, _ = checkpoint.newest(checkpoints_of(small_run))
    before = set(sys.modules)
    for group, table in (("noise", NOISES), ("network", NETWORKS)):
        with pytest.raises(ConfigError, match="no such choice"):
            table.read({"name": name, "density": 0.5})
        train = {**saved.config["train"], group: {"name": name}}
        path = checkpoint.save(tmp_path / group, 0, saved.model, {**saved.config, "train": train}, {}, saved.state)
        with pytest.raises(CheckpointError, match="no such choice"):
            opening.read_config(checkpoint.load(path))
    assert set(sys.modules) == before
    refused = aectl("train", f"noise.name={name!r}", *SMALL)
    assert refused.status == 2
    assert len(refused.err.strip().splitlines()) == 1
    assert "aectl_weather" not in sys.modules


@pytest.mark.pictures
@pytest.mark.usefixtures("weather")
def test_a_run_goes_on_is_measured_and_sampled_from_until_the_package_is_gone(aectl, monkeypatch):
    monkeypatch.setattr(robustness, "IMAGES", 2)
    assert aectl("train", "model=dae", "noise=fog", *SMALL, "epochs=1", "figures_every=0", RUN).status == 0
    commands = [["train", "resume=r", "epochs=2", "threads=1"], ["sample", "run=r", "n=2", "threads=1"],
                ["eval", "run=r", "robustness=true", "threads=1"]]  # fmt: skip
    assert "noise=fog (aectl-weather 1.0)" in aectl("doctor").out
    for command in commands:
        done = aectl(*command)
        assert done.status == 0, done.err
    assert any("fog" in line and "0.3" in line for line in done.out.splitlines())
    monkeypatch.setattr(installed, "names", lambda group: [])
    monkeypatch.setattr(installed, "offers", lambda group, name: [])
    for command in commands:
        refused = aectl(*command)
        assert refused.status == 4
        (line,) = refused.err.strip().splitlines()
        assert "noise.name=fog: no such choice" in line
        assert line.endswith("; a package that is not installed here may have offered it")
