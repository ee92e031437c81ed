"""What people type that is no override: the one line they get, and that it is the command that would work."""

import shlex
from pathlib import Path

import pytest
from conftest import SMALL
from hydra.core.override_parser.overrides_parser import OverridesParser

from aectl import __version__
from aectl.cli import words
from aectl.errors import ConfigError

PARSER = OverridesParser.create()


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    """A folder with pictures, a file of arrays, and a run."""
    monkeypatch.chdir(tmp_path)
    for folder in ("pictures", "my pictures", "outputs/train/my run/checkpoints", "vae", "input"):
        Path(folder).mkdir(parents=True)
    for file in ("photo.png", "pictures.zip", "x.npz"):
        Path(file).touch()


def said(command: str, *typed: str) -> str:
    """The message about these words, of which each is what the shell hands on."""
    with pytest.raises(ConfigError) as caught:
        words.check(command, typed)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# What is typed, the word that is named, and the line to paste.
MEANT = [
    ("denoise photo.png", "photo.png", "aectl denoise input=photo.png output=photo_denoised"),
    ("denoise photo.png out/", "photo.png", "aectl denoise input=photo.png output=out/"),
    ("denoise 'my photo.png' 'my out'", "my photo.png", "aectl denoise 'input=my photo.png' 'output=my out'"),
    ("denoise --overwrite photo.png", "--overwrite",
     "aectl denoise overwrite=true input=photo.png output=photo_denoised"),
    ("denoise run=r input", "input", "aectl denoise run=r input=input output=input_denoised"),
    ("eval latest", "latest", "aectl eval run=latest"),
    ("eval 'outputs/train/my run' val", "outputs/train/my run", "aectl eval 'run=outputs/train/my run' split=val"),
    ("eval --run latest", "--run", "aectl eval run=latest"),
    ("train vae", "vae", "aectl train model=vae"),
    ("train vae mnist 'outputs/train/my run'", "vae",
     "aectl train model=vae dataset=mnist 'resume=outputs/train/my run'"),
    ("train row7_lecture_ae", "row7_lecture_ae", "aectl train experiment=published/row7_lecture_ae"),
    ("train latest", "latest", "aectl train resume=latest"),
    ("train 'my pictures'", "my pictures", "aectl train dataset=folder 'dataset.root=my pictures'"),
    ("train --epochs 5", "--epochs", "aectl train epochs=5"),
    ("train --epochs=5", "--epochs=5", "aectl train epochs=5"),
    ("train -epochs 5", "-epochs", "aectl train epochs=5"),
    ("train --batch-size 64 -m", "--batch-size", "aectl train -m batch_size=64"),
    ("train epochs 5", "epochs", "aectl train epochs=5"),
    ("train epochs = 5", "epochs", "aectl train epochs=5"),
    ("train epochs =5", "epochs", "aectl train epochs=5"),
    ("train epochs= 5", "epochs=", "aectl train epochs=5"),
    ("train epochs: 5 latent:8", "epochs:", "aectl train epochs=5 latent=8"),
    ("train noise gaussian noise.sigma 0.2", "noise", "aectl train noise=gaussian noise.sigma=0.2"),
    ("train --cfg job epochs 5", "epochs", "aectl train epochs=5 --cfg job"),
    ("train model=vae, latent=2", "model=vae,", "aectl train model=vae latent=2"),
    ("train model=vae , latent=2", "model=vae", "aectl train model=vae latent=2"),
    ("train model=vae,latent=2", "model=vae,latent=2", "aectl train model=vae latent=2"),
    ("train -m latent=2, 4 model=ae", "latent=2,", "aectl train -m latent=2,4 model=ae"),
    ("train network.hidden=[300, 300] lr=1e-4", "network.hidden=[300,",
     "aectl train 'network.hidden=[300,300]' lr=1e-4"),
    ("train dataset=/my/folder", "dataset=/my/folder", "aectl train dataset=folder dataset.root=/my/folder"),
    ("train dataset=pictures latent=8", "dataset=pictures",
     "aectl train dataset=folder dataset.root=pictures latent=8"),
    ("train dataset=pictures.zip", "dataset=pictures.zip", "aectl train dataset=folder dataset.root=pictures.zip"),
    ("train dataset=x.npz", "dataset=x.npz", "aectl train dataset=array dataset.root=x.npz"),
    ("train help", "help", "aectl train --help"),
    ("encode pictures codes.npz", "pictures", "aectl encode input=pictures output=codes.npz"),
    ("encode pictures", "pictures", "aectl encode input=pictures output=pictures_codes.npz"),
    ("decode codes.csv", "codes.csv", "aectl decode input=codes.csv output=codes_pictures"),
    ("sample 64", "64", "aectl sample n=64"),
    ("sample -n 64 grid", "-n", "aectl sample n=64 mode=grid"),
    ("report outputs/multirun/x", "outputs/multirun/x", "aectl report sweep=outputs/multirun/x"),
    ("score pictures regret", "pictures", "aectl score input=pictures measure=regret"),
    ("export there/x out", "there/x", "aectl export run=there/x output=out"),
    ("runs 5 size", "5", "aectl runs last=5 sort=size"),
    ("eval 'my run'", "my run", "aectl eval 'run=my run'"),
    ("doctor latest", "latest", "aectl doctor run=latest"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "word", "line"), MEANT)
def test_the_line_that_was_meant_is_said_and_would_work(typed, word, line):
    command, *given = shlex.split(typed)
    message = said(command, *given)
    assert message.startswith(f"{word}: ")
    assert message.partition("; try: ")[2] == line
    again = shlex.split(line)
    assert again[:2] == ["aectl", command]
    words.check(command, again[2:])
    PARSER.parse_overrides([one for one in again[2:] if not one.startswith("-") and one != "job" and " " not in one])


@pytest.mark.parametrize(
    ("typed", "says"),
    [("latent=2,4", "latent=2,4: is several values; a sweep over them: aectl train -m latent=2,4"),
     ("'latent=range(1,4)' lr=1", "a sweep over them: aectl train -m 'latent=range(1,4)' lr=1"),
     ("model=ae,vae", "a sweep over them: aectl train -m model=ae,vae"),
     ("kl_weight=0,5", "kl_weight=0,5: is several values; one number: aectl train kl_weight=0.5; "
                       "or a sweep over them: aectl train -m kl_weight=0,5"),
     ("noise=gaussian noise.sigma=0,25", "one number: aectl train noise=gaussian noise.sigma=0.25; or a sweep"),
     ("network.hidden=300,100", "one list: aectl train 'network.hidden=[300,100]'; or a sweep"),
     ("gaussian", "2 choices; try: aectl train likelihood=gaussian, or aectl train noise=gaussian"),
     ("model", "model: needs a value: model=<value>"),
     ("epoch 5", "epoch: no such setting, choice or path, did you mean 'epochs'?"),
     ("latent=2 7", "7: no such setting, choice or path (settings are typed as key=value"),
     ("latent=2 ''", "'': no such setting, choice or path")],
)  # fmt: skip
def test_what_may_mean_several_things_or_nothing_is_said_so(typed, says):
    assert says in said("train", *shlex.split(typed))


@pytest.mark.parametrize(
    "typed",
    ["model=vae latent=2", "-m latent=2,4 model=ae,vae", "network.hidden=[3,4]", "dataset.root=a,[b resume=(c",
     "experiment=published/row7_lecture_ae", "-m dataset=mnist,digits", "+x='a,b=c'", "~noise",
     "--cfg job --info all", "hydra.run.dir=", "epochs= lr=1e-3", "-m hydra/sweeper=optuna lr=interval(1,2)",
     "dataset=vae --config-dir mine",
     "-m dataset.root=a,b,", "noise='gaussian' data.root=~/x", "hydra.verbose=true", "-m lr=choice(1,2)"],
)  # fmt: skip
def test_what_hydra_can_read_is_left_alone(typed):
    words.check("train", typed.split(" "))


@pytest.mark.parametrize(
    ("typed", "says"),
    [("tensorboard", "tensorboard: is a program of its own; try: tensorboard --logdir outputs"),
     ("tensorboard --logdir 'my runs'", "try: tensorboard --logdir 'my runs'"),
     ("model=vae latent=2", "model=vae: the command comes first; try: aectl train model=vae latent=2"),
     ("-m train latent=2,4", "-m: the command comes first; try: aectl train -m latent=2,4"),
     ("-m latent=2,4", "-m: the command comes first; try: aectl train -m latent=2,4"),
     ("vae latent=2", "vae: the command comes first; try: aectl train model=vae latent=2"),
     ("trian model=vae", "trian: no such command, did you mean 'train'? (commands: train, "),
     ("help trian", "trian: no such command, did you mean 'train'?"), ("pictures", "pictures: no such command")],
)  # fmt: skip
def test_a_line_without_a_command_gets_one(aectl, typed, says):
    refused = aectl(*shlex.split(typed))
    assert (refused.status, refused.out) == (2, "")
    assert len(refused.err.splitlines()) == 1
    assert says in refused.err


def test_help_and_version_are_answered_by_their_words(aectl):
    assert aectl("help").out == aectl("--help").out
    on_doctor = aectl("help", "doctor")
    assert (on_doctor.status, on_doctor.err) == (0, "")
    assert "aectl doctor: show what this machine has" in on_doctor.out
    assert [aectl(word).out for word in ("version", "--version", "-V")] == 3 * [f"aectl {__version__}\n"]


def test_of_a_setting_that_is_given_twice_the_last_counts_and_that_is_said(aectl):
    done = aectl("train", "lr=1e-3", "latent=3", "lr=1e-4", "latent=3", "--cfg", "job")
    assert done.status == 0
    assert "lr: 0.0001\n" in done.out
    assert done.err == "aectl: note: lr is given more than once; lr=1e-4 counts\n"


def test_a_setting_of_another_choice_says_of_which(aectl):
    refused = aectl("train", "dataset.root=pictures")
    assert "root is a setting of dataset=array, dataset=folder" in refused.err
    assert "p is a setting of noise=blocks, noise=masking" in aectl("train", "noise=gaussian", "noise.p=1").err


def test_a_strange_value_is_shown_as_it_has_to_be_typed(aectl):
    refused = aectl("train", "+x=it's a(b")
    words_of = shlex.split(refused.err.partition("typed so: ")[2])
    assert PARSER.parse_override(*words_of).value() == "it's a(b"


def test_what_comes_after_a_sweep_can_be_pasted_line_by_line(aectl):
    given = ["-m", *SMALL, "lr=nan,1e-3", "epochs=1", "figures_every=0", "hydra/launcher=basic"]
    swept = aectl("train", *given, "hydra.sweep.dir=my sweep")
    lines = [shlex.split(line) for line in swept.out.rpartition("next:\n")[2].splitlines()]
    assert lines == [
        ["aectl", "train", *given, "sweep.resume=my sweep"], ["aectl", "report", "sweep=my sweep"],
        ["tensorboard", "--logdir", "my sweep"],
    ]  # fmt: skip
    assert "1 of 2 jobs failed" in aectl(*lines[0][1:]).err
