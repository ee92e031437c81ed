"""How a run differs from what it would be if nobody had said anything, as the text tab of TensorBoard has it."""

import pytest
import yaml
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from aectl.runs import defaults
from aectl.settings import typed
from configs import of


def differing(*words: str) -> dict[str, str]:
    return defaults.differing(typed.to_dict(of("train", *words)))[0]


def test_nothing_is_said_of_a_run_that_was_given_nothing():
    assert differing() == {}
    assert "# not the default\nnothing\n" in defaults.page("aectl train", typed.to_dict(of("train")))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("latent=2", "lr=1e-3", "kl_weight=1"), {}),  # which are the defaults
        (("latent=8", "lr=0.01"), {"latent": "8 (default 2)", "lr": "0.01 (default 1e-3)"}),
        (("network.hidden=[8]",), {"network.hidden": "[8] (default [300, 300])"}),
        (("network=conv",), {"network.name": "conv (default mlp)"}),  # its own settings are as its file has them
        (("network=conv", "network.blocks=1"),
         {"network.name": "conv (default mlp)", "network.blocks": "1 (default 0)"}),
        (("noise=gaussian", "noise.clip=false"),
         {"noise.name": "gaussian (default none)", "noise.clip": "false (default true)"}),
        (("model=iwae",), {"objective.name": "iwae (default elbo)"}),
        (("seed=3", "threads=1"), {"seed": "3 (default 0)", "threads": "1 (default null)"}),
        (("dataset=folder", "dataset.root=/x"),
         {"dataset.name": "folder (default mnist5k)", "dataset.root": "/x"}),
    ],
)  # fmt: skip
def test_what_differs_is_told_with_the_default(words, told):
    assert differing(*words) == told


def test_what_a_package_has_brought_is_told_without_a_default():
    settings = typed.to_dict(of("train"))
    settings["noise"] = {"name": "rain", "drops": 5}
    settings["data"]["root"] = "/data"
    assert defaults.differing(settings)[0] == {
        "noise.name": "rain (default none)", "noise.drops": "5", "data.root": "/data (default null)"
    }  # fmt: skip


def test_every_setting_is_on_the_page_once_after_the_command(aectl, only_run):
    done = aectl("train", "experiment=smoke", "device=cpu", "threads=1", "latent=3", "figures_every=0", "epochs=1")
    assert done.status == 0, done.err
    runs = EventMultiplexer().AddRun(str(only_run()), "run")
    runs.Reload()
    (event,) = runs.Tensors("run", "config/text_summary")
    text = event.tensor_proto.string_val[0].decode().strip("`\n")
    command, _, rest = text.partition("\n\n# not the default\n")
    assert command == "aectl train experiment=smoke device=cpu threads=1 latent=3 figures_every=0 epochs=1"
    own, _, others = rest.partition("\n\n# as by default\n")
    assert "latent: 3 (default 2)" in own.splitlines()
    assert "dataset.name: synthetic (default mnist5k)" in own.splitlines()
    saved = typed.flat(yaml.safe_load((only_run() / "config.yaml").read_text()))
    keys = [line.partition(":")[0] for line in (*own.splitlines(), *others.splitlines())]
    assert sorted(keys) == sorted(saved)
