"""`aectl export`: the folder that it leaves, whose README is run as it stands, and what it refuses."""

import dataclasses
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import replace_checkpoint
from PIL import Image

from aectl.cli.composing import composed, config_dir
from aectl.commands import export, instructions
from aectl.data.datasets.array import Array
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.noise import Gaussian
from aectl.files.pictures import decoding, fitting
from aectl.files.pictures.reading import Reading
from aectl.models.base import Model
from aectl.models.networks.mlp import Mlp
from aectl.runs import checkpoint, exporting, opening
from aectl.training import loop
from configs import of, train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")
PROGRAM = r"```python\n(.*?)```"


def picture(size, mode="L"):
    width, height = size
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values).convert(mode)


def run_readme(folder: Path, monkeypatch, image: Image.Image) -> dict:
    """The names that the README's lines leave, with `image` beside them."""
    image.save(folder / "picture.png")
    monkeypatch.chdir(folder)
    (lines,) = re.findall(PROGRAM, (folder / "README.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(compile(lines, "README.md", "exec"), found)
    return found


def model_of(run) -> Model:
    return opening.open_run(str(run), "best", CPU).model


def test_a_vae_in_onnx_is_used_by_its_readme(aectl, small_run, tmp_path, monkeypatch):
    done = aectl("export", f"run={small_run}", "output=new/out", "threads=1")
    assert done.status == 0, done.err
    assert done.err == ""
    folder = tmp_path / "new/out"
    assert {path.name for path in folder.iterdir()} == {"encoder.onnx", "decoder.onnx", "README.md", "parity.json"}
    parity = json.loads((folder / "parity.json").read_text())
    assert parity["images"] == 20
    assert parity["images_of"] == "the run's test split (synthetic)"
    assert {name: set(outputs) for name, outputs in parity["parts"].items()} == {
        "encoder": {"mu", "logvar"}, "decoder": {"x_hat"},
    }  # fmt: skip
    for outputs in parity["parts"].values():
        assert all(0 <= figures["largest_difference"] <= 1e-5 for figures in outputs.values())
    assert re.search(r"encoder\.onnx +mu [\d.e-]+, logvar [\d.e-]+\n +decoder\.onnx +x_hat [\d.e-]+\n", done.out)
    assert done.out.endswith("next:\n  cat new/out/README.md\n")
    assert "onnx_ir" not in done.out

    (lines,) = re.findall(PROGRAM, (Path(__file__).parents[2] / "docs/export.md").read_text("utf-8"), re.DOTALL)
    assert lines in (folder / "README.md").read_text()
    image = picture((28, 28))
    found = run_readme(folder, monkeypatch, image)
    x = torch.from_numpy(np.array(image))[None, None] / 255
    model = model_of(small_run)
    code = model.encode(x)
    np.testing.assert_allclose(found["mu"], code.mu.detach(), atol=1e-5)
    np.testing.assert_allclose(found["logvar"], code.logvar.detach(), atol=1e-5)
    wanted = model.decode(code.mu)[0, 0].detach().numpy()
    with Image.open("picture_again.png") as again:
        assert again.mode == "L"
        np.testing.assert_allclose(np.asarray(again) / 255, wanted, atol=0.51 / 255)


def test_an_untrained_unets_denoiser_gives_a_picture_of_any_size_back(aectl, identity, tmp_path, monkeypatch):
    done = aectl("export", f"run={identity}", "output=out", "threads=1")
    assert done.status == 0, done.err
    parity = json.loads((tmp_path / "out/parity.json").read_text())
    assert list(parity["parts"]) == ["denoiser"]
    image = picture((23, 17), "RGB")
    run_readme(tmp_path / "out", monkeypatch, image)
    with Image.open("picture_denoised.png") as denoised:
        assert denoised.mode == "RGB"
        np.testing.assert_array_equal(denoised, image)


@pytest.mark.parametrize("kind", ["pt2", "safetensors"])
def test_a_denoising_autoencoder_in_torchs_files(aectl, autoencoder, tmp_path, monkeypatch, kind):
    done = aectl("export", f"run={autoencoder}", "output=out", f"format={kind}", "threads=1")
    assert done.status == 0, done.err
    files = {f"{name}.{kind}" for name in ("encoder", "decoder", "denoiser")} | {"README.md", "parity.json"}
    config = {"config.json"} if kind == "safetensors" else set()
    assert {path.name for path in (tmp_path / "out").iterdir()} == files | config
    model, image = model_of(autoencoder), picture((10, 12))
    found = run_readme(tmp_path / "out", monkeypatch, image)
    x = torch.from_numpy(np.array(image))[None, None] / 255
    torch.testing.assert_close(found["z"], model.codes(x).detach(), rtol=0, atol=0)
    torch.testing.assert_close(found["x_hat"], model.reconstruct(x).detach(), rtol=0, atol=0)
    with Image.open("picture_again.png") as again, Image.open("picture_denoised.png") as denoised:
        np.testing.assert_array_equal(again, denoised)
        np.testing.assert_allclose(np.asarray(again) / 255, x_hat_of(model, x), atol=0.51 / 255)


def x_hat_of(model, x):
    return model.reconstruct(x)[0, 0].detach().clamp(0, 1).numpy()


def test_what_rebuilds_the_weights_says_nothing_of_data_and_places(aectl, autoencoder, tmp_path):
    assert aectl("export", f"run={autoencoder}", "output=out", "format=safetensors").status == 0
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert set(config) == {"shape", "model", "network", "likelihood", "prior", "objective", "latent"}
    assert config["shape"] == [1, 12, 10]
    for file in (tmp_path / "out").iterdir():
        assert str(autoencoder.parent).encode() not in file.read_bytes()
    with pytest.raises(ValueError, match="latent: is missing"):
        exporting.rebuilt({key: value for key, value in config.items() if key != "latent"})


# -------------------------------------------------------------------------------------- the README's lines

READMES = {
    "resize": ["dataset=folder", "dataset.fit=resize"],
    "crop": ["dataset=folder", "dataset.fit=crop"],
    "pad": ["dataset=folder", "dataset.fit=pad", "dataset.background=white"],
    "threshold": ["dataset=folder", "dataset.binarize=threshold"],
    "dynamic": ["dataset=folder", "dataset.binarize=dynamic"],
}


@pytest.fixture(scope="module")
def weights(autoencoder, tmp_path_factory) -> Path:
    """An export as safetensors, the quickest."""
    folder = tmp_path_factory.mktemp("weights")
    config = of("export", "output=x", output=str(folder / "out"), run=str(autoencoder), format="safetensors")
    export.run_export(config, folder)
    return folder / "out"


@pytest.mark.parametrize("name", READMES)
def test_the_readme_prepares_a_picture_as_the_run_has_seen_its_own(name, autoencoder, weights, monkeypatch):
    run = opening.open_run(str(autoencoder), "best", CPU)
    dataset = of("train", *READMES[name], "dataset.root=x").dataset
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, dataset=dataset))
    (weights / "README.md").write_text(instructions.text(run, run.model.parts(), "safetensors", 0.0))
    # Smooth, so that it matters little where exactly a filter begins.
    image = Image.fromarray(np.add.outer(np.arange(48) * 2, np.arange(60) * 2).astype(np.uint8))
    x = run_readme(weights, monkeypatch, image)["x"].numpy()
    seen = decoding.decode((weights / "picture.png").read_bytes(), Reading(None, 1), "picture.png")
    grey = fitting.fitted(fitting.with_channels(seen, 1, 0), (12, 10), *dataset.own_fit) / 255
    assert x.shape == (1, 1, 12, 10)
    if name == "threshold":
        np.testing.assert_array_equal(x[0], np.rint(grey * 255) > 127)
    elif name == "dynamic":
        assert set(np.unique(x)) == {0, 1}
        assert abs(x.mean() - grey.mean()) < 0.1
    else:
        np.testing.assert_allclose(x[0], grey, atol=0.03)


@pytest.mark.parametrize(
    ("words", "parts"),
    [(["noise=none"], ["encoder", "decoder"]), (["noise=gaussian"], ["encoder", "decoder", "denoiser"]),
     (["dataset=folder", "dataset.root=x", "dataset.noisy=y"], ["encoder", "decoder", "denoiser"])],
)  # fmt: skip
def test_a_run_that_has_learnt_to_denoise_has_a_denoiser(autoencoder, words, parts):
    run = opening.open_run(str(autoencoder), "best", CPU)
    run = dataclasses.replace(run, config=of("train", "model=ae", *words))
    assert list(export._parts(run)) == parts


# ----------------------------------------------------------------------------- what it is compared on


def test_a_run_whose_images_are_gone_is_compared_on_drawn_shapes(aectl, tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((30, 9, 5), np.uint8))
    dataset = Array(root=str(tmp_path / "images.npy"), val_size=5, test_size=5)
    loop.train(train_config(dataset=dataset, network=Mlp(hidden=[4]), epochs=1, figures_every=0), tmp_path / "run")
    (tmp_path / "images.npy").unlink()
    done = aectl("export", "run=run", "output=out", "format=safetensors")
    assert done.status == 0, done.err
    assert re.search(r"note: run: its test images cannot be opened .*; drawn shapes are compared instead", done.out)
    parity = json.loads((tmp_path / "out/parity.json").read_text())
    assert (parity["images"], parity["images_of"]) == (64, "drawn shapes, as of dataset=synthetic")


def off_by(error: float) -> exporting.Format:
    """A format whose files give `error` too much."""
    return exporting.Format(
        lambda part, example: b"", lambda data, fresh: lambda x: tuple(y + error for y in export.tensors(fresh(x)))
    )


def test_a_file_that_does_something_else_is_not_kept(aectl, small_run, tmp_path, monkeypatch):
    real = exporting.rebuilt
    weights = model_of(small_run).state_dict()

    def rebuilt(config):
        model = real(config)
        model.load_state_dict(weights)
        return model

    monkeypatch.setattr(exporting, "rebuilt", rebuilt)
    monkeypatch.setitem(exporting.FORMATS, "pt2", off_by(3e-4))
    refused = aectl("export", f"run={small_run}", "output=new/out", "format=pt2")
    assert refused.status == 4
    assert re.search(r"mu of encoder.pt2 differs from torch by 0.0003, and rounding explains 1e-05", refused.err)
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "new").exists()
    monkeypatch.setitem(exporting.FORMATS, "pt2", off_by(float("nan")))
    assert aectl("export", f"run={small_run}", "output=new/out", "format=pt2").status == 4
    monkeypatch.setitem(exporting.FORMATS, "pt2", off_by(8e-6))
    assert aectl("export", f"run={small_run}", "output=new/out", "format=pt2").status == 0
    parity = json.loads((tmp_path / "new/out/parity.json").read_text())
    assert parity["parts"]["decoder"]["x_hat"]["largest_difference"] == pytest.approx(8e-6, rel=0.05)


def test_a_file_right_for_sixty_four_and_wrong_for_one_is_not_kept(aectl, small_run, tmp_path, monkeypatch):
    def read(data, fresh):
        return lambda x: tuple(y * (len(x) > 1) for y in export.tensors(fresh(x)))

    model = model_of(small_run)
    monkeypatch.setattr(exporting, "rebuilt", lambda config: model)
    monkeypatch.setitem(exporting.FORMATS, "pt2", exporting.Format(lambda part, example: b"", read))
    refused = aectl("export", f"run={small_run}", "output=out", "format=pt2")
    assert refused.status == 4
    assert "differs from torch" in refused.err


def with_weights(run: Path, folder: Path, factors: dict[str, float]) -> Path:
    """A copy of the run's last checkpoint, weights that begin so multiplied."""
    saved = checkpoint.load(checkpoint.listing(run / "checkpoints")[0])
    copy = dataclasses.replace(saved, path=folder / "checkpoints" / saved.path.name)
    copy.path.mkdir(parents=True)
    model = {
        name: weight * next((factor for start, factor in factors.items() if name.startswith(start)), 1.0)
        for name, weight in saved.model.items()
    }
    replace_checkpoint(copy, model=model)
    return copy.path


@pytest.mark.parametrize(("relative", "status"), [(4e-6, 0), (3e-5, 4)])
def test_codes_of_any_scale_may_differ_in_their_last_digits(
    aectl, autoencoder, tmp_path, monkeypatch, relative, status
):
    """The same autoencoder with codes of another unit: what rounding does to them goes by their size."""
    run = with_weights(autoencoder, tmp_path / "large", {"encoder.3": 1e4, "decoder.0.weight": 1e-4})
    model = model_of(run)
    monkeypatch.setattr(exporting, "rebuilt", lambda config: model)

    def read(data, fresh):
        return lambda x: tuple(y * (1 + relative) for y in export.tensors(fresh(x)))

    monkeypatch.setitem(exporting.FORMATS, "pt2", exporting.Format(lambda part, example: b"", read))
    done = aectl("export", f"run={run}", "output=out", "format=pt2")
    assert done.status == status, done.err
    if not status:
        z = json.loads((tmp_path / "out/parity.json").read_text())["parts"]["encoder"]["z"]
        assert z["largest_value"] > 1000
        assert z["largest_difference"] == pytest.approx(relative * z["largest_value"], rel=0.05)


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [([], 2, "output=<folder>"), (["output=out", "format=onx"], 2, "did you mean 'onnx'?"),
     (["output=out", "device=cuda"], 2, "device=cuda: export computes on the CPU"),
     (["output=file"], 6, "output=file: is a file"), (["output=there"], 6, "set overwrite=true"),
     (["output=there", "overwrite=true"], 6, "holds 'README.md', so it is no export"),
     (["output=file/out"], 6, "file: cannot be written"), (["output=out", "run=nowhere"], 4, "no run there")],
)  # fmt: skip
def test_mistakes_get_one_line(aectl, small_run, tmp_path, arguments, status, says):
    (tmp_path / "file").write_text("")
    (tmp_path / "there").mkdir()
    (tmp_path / "there/README.md").write_text("mine")
    run = [] if any(word.startswith("run=") for word in arguments) else [f"run={small_run}"]
    refused = aectl("export", *run, *arguments)
    assert refused.status == status
    assert says in refused.err
    assert len(refused.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "there/README.md").read_text() == "mine"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_a_package_it_says_what_to_install_before_the_work(aectl, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    refused = aectl("export", "run=nowhere", "output=out")
    assert refused.status == 2
    assert f"format=onnx: needs {package}: pip install 'aectl[export]'" in refused.err


def test_an_export_is_replaced_as_a_whole_and_nothing_else_is(aectl, autoencoder, tmp_path):
    export_it = ["export", f"run={autoencoder}", "output=out", "threads=1"]
    assert aectl(*export_it, "format=safetensors").status == 0
    refused = aectl(*export_it, "format=pt2")
    assert refused.status == 6
    assert "output=out: is there already" in refused.err
    assert aectl(*export_it, "format=pt2", "overwrite=true").status == 0
    assert not list((tmp_path / "out").glob("*.safetensors"))
    before = (tmp_path / "out/encoder.pt2").read_bytes()
    (tmp_path / "out/notes.txt").write_text("mine")
    refused = aectl(*export_it, "format=safetensors", "overwrite=true")
    assert refused.status == 6
    assert "holds 'notes.txt'" in refused.err
    assert (tmp_path / "out/encoder.pt2").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert aectl("export", f"run={autoencoder}", "output=empty", "format=safetensors", "overwrite=true").status == 0
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert aectl("export", f"run={autoencoder}", "output=link", "overwrite=true").status == 6


def test_weights_that_make_no_code_are_refused(aectl, autoencoder, tmp_path):
    broken = with_weights(autoencoder, tmp_path / "broken", {"encoder": 1e30})
    refused = aectl("export", f"run={broken}", "output=out", "format=pt2")
    assert refused.status == 4
    assert "z of its encoder is not finite" in refused.err
    assert not (tmp_path / "out").exists()


def test_a_family_of_models_that_names_no_parts_is_refused(aectl, autoencoder, monkeypatch):
    from aectl.models.autoencoder import Autoencoder

    monkeypatch.setattr(Autoencoder, "parts", Model.parts)
    refused = aectl("export", f"run={autoencoder}", "output=out")
    assert refused.status == 2
    assert "model=ae does not say what of it can be exported" in refused.err


# ---------------------------------------------------------------------------------------- every preset

EXPERIMENTS = sorted(
    path.relative_to(config_dir() / "experiment").with_suffix("").as_posix()
    for path in (config_dir() / "experiment").rglob("*.yaml")
)
SHAPES = {"photographs": [3, 64, 64], "pairs": [3, 64, 64]}  # of others MNIST's


@pytest.mark.presets
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_preset_is_exported(name, aectl, tmp_path, capsys):
    """Trained for an epoch on drawn shapes of its own pictures' size."""
    words = [f"experiment={name}", *(f"dataset.{key}=x" for key in places(name))]
    dataset = Synthetic(val_size=0, test_size=64, synthetic_size=320, synthetic_shape=SHAPES.get(name, [1, 28, 28]))
    config = composed("train", *words)
    noise = Gaussian(sigma=0.1) if config.dataset.paired else config.noise  # in the place of the given noisy pictures
    config = dataclasses.replace(config, dataset=dataset, noise=noise, epochs=1, figures_every=0)
    loop.train(dataclasses.replace(config, early_stop=None, threads=1, device="cpu"), tmp_path / "run")
    done = aectl("export", "run=run", "output=out", "threads=1")
    assert done.status == 0, done.err
    parts = json.loads((tmp_path / "out/parity.json").read_text())["parts"]
    figures = {f"{part} {output}": found for part, outputs in parts.items() for output, found in outputs.items()}
    with capsys.disabled():
        cells = ", ".join(f"{key} {found['largest_difference']:.1e}" for key, found in figures.items())
        print(f"| {name} | {cells} |")
    for found in figures.values():
        assert found["largest_difference"] <= 1e-5 * max(1, found["largest_value"])


def places(name: str) -> list[str]:
    """What has to be said of where the preset's pictures lie."""
    text = (config_dir() / "experiment" / f"{name}.yaml").read_text()
    return [key for key in ("root", "noisy") if re.search(rf"^# aectl train .*dataset\.{key}=", text, re.MULTILINE)]
