"""Packages as an installer leaves them: their files, and beside them the metadata that says what they offer."""

from collections.abc import Mapping
from pathlib import Path

FOG = """
from dataclasses import dataclass
from typing import Annotated, ClassVar

from aectl.data.noise import Noise
from aectl.models.networks.mlp import Mlp
from aectl.settings.choices import Range


@dataclass(frozen=True, kw_only=True)
class Fog(Noise):
    name: ClassVar[str] = "fog"
    levels: ClassVar = ({"density": 0.3},)
    mixed: ClassVar = {"density": 0.3}
    density: Annotated[float, Range(0, 1)]

    def corrupt(self, x, generator):
        return (1 - self.density) * x + self.density


@dataclass(frozen=True, kw_only=True)
class Deep(Mlp):
    name: ClassVar[str] = "deep"
    times: Annotated[int, Range(1, 9)]

    def layers(self, shape, outputs, latent):
        return Mlp(hidden=self.hidden * self.times).layers(shape, outputs, latent)


class Bare(Noise):
    name = "bare"
    density: float


THING = 3
"""
FOG_YAML = "# White.\nname: fog\ndensity: 0.5 # how much of it\nclip: true\n"
DEEP_YAML = """# The hidden layers several times.
name: deep
hidden: [16]
decoder_hidden: null
activation: relu
output_bias: default
init: default
times: 2
"""
WEATHER = {
    "aectl_weather/__init__.py": FOG,
    "aectl_weather/configs/noise/fog.yaml": FOG_YAML,
    "aectl_weather/configs/network/deep.yaml": DEEP_YAML,
}
OFFERED = {"noise.fog": "aectl_weather:Fog", "network.deep": "aectl_weather:Deep"}


def install(site: Path, project: str, files: Mapping[str, str], offered: Mapping[str, str]) -> None:
    """Put version 1.0 of `project` into `site`: `files` by their paths, and what it offers by `<group>.<name>`."""
    info = f"{project.replace('-', '_')}-1.0.dist-info"
    lines = [f"{name} = {value}" for name, value in offered.items()]
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n",
        f"{info}/entry_points.txt": "\n".join(["[aectl.choices]", *lines, ""]),
    }
    for name, text in {**files, **metadata}.items():
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
