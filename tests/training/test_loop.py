import itertools
import json
import math
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from aectl.data import noise as noises
from aectl.data.datasets.digits import Digits
from aectl.data.datasets.mnist5k import Mnist5k
from aectl.data.datasets.synthetic import Synthetic
from aectl.data.split import build_dataset
from aectl.errors import CheckpointError, ConfigError, DivergedError
from aectl.machine import devices, load, threads
from aectl.measuring import scoring
from aectl.measuring.scoring import score
from aectl.models.autoencoder import Ae, Autoencoder, Vae
from aectl.models.likelihoods.gaussian import Gaussian
from aectl.models.likelihoods.logistic import Logistic256
from aectl.models.likelihoods.table import LIKELIHOODS
from aectl.models.networks.conv import Conv
from aectl.models.networks.mlp import Mlp
from aectl.models.networks.strided import Strided
from aectl.models.networks.unet import Unet
from aectl.models.objectives import Elbo, Iwae, Rate
from aectl.models.rounded import RoundedChoice
from aectl.rng import generator
from aectl.runs import checkpoint, layout, locks
from aectl.runs.config import TrainConfig
from aectl.runs.schedules import Cosine, Steps, lr_at
from aectl.runs.schema import AdamConfig
from aectl.training import feeding, loop, session
from aectl.training.adam import Adam
from aectl.training.step import NotFiniteError, step
from configs import train_config

pytestmark = pytest.mark.usefixtures("without_pictures")

MODELS = {
    "ae": Ae(),
    "logvar": Vae(posterior="logvar"),
    "std": Vae(posterior="std"),
}
NOISE = noises.Gaussian(sigma=0.3)


def small(**changes) -> TrainConfig:
    settings = {
        "dataset": Synthetic(val_size=40, test_size=40, synthetic_size=240, synthetic_shape=[1, 10, 12]),
        "network": Mlp(hidden=[24]),
        "model": MODELS["logvar"],
        "epochs": 2,
        "batch_size": 32,
        "device": "cpu",
        "threads": 1,
        "figures_every": 0,
    }
    return train_config(**{**settings, **changes})


def last(run: Path) -> checkpoint.Checkpoint:
    return checkpoint.newest(layout.checkpoints_of(run))[0]


def contents(run: Path) -> tuple[dict[str, bytes], list[dict]]:
    """What must be equal to the byte: the last checkpoint's tensors and counters, and every epoch's figures."""
    saved = last(run)
    files = {name: (saved.path / name).read_bytes() for name in ("model.safetensors", "trainer.safetensors")}
    state = {key: value for key, value in saved.state.items() if key != "seconds"}
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        record.pop("images_per_s")
    return {**files, "state": json.dumps(state).encode()}, records


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_loss_falls(tmp_path, model, likelihood):
    sigma = 0.3 if likelihood == "gaussian" else None
    config = small(
        model=MODELS[model],
        likelihood=LIKELIHOODS.read({"name": likelihood, "sigma": sigma}),
        noise=NOISE,
        epochs=6,
        lr=5e-3,
    )
    loop.train(config, tmp_path)
    _, records = contents(tmp_path)
    assert records[-1]["train/loss"] < records[0]["train/loss"] - 1
    assert records[-1]["val/loss"] < records[0]["val/loss"]


def test_32_images_are_learnt_by_heart(tmp_path):
    data = Synthetic(val_size=0, test_size=32, synthetic_size=64, synthetic_shape=[1, 10, 12])
    config = small(dataset=data, model=MODELS["ae"], likelihood=Gaussian(sigma=1.0), latent=16,
                   epochs=300, network=Mlp(hidden=[128]), checkpoint_every=300, lr=3e-3)  # fmt: skip
    loop.train(config, tmp_path)
    _, records = contents(tmp_path)
    floor = 120 * 0.5 * math.log(2 * math.pi)
    assert records[-1]["train/recon"] - floor < 0.03 * (records[0]["train/recon"] - floor)


@pytest.mark.pictures
def test_a_run_leaves_everything_it_promises(tmp_path):
    loop.train(small(figures_every=1), tmp_path, command="aectl train latent=2")
    assert (tmp_path / "config.yaml").read_text().startswith("# aectl train latent=2\n")
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["latent"] == 2
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"reconstructions", "prior_samples", "latent_plane", "latent_kl", "curves"}
    _, (first, second) = contents(tmp_path)
    parts = {f"{part}/{name}" for part in ("train", "val") for name in ("loss", "recon", "kl", "elbo")}
    assert parts | {"epoch", "step", "lr", "kl_weight"} <= set(first)
    assert (first["epoch"], second["epoch"], second["step"]) == (1, 2, 10)
    assert first["train/elbo"] == -(first["train/recon"] + first["train/kl"])
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "completed"


@pytest.mark.pictures
def test_tensorboard_finds_curves_pictures_text_projector_and_hparams(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loop.train(small(), tmp_path)
    events, validation = EventAccumulator(str(tmp_path)), EventAccumulator(str(tmp_path / "validation"))
    events.Reload()
    validation.Reload()
    tags = events.Tags()
    curves = {f"epoch/{name}" for name in ("loss", "recon", "kl")} | {"measures/elbo"}
    best = {f"epoch (best)/{name}" for name in ("1 val loss", "2 val psnr", "3 val recon", "4 val kl", "5 val elbo")}
    how = {f"training/{name}" for name in ("lr", "kl_weight", "images_per_s")}
    assert set(tags["scalars"]) == curves | best | how | {"latent_kl/00", "latent_kl/01"}
    errors = {"epoch/mse", "epoch/psnr", "measures/active_units"}
    assert set(validation.Tags()["scalars"]) == curves | errors
    pictures = {"reconstructions", "prior_samples", "latent_plane", "latent_kl", "curves"}
    assert set(tags["images"]) == {f"pictures/{name}" for name in pictures}
    assert tags["distributions"] == ["latent_kl/all"]
    assert "config/text_summary" in tags["tensors"]
    assert "_hparams_/session_start_info" in events.summary_metadata
    assert (tmp_path / "projector_config.pbtxt").is_file()
    assert {path.parent for path in tmp_path.rglob("events.*")} == {tmp_path, tmp_path / "validation"}


def test_validation_uses_the_loss_of_training_at_the_full_weight(tmp_path):
    config = small(kl_weight=3.0, kl_warmup=4.0, noise=NOISE)
    loop.train(config, tmp_path)
    _, records = contents(tmp_path)
    for record in records:
        assert record["val/loss"] == pytest.approx(record["val/recon"] + 3.0 * record["val/kl"], rel=1e-6)
        assert record["val/elbo"] == pytest.approx(-(record["val/recon"] + record["val/kl"]))
    assert records[-1]["kl_weight"] == pytest.approx(3.0 * 9 / 20)  # after step 9 of a warm-up of 20


def test_looking_more_often_changes_nothing(tmp_path):
    loop.train(small(figures_every=0, checkpoint_every=9), tmp_path / "a")
    loop.train(small(figures_every=1, checkpoint_every=1), tmp_path / "b")
    first, second = last(tmp_path / "a"), last(tmp_path / "b")
    assert all(torch.equal(first.model[name], second.model[name]) for name in first.model)


def test_noise_is_fresh_for_each_epoch_and_fixed_for_validation():
    corrupt = NOISE
    x = torch.full((4, 1, 8, 8), 0.5)
    draws = [corrupt(x, generator("cpu", 0, "step", step)) for step in range(3)]
    assert not torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_noise_is_drawn_fresh_in_each_epoch_of_training(tmp_path, monkeypatch):
    """One batch of 32 an epoch and grey images, so that only the epoch's own noise tells two steps apart.

    Whatever else is drawn meanwhile, as for what an untrained model makes, is drawn for parts of another size.
    """
    drawn = []

    corrupt = noises.Gaussian.corrupt

    def watched(self, x, rng):
        drawn.append(corrupt(self, torch.full_like(x, 0.5), rng))
        return drawn[-1]

    monkeypatch.setattr(noises.Gaussian, "corrupt", watched)
    data = Synthetic(val_size=0, test_size=40, synthetic_size=72, synthetic_shape=[1, 10, 12])
    loop.train(small(dataset=data, noise=NOISE, epochs=3, batch_size=32), tmp_path)
    steps = [one for one in drawn if len(one) == 32]
    assert len(steps) == 3
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(steps, 2))


def test_validation_is_the_same_each_time(tmp_path):
    config = small(noise=NOISE)
    run = session.prepare(config, tmp_path, None)
    first = score(run.model, run.loss, run.data.val, run.config.noise, 1.0, run.device)
    again = score(run.model, run.loss, run.data.val, run.config.noise, 1.0, run.device)
    assert first.named() == again.named()
    found = first.named()
    assert found["elbo"] == -(found["recon"] + found["kl"])


# ------------------------------------------------------------------------------------------ resuming


def stopped(config: TrainConfig, run: Path, at_step: int, monkeypatch) -> None:
    """Train until the optimizer has made `at_step` steps, then as if Ctrl-C came in the middle of the next."""
    real = Adam.step
    made = 0

    def step(self, *args, **kwargs):
        nonlocal made
        made += 1
        if made == at_step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Adam, "step", step)
        with pytest.raises(KeyboardInterrupt):
            loop.train(config, run)


# In the first epoch, in its middle, at its end and in the next, over the models.
@pytest.mark.parametrize(
    ("model", "at_step"), [("ae", 1), ("std", 1), ("logvar", 3), ("ae", 5), ("std", 5), ("logvar", 5), ("std", 8)]
)
def test_resuming_is_exact_to_the_bit(tmp_path, monkeypatch, model, at_step):
    config = small(model=MODELS[model], noise=NOISE, epochs=2, schedule=Cosine(), grad_clip=1.0, kl_warmup=1.0)
    loop.train(config, tmp_path / "whole")
    stopped(config, tmp_path / "stopped", at_step, monkeypatch)
    assert last(tmp_path / "stopped").state["step"] == at_step
    loop.train(train_config(resume=str(tmp_path / "stopped")), tmp_path / "unused")
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


VARIANTS = {
    "masking": {"noise": noises.Masking(p=0.3)},
    "salt_pepper": {"noise": noises.SaltPepper(p=0.3)},
    "speckle": {"noise": noises.Speckle(sigma=0.3)},
    "conv": {"network": Conv(hidden=[8], channels=[4, 6])},
    "gaussian likelihood": {"likelihood": Gaussian(sigma=0.3), "model": Ae()},
    "digits": {"dataset": Digits(val_size=700, test_size=700), "batch_size": 50},
    "mnist5k": {"dataset": Mnist5k(val_size=500, test_size=500), "batch_size": 500},
    "no validation": {"dataset": Synthetic(val_size=0, test_size=80, synthetic_size=240, synthetic_shape=[3, 9, 8])},
    "free threads": {"threads": 2},
    "bf16": {"precision": "bf16", "network": Conv(hidden=[8], channels=[4, 6])},
    "dynamic iwae": {
        "dataset": Digits(val_size=700, test_size=700, binarize="dynamic"),
        "model": Vae(posterior="logvar"),
        "objective": Iwae(samples=3),
        "network": Mlp(hidden=[9], activation="gated", output_bias="data_mean"),
    },
    "learned sigma, free bits": {
        "likelihood": Gaussian(sigma=0.3, learn=True),
        "objective": Elbo(free_bits=0.1),
    },
    "steps and Adam's settings": {
        "schedule": Steps(after=[1], factor=0.1),
        "adam": AdamConfig(0.8, 0.99, 1e-4, 0.1),
        "epochs": 2,
    },
    "unet": {
        "network": Unet(channels=[4, 6], blocks=1),
        "noise": NOISE,
        "model": Ae(),
        "likelihood": Gaussian(sigma=1.0),
    },
    "levels": {"likelihood": Logistic256(components=2)},
    "codec": {
        "network": Strided(patch=2, channels=[4, 6], blocks=1),
        "model": RoundedChoice(),
        "objective": Rate(weight=0.01),
        "likelihood": Gaussian(sigma=1.0),
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_resuming_is_exact_for_every_noise_network_and_data_set(tmp_path, monkeypatch, name):
    config = small(**{"epochs": 1, **VARIANTS[name]})
    loop.train(config, tmp_path / "whole")
    stopped(config, tmp_path / "stopped", 3, monkeypatch)
    loop.train(train_config(resume=str(tmp_path / "stopped")), tmp_path / "unused")
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def test_bf16_changes_the_steps_a_little_and_keeps_what_is_saved_and_scored_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "bf16_instructions", lambda: {"amx_bf16"})  # it is emulated where there are none
    for precision in ("float32", "bf16"):
        loop.train(small(precision=precision), tmp_path / precision)
    exact, rounded = (last(tmp_path / name).model for name in ("float32", "bf16"))
    assert all(value.dtype == torch.float32 for value in rounded.values())
    assert 0 < max((rounded[key] - exact[key]).abs().max().item() for key in exact) < 0.02
    losses = [contents(tmp_path / name)[1][-1]["val/loss"] for name in ("float32", "bf16")]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_weight_decay_shrinks_weights_but_no_biases(tmp_path):
    started = session.prepare(small(lr=0.1, adam=AdamConfig(0.9, 0.999, 1e-8, weight_decay=0.5)), tmp_path, None)
    before = {name: value.detach().clone() for name, value in started.model.named_parameters()}
    for parameter in started.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    started.adam.step(0.1)
    for name, value in started.model.named_parameters():
        torch.testing.assert_close(value.detach(), before[name] * (0.95 if name.endswith("weight") else 1))


def test_the_comparison_can_fail(tmp_path, monkeypatch):
    """The negative control: a resume whose random numbers are off by one step is noticed."""
    config = small(noise=NOISE)
    loop.train(config, tmp_path / "whole")
    stopped(config, tmp_path / "stopped", 3, monkeypatch)
    real = feeding.generator
    monkeypatch.setattr(
        feeding, "generator", lambda device, *key: real(device, *key[:-1], key[-1] + (key[1] == "step"))
    )
    loop.train(train_config(resume=str(tmp_path / "stopped")), tmp_path / "unused")
    assert (
        contents(tmp_path / "stopped")[0]["model.safetensors"] != contents(tmp_path / "whole")[0]["model.safetensors"]
    )


def test_a_finished_run_can_be_given_more_epochs(tmp_path):
    loop.train(small(epochs=3), tmp_path / "whole")
    loop.train(small(epochs=2), tmp_path / "longer")
    loop.train(train_config(resume=str(tmp_path / "longer"), epochs=3), tmp_path / "unused", overrides=["epochs=3"])
    assert contents(tmp_path / "longer") == contents(tmp_path / "whole")


def test_records_behind_the_checkpoint_are_dropped_on_resume(tmp_path):
    config = small(epochs=3)
    loop.train(config, tmp_path / "whole")
    loop.train(small(epochs=1), tmp_path / "torn")
    with (tmp_path / "torn/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "step": 10, "train/loss": 1.0}\n{"epo')
    loop.train(train_config(resume=str(tmp_path / "torn"), epochs=3), tmp_path / "unused", overrides=["epochs=3"])
    assert contents(tmp_path / "torn") == contents(tmp_path / "whole")


def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog):
    loop.train(small(), tmp_path)
    newest = checkpoint.listing(layout.checkpoints_of(tmp_path))[0]
    before = contents(tmp_path)
    (newest / "model.safetensors").write_bytes(b"")
    loop.train(train_config(resume=str(tmp_path)), tmp_path)
    assert contents(tmp_path) == before
    assert "passed over" in caplog.text


def test_sigterm_saves_and_ends_with_143(tmp_path):
    config = small(epochs=100_000)
    main = os.getpid()

    def kill_when_it_trains():
        while not any(path.stat().st_size for path in tmp_path.glob("metrics.jsonl")):
            time.sleep(0.01)
        os.kill(main, signal.SIGTERM)

    watcher = threading.Thread(target=kill_when_it_trains)
    watcher.start()
    with pytest.raises(SystemExit) as ended:
        loop.train(config, tmp_path)
    watcher.join()
    assert ended.value.code == 143
    assert last(tmp_path).state["step"] > 0


def test_two_processes_cannot_train_one_run(tmp_path):
    loop.train(small(), tmp_path)
    with locks.locked(tmp_path), pytest.raises(CheckpointError, match="another process"):
        loop.train(train_config(resume=str(tmp_path)), tmp_path)


def test_a_folder_with_a_run_is_not_trained_over(tmp_path):
    loop.train(small(), tmp_path)
    with pytest.raises(ConfigError, match="holds a run already"):
        loop.train(small(), tmp_path)


# ------------------------------------------------------------------------------------- what ends a run


def spoil(monkeypatch, at_call: int, change) -> None:
    """From the `at_call`-th training step on, pass the objective's terms through `change`."""
    real = Autoencoder.terms
    calls = 0

    def terms(self, *args):
        nonlocal calls
        calls += self.training
        found = real(self, *args)
        return change(self, found) if self.training and calls >= at_call else found

    monkeypatch.setattr(Autoencoder, "terms", terms)


def infinite_gradient(model, terms):
    """A loss that is finite with a gradient that is not: the square root at 0."""
    bias = model.decoder[0].bias
    return replace(terms, recon=terms.recon + (bias - bias.detach()).square().sum().sqrt())


def gradients_too_large_to_be_added(model, terms):
    """Every one of them is finite, and the loss as it was."""
    bias = model.decoder[0].bias
    return replace(terms, recon=terms.recon + 3e38 * (bias - bias.detach()).sum())


@pytest.mark.parametrize(
    ("culprit", "change"),
    [
        ("recon", lambda model, terms: replace(terms, recon=terms.recon * math.inf)),
        ("kl", lambda model, terms: replace(terms, costs={"kl": terms.costs["kl"] * math.nan})),
        (r"the gradient of decoder\.0\.bias", infinite_gradient),
        ("the sum of all gradients", gradients_too_large_to_be_added),
    ],
)
def test_what_is_not_finite_is_named_in_its_step_before_the_optimizer_moves(tmp_path, monkeypatch, culprit, change):
    spoil(monkeypatch, 13, change)
    moved = []
    real = Adam.step
    monkeypatch.setattr(Adam, "step", lambda self, *args: (moved.append(1), real(self, *args)))
    with pytest.raises(DivergedError, match=f"{culprit} is not finite in step 13"):
        loop.train(small(epochs=5), tmp_path)
    assert len(moved) == 12
    assert last(tmp_path).state["step"] == 10
    assert all(torch.isfinite(tensor).all() for tensor in last(tmp_path).model.values())


def test_where_reading_a_number_would_wait_the_optimizer_holds_still_by_itself(tmp_path):
    """What a GPU does, on the CPU: the fused optimizer reads `found_inf` and changes nothing."""
    run = session.prepare(small(), tmp_path, None)
    x = torch.rand(8, 1, 10, 12)
    eps = run.model.draw(8, generator("cpu", 1))
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.adam.waits = True  # nothing may be read
    step(run.model, run.loss, run.adam, (x * math.nan, x, eps, None), 1.0, 1e-3)
    assert all(state["step"] == 0 for state in run.adam.state.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())
    with pytest.raises(NotFiniteError, match=r"the loss or a gradient.*in the last 50 steps"):
        loop._means(run, 8)


def test_early_stopping_waits_for_its_patience_and_keeps_the_best(tmp_path):
    config = small(model=MODELS["ae"], network=Mlp(hidden=[200]), epochs=200, early_stop=3, lr=2e-2, latent=8)
    value = loop.train(config, tmp_path)
    _, records = contents(tmp_path)
    objective = [record["val/recon"] for record in records]
    assert len(records) < 200
    assert objective.index(min(objective)) == len(records) - 4
    assert value == pytest.approx(min(objective))
    best = last(tmp_path).state["best"]
    assert checkpoint.load(layout.checkpoints_of(tmp_path) / checkpoint.name_of(best["step"]))


def test_patience_begins_when_the_warm_up_ends(tmp_path):
    config = small(epochs=30, kl_weight=0.0, kl_warmup=8.0, early_stop=2, lr=1e-30)  # nothing changes
    loop.train(config, tmp_path)
    assert len(contents(tmp_path)[1]) == 10


def test_cosine_ends_at_nothing_and_clipping_bounds_the_step(tmp_path):
    loop.train(small(schedule=Cosine()), tmp_path)
    _, records = contents(tmp_path)
    assert records[0]["lr"] > 10 * records[-1]["lr"] > 0
    run = session.prepare(small(schedule=Cosine()), tmp_path, None)
    assert lr_at(0, run.steps_per_epoch, run.config) == 1e-3
    assert lr_at(run.steps_per_epoch, run.steps_per_epoch, run.config) == pytest.approx(5e-4)


# ---------------------------------------------------------------------------------------- execution


@pytest.mark.parametrize("changes", [{}, {"noise": NOISE, "grad_clip": 1.0, "kl_warmup": 1.0, "schedule": Cosine()}])
def test_a_replayed_step_is_the_step(tmp_path, changes):
    """What a CUDA graph would replay: the same function of the same tensors, here without the graph."""
    for execution in ("eager", "graph"):
        loop.train(small(execution=execution, **changes), tmp_path / execution)
    ours, theirs = (contents(tmp_path / name)[1] for name in ("graph", "eager"))
    for a, b in zip(ours, theirs, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the compiler's own
def test_a_compiled_network_trains_as_the_network(tmp_path):
    for execution in ("eager", "compile"):
        loop.train(small(execution=execution, epochs=1), tmp_path / execution)
    (ours,), (theirs,) = (contents(tmp_path / name)[1] for name in ("compile", "eager"))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_without_a_compiler_compiling_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"execution=compile: needs a C\+\+ compiler"):
        loop.train(small(execution="compile"), tmp_path / "run")


@pytest.fixture
def four_cores(monkeypatch):
    """A machine of which others take what the test says; torch would take four threads."""
    taken = {"others": 0.0}
    monkeypatch.setattr(threads, "_choice", None)
    monkeypatch.setattr(threads, "_of_torch", lambda: 4)
    monkeypatch.setattr(threads, "_allowed", lambda: 4)
    monkeypatch.setattr(threads, "LOOK", 0.0)
    monkeypatch.setattr(load, "cores", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(load, "others", lambda since, until: taken["others"])
    yield taken
    threads.keep(1)


def test_a_small_step_takes_few_threads_and_the_next_run_as_many_as_there_are(tmp_path, four_cores):
    counts = []
    for hidden in ([8], [2000]):
        session.prepare(small(threads=None, network=Mlp(hidden=hidden)), tmp_path, None)
        counts.append(torch.get_num_threads())
    assert counts == [1, 4]


def test_training_and_measuring_give_up_cores_that_others_take(tmp_path, four_cores, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(loop, "REFRESH", 1)
    four_cores["others"] = 3.0
    loop.train(small(threads=None, network=Mlp(hidden=[500]), epochs=1), tmp_path)
    assert torch.get_num_threads() == 1
    assert "computing with 1 thread: other processes take 3.0 of 4 cores" in caplog.messages
    four_cores["others"] = 0.0
    threads.compute_with(None)
    four_cores["others"] = 2.0
    assert torch.get_num_threads() == 4
    next(scoring.batches(build_dataset(small().dataset, None).val, lambda x, rng: x, torch.device("cpu"), 0))
    assert torch.get_num_threads() == 2
