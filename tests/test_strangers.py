"""A run that was not made here names no place and leads nowhere; see `strangers.py`, and `torture.py strangers`."""

import json
import shutil
from pathlib import Path

import pytest
import strangers
import torch

import aectl as package
from aectl.runs import checkpoint, layout, opening, seals
from aectl.training import loop

pytestmark = pytest.mark.usefixtures("without_pictures")

CPU = torch.device("cpu")


def quick(names, *chosen: str) -> list:
    """Parameters of which only these few are tried each time; `torture.py strangers` has all of them."""
    return [pytest.param(name, marks=[] if name in chosen else [pytest.mark.slow]) for name in names]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return strangers.Place(tmp_path_factory.mktemp("strangers"))


def untouched(ended: strangers.Ended) -> bool:
    """Whether a command ended as documented, and did nothing elsewhere."""
    assert ended.clean, ended.err
    assert ended.seen.all == []
    assert not ended.changed
    return True


def names_of(run: Path) -> dict:
    """What the newest checkpoint's configuration names."""
    return seals.names_in(checkpoint.newest(layout.checkpoints_of(run))[0].config["train"])


def test_the_hook_sees_what_it_is_to_see(place):
    def sing() -> None:
        import socket

        (place.elsewhere / "canary").read_text()
        (place.work / "link").symlink_to(place.elsewhere)
        list((place.work / "link").iterdir())
        (place.work / "link/made").mkdir()
        with (place.work / "link/written").open("w"):
            pass
        with socket.socket():
            pass

    try:
        ended = place.watch(sing)
        assert ended.changed
        assert [len(one) for one in (ended.seen.connections, ended.seen.folders)] == [1, 1]
        assert len(ended.seen.reads) == 2
        assert len(ended.seen.writes) == 1
    finally:
        (place.work / "link").unlink(missing_ok=True)
        (place.elsewhere / "made").rmdir()
        (place.elsewhere / "written").unlink()


KINDS = (
    "an absolute folder", "a folder above", "the home", "the folder of the command line by another way", "a share",
    "a web address", "a file's address", "the environment", "data.root", "pairs", "pairs, one above the other",
    "an array", "an official set", "an official set by checksum",
)  # fmt: skip


def test_these_are_all_kinds(place):
    assert tuple(strangers.named(place)) == KINDS


@pytest.mark.parametrize(
    "kind", quick(KINDS, "an absolute folder", "data.root", "pairs", "an official set", "an official set by checksum")
)
def test_nothing_is_read_where_a_stranger_says(place, kind):
    dataset, root = strangers.named(place)[kind]
    run = place.naming(dataset, root)
    ended = place.run("eval", f"run={run}")
    assert untouched(ended)
    assert ended.status == 3
    assert "was not made here" in ended.err
    assert "data.root=" in ended.err
    official = dataset["name"] in ("mnist", "svhn")
    assert ("nothing is downloaded" in ended.err) == official
    resumed = place.run("train", f"resume={run}", "epochs=2")
    assert untouched(resumed)
    assert resumed.status == 3
    assert ("nothing is downloaded" in resumed.err) == official


# What each command does with a run whose pictures would be elsewhere.
STATUSES = {
    "eval": 3, "sample": 0, "sample posterior": 3, "denoise": 2, "denoise a folder": 0, "encode": 3,
    "encode a folder": 0, "decode": 0, "score": 3, "score a folder": 0, "explore": 3, "export": 0, "doctor": 0,
    "report": 3, "runs": 0, "aectl.load": 0, "train resume": 3, "train sweep.resume": 2, "train into it": 2,
    "eval into it": 0, "aectl.train": 3,
}  # fmt: skip


@pytest.mark.parametrize("command", quick(STATUSES, "score a folder", "export", "report", "runs", "aectl.train"))
def test_no_command_reads_where_a_stranger_says(place, command):
    run = place.naming(strangers.own_folder(f"{place.elsewhere}/clean"), str(place.elsewhere))
    sweep = place.sweep([run])
    commands = strangers.reading(place, run, sweep) | strangers.writing(place, run, sweep)
    assert set(commands) == set(STATUSES)
    ended = commands[command]()
    assert untouched(ended)
    assert ended.status == STATUSES[command], ended.err


@pytest.mark.parametrize("command", ["sample", "aectl.load"])
def test_a_run_without_a_prior_asks_where_its_pictures_are(place, command):
    run = place.naming(strangers.own_folder(f"{place.elsewhere}/clean"), None, "ae")
    ended = strangers.reading(place, run, place.base)[command]()
    assert untouched(ended)
    assert ended.status == 3
    assert f"run={run}: was not made here" in ended.err


@pytest.mark.parametrize(
    ("dataset", "root", "found"),
    [(lambda place: strangers.own_folder("/x/y"), "clean", ("clean", None)),
     (lambda place: strangers.own_folder("/x/clean", noisy="/x/noisy"), "", ("clean", "noisy")),
     pytest.param(lambda place: strangers.own_folder("C:\\x\\clean", noisy="C:\\x\\noisy"), "",
                  ("clean", "noisy"), marks=pytest.mark.slow),
     pytest.param(lambda place: strangers.own_folder("clean", noisy="../noisy"), "", ("clean", "noisy"),
                  marks=pytest.mark.slow)],
    ids=["a folder", "pairs", "pairs of Windows", "pairs above"],
)  # fmt: skip
def test_with_data_root_it_goes_on_and_is_ones_own(place, dataset, root, found):
    """The configuration that is saved then has what the command line said, and is sealed."""
    run = place.naming(dataset(place), f"{place.elsewhere}/clean")
    where = place.pictures / root
    paired = found[1] is not None
    resumed = place.run("train", f"resume={run}", "epochs=2", f"data.root={where}")
    assert untouched(resumed)
    assert resumed.status == 0, resumed.err
    names = names_of(run)
    assert Path(names["dataset"]["root"]) == place.pictures / found[0]
    assert names["dataset"]["noisy"] == (str(place.pictures / found[1]) if paired else None)
    assert names["data.root"] is None
    saved = checkpoint.newest(layout.checkpoints_of(run))[0]
    with place.environment():
        assert opening.made_here(saved)
        assert opening.open_data(opening.open_run(str(run), "last", CPU), None).sizes()["test"] == 3
    # A checkpoint from before still has the stranger's words.
    old = min(layout.listing(layout.checkpoints_of(run)), key=layout.step_of)
    ended = place.run("eval", f"run={old}")
    assert untouched(ended)
    assert ended.status == 3
    assert place.run("eval", f"run={old}", f"data.root={where}").status == 0


def test_a_root_from_the_environment_is_not_written_into_a_strangers_run(place, monkeypatch):
    run = place.naming(strangers.own_folder("/x/y"))
    monkeypatch.setenv("AECTL_TEST_FOLDER", str(place.pictures / "clean"))
    refused = place.run("train", f"resume={run}", "epochs=2", "data.root=${oc.env:AECTL_TEST_FOLDER}")
    assert untouched(refused)
    assert refused.status == 2
    assert place.run("eval", f"run={run}", "data.root=${oc.env:AECTL_TEST_FOLDER}").status == 0


def test_pairs_lie_below_data_root_and_nowhere_else(place, tmp_path):
    run = place.naming(strangers.own_folder("clean", noisy="../../elsewhere/noisy"))
    (tmp_path / "sets").mkdir()
    shutil.copytree(place.pictures / "clean", tmp_path / "sets/clean")
    refused = place.run("eval", f"run={run}", f"data.root={tmp_path}/sets")
    assert refused.status == 3
    assert not refused.changed
    assert f"dataset.noisy={tmp_path}/sets/elsewhere/noisy: no such folder" in refused.err
    asked = place.run("eval", f"run={run}")
    assert "holds the clean pictures in clean, the noisy in elsewhere/noisy" in asked.err


def test_a_result_cannot_name_another_folder(place):
    sweep = place.sweep([place.made["vae"]])
    result = json.loads((sweep / "0/result.json").read_text())
    (sweep / "0/result.json").write_text(json.dumps({**result, "folder": str(place.elsewhere / "whole"), "job": "7"}))
    assert untouched(place.run("report", f"sweep={sweep}"))


def test_sets_that_need_no_file_just_work(place):
    run = place.copied()
    for words in (["eval", f"run={run}"], ["train", f"resume={run}", "epochs=2"]):
        ended = place.run(*words)
        assert untouched(ended)
        assert ended.status == 0, ended.err
    with place.environment():
        assert opening.made_here(checkpoint.newest(layout.checkpoints_of(run))[0])


# ------------------------------------------------------------------------------------------- one's own


def test_ones_own_run_says_where_its_pictures_are_wherever_it_lies(place, tmp_path):
    given = ["dataset=folder", f"dataset.root={place.pictures}/clean", "dataset.val_size=3", "dataset.test_size=3"]
    small = ["network.hidden=[4]", "epochs=1", "device=cpu", "threads=1", "explore=false", "figures_every=0"]
    run = tmp_path / "run"
    with place.environment():
        package.train(*given, *small, f"hydra.run.dir={run}")
        assert opening.made_here(checkpoint.newest(layout.checkpoints_of(run))[0])
    run.rename(tmp_path / "moved")
    (tmp_path / "disk").mkdir()
    run = tmp_path / "moved"
    (run / "checkpoints").rename(tmp_path / "disk/checkpoints")
    (run / "checkpoints").symlink_to(tmp_path / "disk/checkpoints")
    assert place.run("eval", f"run={run}").status == 0, "read through a link to a larger disk"
    resumed = place.run("train", f"resume={run}", "epochs=2")
    assert resumed.status == 6
    assert f"{run / 'checkpoints'}: is a link, and nothing is written through links" in resumed.err
    with place.environment("another"):
        saved = checkpoint.load(next((tmp_path / "disk/checkpoints").iterdir()))
        assert not opening.made_here(saved)


def test_a_batched_sweep_and_its_jobs_are_ones_own(place):
    small = ["epochs=1", "device=cpu", "threads=1", "explore=false", "figures_every=0", "network.hidden=[4]"]
    given = ["dataset=folder", f"dataset.root={place.pictures}/clean", "dataset.val_size=3", "dataset.test_size=3"]
    sweep = place.work / "batched"
    line = ["train", "-m", *given, *small, "hydra/launcher=batched", "hydra.launcher.n_jobs=1", "seed=0,1"]
    assert place.run(*line, f"hydra.sweep.dir={sweep}").status == 0
    jobs = layout.jobs_of(sweep)

    def own(job: Path) -> bool:
        with place.environment():
            return opening.made_here(checkpoint.newest(layout.checkpoints_of(job))[0])

    assert [own(job) for job in jobs] == [True, True]
    (jobs[1] / "result.json").unlink()
    for job in jobs:
        (job / seals.FILE).unlink()
    # The same command names the same pictures, so its job needs no seal, and gets one.
    assert place.run(*line, f"sweep.resume={sweep}").status == 0
    assert [own(job) for job in jobs] == [False, True]

    def edit(train: dict) -> None:
        train["dataset"]["root"] = f"{place.elsewhere}/clean"

    (jobs[1] / "result.json").unlink()
    (jobs[1] / seals.FILE).unlink()
    said = (jobs[1] / "config.yaml").read_bytes()
    strangers.edited(jobs[1], edit)
    (jobs[1] / "config.yaml").write_bytes(said)  # which says something else than the checkpoint
    ended = place.run(*line, f"sweep.resume={sweep}")
    assert ended.status == 3
    assert "was not made here" in ended.err
    assert ended.seen.all == []


def test_without_a_key_training_goes_on_and_says_so(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AECTL_KEY", str(tmp_path / "file/key"))
    from aectl.data.datasets.synthetic import Synthetic
    from configs import train_config

    config = train_config(
        dataset=Synthetic(val_size=8, test_size=8, synthetic_size=40, synthetic_shape=[1, 8, 8]), epochs=1,
        device="cpu", figures_every=0,
    )  # fmt: skip
    with caplog.at_level("WARNING"):
        loop.train(config, tmp_path / "run")
    assert sum("not marked as a run that was made here" in line for line in caplog.messages) == 1
    assert not (tmp_path / "run" / seals.FILE).exists()


# ------------------------------------------------------------------------------------------- links


LEADS = [f"{name} is a link" for name in (*strangers.FILES, *strangers.FOLDERS)] + [
    "checkpoints is a link to whole ones", "a checkpoint is a link", "a checkpoint's file is a link",
    "a link that leads nowhere", "a link to itself", "a log that is a hard link", "a lock that is a hard link",
    "a log that is a FIFO", "metrics that are a FIFO",
]  # fmt: skip


def test_these_are_all_leads(place):
    assert list(strangers.leads(place)) == LEADS


@pytest.mark.parametrize(
    "lead",
    quick(LEADS, ".lock is a link", "figures/new.png is a link", "checkpoints is a link", "a link to itself",
          "a checkpoint's file is a link", "a lock that is a hard link", "a log that is a FIFO"),
)  # fmt: skip
def test_nothing_is_written_through_a_run_that_leads_elsewhere(place, lead):
    run = place.copied()
    strangers.leads(place)[lead](run)
    ended = place.run("train", f"resume={run}", "epochs=2")
    assert untouched(ended)
    assert ended.status == 6
    assert str(run) in ended.err
    ended = place.run("eval", f"run={run}")
    assert untouched(ended)
    assert ended.status in (0, 4)


@pytest.mark.parametrize("lead", ["train.log is a link", "checkpoints is a link", "a log that is a FIFO"])
@pytest.mark.parametrize(
    "command", quick(["train sweep.resume", "train into it", "eval into it", "aectl.train"], "train sweep.resume")
)
def test_no_command_writes_into_what_leads_elsewhere(place, lead, command):
    run = place.copied()
    sweep = place.sweep([run])
    for folder in (run, sweep / "0"):
        strangers.leads(place)[lead](folder)
    ended = strangers.writing(place, run, sweep)[command]()
    assert untouched(ended)
    assert ended.status == 6


@pytest.mark.parametrize(
    "command", quick(["sample", "doctor", "report", "runs", "aectl.load", "export"], "sample", "doctor", "runs")
)
def test_nothing_is_read_through_links_of_a_strangers_run(place, command):
    run = place.copied()
    sweep = place.sweep([run])
    for folder in (run, sweep / "0"):
        strangers.leads(place)["checkpoints is a link to whole ones"](folder)
    ended = strangers.reading(place, run, sweep)[command]()
    assert untouched(ended)
    assert ended.status == (0 if command == "runs" else 4)
    assert command == "runs" or "is a link, and" in ended.err


def test_a_job_or_a_sweep_that_is_a_link_is_not_followed(place):
    sweep = place.sweep([place.copied()])
    (sweep / "1").symlink_to(place.elsewhere / "folder")
    assert untouched(place.run("report", f"sweep={sweep}"))
    ended = place.run("train", "-m", "experiment=smoke", "seed=0", f"sweep.resume={sweep}")
    assert untouched(ended)
    assert ended.status == 6


def test_the_latest_run_is_not_sought_behind_a_strangers_links(place):
    strangers.leads(place)  # which puts a whole run elsewhere
    sweep = place.work / "outputs/multirun/theirs"
    sweep.mkdir(parents=True)
    run = place.copied()
    strangers.leads(place)["checkpoints is a link to whole ones"](run)
    try:
        (sweep / "0").symlink_to(place.elsewhere / "whole")
        run.rename(sweep / "1")
        for words in (["eval", "run=latest"], ["report", "sweep=latest"], ["train", "resume=latest"], ["runs"]):
            ended = place.run(*words)
            assert ended.seen.all == []
            assert not ended.changed
    finally:
        shutil.rmtree(sweep)


def test_hydra_opens_no_log_of_its_own_before(place):
    run = place.copied()
    strangers.leads(place)["train.log is a link"](run)
    for words in ([f"resume={run}"], [f"hydra.run.dir={run}"]):
        ended = place.run("train", *words, "epochs=2", "hydra.verbose=true", "hydra.output_subdir=.hydra")
        assert untouched(ended)
        assert ended.status == 6
    assert not (run / ".hydra").exists()


def test_the_person_s_own_links_above_are_followed(place, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "disk")
    small = ["experiment=smoke", "device=cpu", "threads=1", "explore=false", "epochs=1"]
    run = tmp_path / "outputs/run"
    assert place.run("train", *small, f"hydra.run.dir={run}").status == 0
    (tmp_path / "itself").symlink_to(tmp_path / "disk/run")
    ended = place.run("train", f"resume={tmp_path / 'itself'}", "epochs=2")
    assert ended.status == 0, ended.err
    assert place.run("train", f"resume={run}", "epochs=3").status == 0
