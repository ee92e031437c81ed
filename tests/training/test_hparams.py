"""The hparams tab, as TensorBoard's own plugin answers the page for it."""

from pathlib import Path

from conftest import SMALL
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

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
    assert "hparam/val/loss" in metrics
    assert all(name.startswith("hparam/val/") for name in metrics)
    assert sorted(tuple(plain(row.hparams[name]) for name in names[:4]) for row in rows) == [
        (2, "ae", 5, 0.01), (2, "vae", 0, 0.001), (3, "vae", 0, 0.001)
    ]  # fmt: skip
    assert all(any(value.name.tag == "hparam/val/loss" for value in row.metric_values) for row in rows)
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
    assert metrics[0].startswith("hparam/train/"), "there are no validation images"
