"""The hparams tab, as TensorBoard's own plugin answers the page for it."""

import json
from pathlib import Path

import pytest
from conftest import SMALL
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

pytestmark = pytest.mark.usefixtures("without_pictures")

SHOWN = 5  # columns of each kind that the page shows unasked


def tab(logdir: Path):
    """What the page asks for: the experiment with its columns in their order, and a row for each run."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    runs.Reload()
    provider = MultiplexerDataProvider(runs, str(logdir))
    context = backend_context.Context(TBContext(data_provider=provider))
    experiment = get_experiment.Handler(
        RequestContext(), context, "", api_pb2.GetExperimentRequest(hparams_limit=1000)
    ).run()
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN],
        col_params=[api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos],
        slice_size=100,
    )
    groups = list_session_groups.Handler(RequestContext(), context, "", asked).run().session_groups
    return experiment, sorted(groups, key=lambda group: group.name)


def plain(value) -> float | str:
    return value.string_value if value.HasField("string_value") else value.number_value


def test_a_sweep_is_compared_by_what_differs_between_its_jobs(aectl, tmp_path):
    more = ("figures_every=0", "epochs=1", "network.hidden=[8]")
    assert aectl("train", "-m", *SMALL, *more, "latent=3,2").status == 0
    assert aectl("train", *SMALL, *more, "latent=2", "model=ae", "lr=0.01", "seed=5").status == 0
    experiment, rows = tab(tmp_path / "outputs")
    names = [info.name for info in experiment.hparam_infos]
    assert names[:SHOWN] == ["latent", "model", "seed", "train.lr", "dataset"], "and not Adam's constants"
    assert [info.name for info in experiment.hparam_infos if info.differs] == names[:4]
    ends = experiment.hparam_infos[0].domain_interval
    assert (ends.min_value, ends.max_value) == (2, 3)
    metrics = [info.name.tag for info in experiment.metric_infos][:SHOWN]
    names_of_metrics = ("1 val loss", "2 val psnr", "3 val recon", "4 val kl", "5 val elbo")
    assert metrics == [f"epoch (best)/{name}" for name in names_of_metrics]
    assert sorted(tuple(plain(row.hparams[name]) for name in names[:4]) for row in rows) == [
        (2, "ae", 5, 0.01), (2, "vae", 0, 0.001), (3, "vae", 0, 0.001)
    ]  # fmt: skip
    results = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.rglob("result.json")}
    assert len(rows) == len(results) == 3
    for row in rows:
        shown = {value.name.tag: value.value for value in row.metric_values}
        result = results[Path(row.sessions[0].name).name]
        for name in names_of_metrics:
            key = name[2:].replace(" ", "/")
            assert (f"epoch (best)/{name}" in shown) == (key in result), "an AE has no KL and no ELBO"
            if key in result:
                assert shown[f"epoch (best)/{name}"] == pytest.approx(result[key], rel=1e-6)
    ae = next(row for row in rows if plain(row.hparams["model"]) == "ae")
    assert not [name for name in ae.hparams if name.startswith(("train.kl", "train.prior", "train.objective"))]
    # Where things lie and what computes them is nobody's hyperparameter.
    assert not set(names) & {f"train.{key}" for key in ("device", "threads", "figures_every", "data.memory_gb")}


def test_a_single_run_is_shown_by_what_defines_it(aectl, tmp_path):
    assert aectl("train", *SMALL, "epochs=1", "model=dae", "dataset.val_size=0", "seed=7").status == 0
    experiment, (row,) = tab(tmp_path / "outputs")
    first = [info.name for info in experiment.hparam_infos][:SHOWN]
    assert first == ["dataset", "latent", "model", "network", "seed"]
    assert [plain(row.hparams[name]) for name in first] == ["synthetic", 2, "dae", "mlp", 7]
    assert plain(row.hparams["train.noise.clip"]) == "true"
    metrics = [info.name.tag for info in experiment.metric_infos]
    assert metrics[:2] == ["epoch (best)/1 train loss", "epoch (best)/3 train recon"], "there is no validation"
