import dataclasses
import re
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from aectl.cli.composing import config_dir
from aectl.commands import runs, sampling, schemas
from aectl.commands.table import COMMANDS
from aectl.data import noise as noises
from aectl.data.datasets.table import DATASETS
from aectl.errors import ConfigError
from aectl.measuring import oddness
from aectl.models.autoencoder import Ae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.table import NETWORKS
from aectl.models.objectives import OBJECTIVES
from aectl.models.priors import PRIORS
from aectl.models.table import MODELS
from aectl.runs import exporting, schema
from aectl.runs.config import TrainConfig
from aectl.runs.schedules import SCHEDULES
from aectl.settings import common, typed
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

GROUPS = {"dataset": DATASETS, "noise": noises.NOISES, "network": NETWORKS,
          "likelihood": LIKELIHOODS, "model": (*MODELS, "dae", "iwae"), "prior": PRIORS,
          "objective": OBJECTIVES, "schedule": SCHEDULES}  # fmt: skip
OWN = {"dataset=folder": ["dataset.root=somewhere"], "dataset=array": ["dataset.root=somewhere"],
       "schedule=steps": ["schedule.after=[1]"], "model=rounded": ["network=strided"],
       "objective=rate": ["network=strided"]}  # fmt: skip
PRESETS = config_dir() / "experiment"
EXPERIMENTS = sorted(str(path.relative_to(PRESETS).with_suffix("")) for path in PRESETS.rglob("*.yaml"))


def composed(result) -> dict:
    assert result.status == 0, result.err
    return yaml.safe_load(result.out)


@pytest.mark.parametrize("group", GROUPS)
def test_the_yaml_files_are_the_choices_that_the_code_knows(group):
    assert {path.stem for path in (config_dir() / group).glob("*.yaml")} == set(GROUPS[group])


@pytest.mark.parametrize("choice", [f"{group}={name}" for group, names in GROUPS.items() for name in names])
def test_every_choice_composes_and_passes_its_checks(aectl, choice):
    own = OWN.get(choice, [])
    settings = typed.from_dict(TrainConfig, composed(aectl("train", choice, *own, "--cfg", "job")), "")
    common.check(settings)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_preset_composes_and_says_its_command_first(aectl, name):
    lines = (config_dir() / f"experiment/{name}.yaml").read_text().splitlines()
    words = re.sub("<[^>]*>", "somewhere", lines[1].removeprefix("# aectl train ")).split()
    assert words[0] == f"experiment={name}"
    settings = composed(aectl("train", *words, "--cfg", "job"))
    common.check(typed.from_dict(TrainConfig, settings, ""))


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_shows_its_configuration(aectl, command):
    assert composed(aectl(command, "--cfg", "job"))


def test_hydras_own_flags_work(aectl):
    assert "Config search path" in aectl("train", "--info", "searchpath").out


def test_a_value_is_stated_once_and_a_type_once():
    """No setting of a command has a default in Python, and none stands in two of the command's YAML files."""
    for name, command in COMMANDS.items():
        fields = dataclasses.fields(command.schema)
        assert all(one.default is one.default_factory is dataclasses.MISSING for one in fields), name
        text = yaml.safe_load((config_dir() / f"{name}.yaml").read_text())
        shared = [config_dir() / f"{one}.yaml" for one in text["defaults"] if str(one).startswith("common/")]
        own = typed.flat({key: value for key, value in text.items() if key not in ("defaults", "hydra")})
        keys = [*own, *(key for path in shared for key in typed.flat(yaml.safe_load(path.read_text())))]
        assert len(keys) == len(set(keys)), name
        groups = [group for entry in text["defaults"] if isinstance(entry, dict) for group in entry]
        known = {one.partition(".")[0] for one in (*keys, *groups)} - {"experiment"}
        assert known == {one.name for one in fields}, name


def test_names_that_a_command_line_knows_without_torch_are_those_of_the_tables():
    assert set(schemas.SCORE_MEASURES) == set(oddness.MEASURES)
    assert set(schemas.SAMPLE_MODES) == set(sampling.MODES)
    assert set(schemas.EXPORT_FORMATS) == set(exporting.FORMATS)
    assert set(schemas.RUN_ORDERS) == set(runs.ORDERS)


def test_a_dae_selects_noise_and_the_command_line_wins(aectl):
    assert composed(aectl("train", "model=dae", "--cfg", "job"))["noise"]["name"] == "gaussian"
    for order in (["model=dae", "noise=masking"], ["noise=masking", "model=dae"]):
        assert composed(aectl("train", *order, "--cfg", "job"))["noise"]["name"] == "masking"
    assert composed(aectl("train", "model=vae", "noise=speckle", "--cfg", "job"))["model"]["name"] == "vae"


@pytest.mark.parametrize(
    ("overrides", "label", "title"),
    [([], "vae-latent2", "vae, latent 2"), (["model=dae", "latent=8"], "dae-latent8", "dae, latent 8"),
     (["model=ae", "noise=blur"], "dae-latent2", "dae, latent 2"), (["model=dae", "noise=none"], "ae-latent2", "ae,"),
     (["noise=blur"], "denoising-vae-latent2", "denoising vae, latent 2"),
     (["model=iwae"], "iwae-latent2", "iwae, latent 2"),
     (["prior=vamp", "objective=tc"], "vae-tc-vamp-latent2", "vae tc vamp, latent 2"),
     (["network=unet"], "dae-unet", "dae, unet"), (["network=unet", "noise=none"], "ae-unet", "ae, unet")],
)  # fmt: skip
def test_one_name_for_a_run_in_its_folder_its_title_and_its_sweep(aectl, overrides, label, title):
    shown = aectl("train", *overrides, "--cfg", "all", "--resolve")
    hydra = composed(shown)["hydra"]
    assert re.fullmatch(rf"outputs/train/[0-9_-]+_{label}-[0-9a-f]{{6}}", hydra["run"]["dir"])
    settings = typed.from_dict(TrainConfig, {k: v for k, v in composed(shown).items() if k != "hydra"}, "")
    assert ", ".join(schema.title_of(settings)).startswith(title.rstrip(","))


def test_a_sweeps_folders_have_the_name_too(aectl):
    assert aectl("train", "--cfg", "hydra").out.count("aectl.run_label") == 1


def test_no_yaml_names_code():
    for path in config_dir().rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path


OUT_OF_RANGE = [
    "latent=0", "latent=-3", "latent=100000", "kl_weight=-1", "kl_weight=.inf", "kl_weight=.nan", "kl_warmup=-1",
    "epochs=0", "batch_size=0", "batch_size=-1", "lr=0", "lr=-1", "lr=.nan", "lr=.inf", "grad_clip=0",
    "schedule=steps schedule.after=[2,1]", "schedule=steps schedule.after=[]",
    "schedule=steps schedule.after=[1] schedule.factor=0",
    "early_stop=0", "seed=-1", "device=tpu", "threads=0", "figures_every=-1", "checkpoint_every=0",
    "dataset.val_size=-1", "dataset.test_size=-1", "dataset.split_seed=-1", "dataset.emnist_split=letters",
    "noise.sigma=1", "noise=gaussian noise.sigma=-1", "noise=gaussian noise.sigma=null", "noise=masking noise.p=1.5",
    "noise=masking noise.sigma=1", "network.hidden=[0]", "network.channels=[3]", "network=conv network.channels=[]",
    "model.posterior=var", "model=ae model.posterior=std", "likelihood.sigma=1",
    "precision=fp8", "execution=jit", "adam.weight_decay=-1", "likelihood=gaussian likelihood.sigma=0",
    "likelihood.mean=sigmoid",
    "likelihood=gaussian likelihood.mean=tanh", "network=unet noise=gaussian likelihood.mean=sigmoid",
    "early_stop=3 dataset.val_size=0", "dataset=synthetic dataset.synthetic_shape=[2,28,28]",
    "dataset=synthetic dataset.synthetic_shape=[1,28]", "dataset=synthetic dataset.synthetic_size=3",
    "dataset=mnist dataset.test_size=100",
    "noise=gaussian noise.sigma=25", "noise=gaussian noise.sigma=1.1", "noise=gaussian noise.sigma_max=50",
    "noise=speckle noise.sigma=1000", "noise=blur noise.sigma=101", "noise=masking noise.p=50",
    "noise=poisson noise.peak=1e300", "noise=poisson noise.peak=0.001", "noise=jpeg noise.quality=96",
    "likelihood=gaussian likelihood.sigma=1e200", "likelihood=gaussian likelihood.sigma=1e-30",
]  # fmt: skip

# Hydra's and OmegaConf's own objections, and some that are out of range.
WRONG = [
    "latent=0", "lr=.nan", "noise=gaussian noise.sigma=25", "model=ae model.posterior=std",
    "network.hidden=[65536,65536,65536]",
    "latnet=2", "latent=two", "latent=2.5", "batch_size=2.5", "lr=", "latent=", "dataset=mnits", "nosie=none",
    "noise=gausian", "+latent_size=3", "+model._target_=os.system", "_target_=os.system", "latent=[1", "seed=${seed}",
    "latent=${nothing}", "latent=???", "data.root=${oc.env:AECTL_NO_SUCH_VARIABLE}", "experiment=lecture", "~latent",
    "schedule=linear", "schedule=steps", "lr_steps=[1]", "resume=", "sweep.resume=", "--foo", "data.root=",
    "dataset.name=imagenet", "noise.name=snow", "network.hidden=300", "--experimental-rerun=x.pickle",
]  # fmt: skip


CHOSEN: dict[tuple[str, ...], DictConfig] = {}  # each composed once: that takes longer than all checks


@pytest.mark.parametrize("override", OUT_OF_RANGE)
def test_a_value_out_of_its_range_is_refused_by_its_key(aectl, override):
    *choices, last = override.split(" ")
    key = tuple(choices)
    if key not in CHOSEN:
        CHOSEN[key] = OmegaConf.create(composed(aectl("train", *choices, "--cfg", "job")))
    settings = OmegaConf.to_container(OmegaConf.merge(CHOSEN[key], OmegaConf.from_dotlist([last])))
    with pytest.raises(ValueError, match=re.escape(last.partition("=")[0].rpartition(".")[2])):
        common.check(typed.from_dict(TrainConfig, settings, ""))


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_override_gets_one_line_that_names_it_and_exit_code_2(aectl, tmp_path, override):
    result = aectl("train", *override.split(" "))
    assert result.status == 2
    (line,) = result.err.strip().splitlines()
    assert line.startswith("aectl: ")
    named = re.split(r"[=+~]", override.split(" ")[-1].lstrip("+~-"))[0]
    assert named in line or named.rpartition(".")[2] in line
    assert not list(tmp_path.glob("outputs/train/*")), "a refused command leaves no run behind"


def test_near_misses_are_named(aectl):
    assert "did you mean 'latent'?" in aectl("train", "latnet=2").err
    assert "did you mean 'mnist'?" in aectl("train", "dataset=mnits").err
    assert "did you mean 'train'?" in aectl("trian").err
    assert "did you mean 'sigma'?" in aectl("train", "noise=gaussian", "noise.sgma=2").err


@pytest.mark.parametrize("noise", sorted(noises.NOISES))
def test_every_noise_can_be_left_unclipped(aectl, noise):
    shown = composed(aectl("train", f"noise={noise}", "noise.clip=false", "--cfg", "job"))
    assert noises.NOISES.read(shown["noise"]).clip is False


def test_what_is_no_setting_of_a_choice_says_so_by_itself(aectl):
    assert "noise.p: no such setting of noise=gaussian" in aectl("train", "noise=gaussian", "noise.p=0.3").err
    assert (
        "noise.side=3: no such setting of noise=blur (it has clip, sigma)"
        in aectl("train", "noise=blur", "+noise.side=3").err
    )
    assert "noise.sigma=null: must be a number" in aectl("train", "noise=blur", "noise.sigma=null").err


@pytest.mark.parametrize(
    ("override", "meant"),
    [("noise=gaussian noise.sigma=25", "noise.sigma=0.09804"), ("noise=speckle noise.sigma=255", "noise.sigma=1"),
     ("noise=gaussian noise.sigma=0 noise.sigma_max=55", "noise.sigma_max=0.2157"),
     ("noise=salt_pepper noise.p=30", "noise.p=0.3")],
)  # fmt: skip
@pytest.mark.parametrize("command", ["train", "denoise input=a output=b"])
def test_a_strength_on_another_scale_is_named_on_ours(aectl, command, override, meant):
    refused = aectl(*command.split(), *override.split())
    assert refused.status == 2
    assert refused.err.strip().endswith(f" is {meant}")


@pytest.mark.parametrize(
    "noise",
    [noises.Gaussian(sigma=1.0), noises.Gaussian(sigma=0.0, sigma_max=1.0),
     noises.Blur(sigma=25.0), noises.Poisson(peak=0.1), noises.Poisson(peak=1e5),
     noises.Masking(p=1.0), noises.Speckle(sigma=1.0)],
)  # fmt: skip
def test_strengths_that_make_sense_are_let_through(noise):
    common.check(train_config(noise=noise, model=Ae()))


def test_from_dict_checks_every_type_and_interpolates_nothing():
    data = typed.to_dict(train_config())
    assert typed.from_dict(TrainConfig, data, "") == train_config()
    for key, value in (("latent", "2"), ("latent", True), ("latent", 2.0), ("noise", []),
                       ("network", {"hidden": "3"}), ("lr", "1e-3"), ("seed", None), ("surprise", 1)):  # fmt: skip
        with pytest.raises((ValueError, ConfigError), match=key):
            typed.from_dict(TrainConfig, {**data, key: value}, "config")
    data["data"]["root"] = "${oc.env:HOME}"
    assert typed.from_dict(TrainConfig, data, "").data.root == "${oc.env:HOME}"


def test_settings_without_effect_are_mentioned():
    assert any("kl_weight=3 is ignored" in line for line in train_config(kl_weight=3.0).notices())
    assert train_config().notices() == []
    wide = train_config(likelihood=Gaussian(sigma=25.0))
    assert any("likelihood.sigma=0.09804" in line for line in wide.notices())


def test_the_config_folder_is_found_beside_the_package_only_in_a_checkout():
    import aectl

    assert config_dir() == Path(aectl.__file__).parent.parent / "configs"
