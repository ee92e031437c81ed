"""What has become of a sweep's jobs they say themselves: whatever their folders are called, however they ended."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import SMALL
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hypothesis import given, settings
from hypothesis import strategies as st

from aectl.cli import job, multirun
from aectl.errors import OtherSweepError, TakenError
from aectl.runs import finding, layout, receipts, states, sweeps
from aectl.runs.receipts import Receipt, Word

pytestmark = pytest.mark.usefixtures("without_pictures")

TINY = (*SMALL, "epochs=1", "dataset.synthetic_size=40", "dataset.val_size=10", "dataset.test_size=10",
        "dataset.synthetic_shape=[1,8,8]", "network.hidden=[4]", "hydra.sweep.dir=s")  # fmt: skip
SAVED = Path(__file__).resolve().parent.parent / "saved_by_0.1.0"


def statuses(folder: Path) -> dict[str, str]:
    return {one["job"]: one["status"] for one in sweeps.read_jobs(folder)}


NAMES = ["a/b ${latent}/c", "x${hydra.job.num}", "²_${hydra.job.num}", "it's, ${hydra.job.num}é=\n"]


@pytest.mark.parametrize(
    ("launcher", "name"),
    [*(("basic", name) for name in NAMES), ("batched", NAMES[0]),
     *(pytest.param("batched", name, marks=pytest.mark.slow) for name in NAMES[1:])],
)  # fmt: skip
def test_a_failed_job_is_seen_in_any_folder(aectl, tmp_path, launcher, name):
    more = ("hydra.launcher.n_jobs=1",) if launcher == "batched" else ()
    done = aectl(
        "train", "-m", *TINY, "latent=2,-1", f"hydra.sweep.subdir={name}", f"hydra/launcher={launcher}", *more
    )
    assert done.status == 2
    assert done.err.startswith("aectl: 1 of 2 jobs failed, the first: latent=-1: must be")
    assert len(done.err.splitlines()) == 1
    assert statuses(tmp_path / "s") == {"0": "completed", "1": "failed"}
    table = (tmp_path / "s/summary.md").read_text()
    assert "completed" in table
    assert "failed" in table


@pytest.mark.parametrize("launcher", [("basic",), ("batched", "hydra.launcher.n_jobs=1")])
def test_two_jobs_in_one_folder_lose_neither(aectl, tmp_path, launcher):
    given = ("train", "-m", *TINY, f"hydra/launcher={launcher[0]}", *launcher[1:])
    done = aectl(*given, "latent=2,3", "hydra.sweep.subdir=same")
    assert done.status == 2
    assert "is the folder of job 0; give each its own: 'hydra.sweep.subdir=same_${hydra.job.num}'" in done.err
    assert len(done.err.splitlines()) == 1
    assert statuses(tmp_path / "s") == {"0": "completed", "1": "failed"}
    assert json.loads((tmp_path / "s/same/result.json").read_text())["status"] == "completed"
    rows = [row.split("|")[1:3] for row in (tmp_path / "s/summary.md").read_text().splitlines()[2:]]
    assert [[cell.strip() for cell in row] for row in rows] == [["0", "2"], ["1", "3"]]
    leftover = tmp_path / "r/pictures/.tmp-0123456789abcdef"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    assert aectl("report", "sweep=s", "hydra.run.dir=r").status == 0
    assert not leftover.exists(), "it is a killed report's"


def test_the_folder_of_a_job_that_failed_is_its_own_too(aectl, tmp_path):
    done = aectl("train", "-m", *TINY, "latent=-2,2", "hydra.sweep.subdir=same")
    assert done.status == 2
    assert statuses(tmp_path / "s") == {"0": "failed", "1": "failed"}
    assert json.loads((tmp_path / "s/same/result.json").read_text())["error"].startswith("latent=-2")


@pytest.mark.parametrize("name", [".", "../beside", "a/../..", ".jobs", ".jobs/1"])
def test_a_folder_outside_of_the_sweep_is_refused_and_not_made(aectl, tmp_path, name):
    done = aectl("train", "-m", *TINY, "latent=2", f"hydra.sweep.subdir={name}")
    assert done.status == 2
    assert "is no place within its sweep; give a name below s" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "beside").exists()
    assert statuses(tmp_path / "s") == {"0": "failed"}


def test_whatever_else_lies_in_a_sweep_is_no_job_of_it(aectl, tmp_path):
    for name in ("²_x", "٣_x", "7_pictures", "9" * 200, ".jobs/x.json", ".jobs/1.txt", "12"):
        (tmp_path / "s" / name).mkdir(parents=True)
    done = aectl("train", "-m", *TINY, "latent=2", "hydra.sweep.subdir=mine")
    assert (done.status, done.err) == (0, "")
    assert statuses(tmp_path / "s") == {"0": "completed"}


def test_jobs_deep_in_a_sweep_are_found_by_name_and_as_the_latest(aectl, tmp_path):
    given = [one for one in TINY if not one.startswith("hydra.sweep.dir")]
    assert aectl("train", "-m", *given, "latent=2,3", "hydra.sweep.subdir=by/size/${latent}").status == 0
    (sweep,) = finding.sweeps().values()
    assert list(finding.jobs()) == [f"{sweep.name}/by/size/{n}" for n in (2, 3)]
    assert finding.sweep("latest", "sweep", layout.RESULT) == sweep
    assert finding.run("latest") in finding.jobs().values()
    short = finding.ids()[sweep]
    assert finding.run(f"{short}/by/size/3") == sweep / "by/size/3"
    assert states.of_sweep(sweep).state == "2 of 2 done"
    assert f"{short}" in aectl("runs").out
    assert aectl("report").status == 0


def test_a_job_that_never_was_makes_no_sweep_end_well(aectl, tmp_path, monkeypatch):
    real = job.Job.__call__

    def lost(self, cfg):
        return None if cfg.latent == 3 else real(self, cfg)

    monkeypatch.setattr(job.Job, "__call__", lost)
    done = aectl("train", "-m", *TINY, "latent=2,3")
    assert done.status == 130
    assert done.err == (
        "aectl: 1 of 2 jobs did not come to an end, as if killed; repeat the command with sweep.resume=s\n"
    )
    assert statuses(tmp_path / "s") == {"0": "completed"}


def test_jobs_are_counted_as_hydra_makes_them():
    assert multirun._expected(["noise=glob([g*,b*],exclude=blur)", "latent=2,3", "seed=range(3)", "lr=1"]) == 12
    assert multirun._expected(["hydra/sweeper=optuna", "lr=interval(1,2)"]) == 0, "that decides itself"


@pytest.fixture
def own_files(tmp_path) -> Path:
    """A folder of configurations: `mine` says that it is a sweep, as Hydra lets it; the others are jobs of one."""
    (tmp_path / "conf/experiment").mkdir(parents=True)
    begin = "# @package _global_\ndefaults: [smoke, _self_]\n"
    sets = "dataset: {synthetic_size: 40, val_size: 10, test_size: 10, synthetic_shape: [1, 8, 8]}\n"
    for name, more in (
        ("mine", "hydra: {mode: MULTIRUN, sweeper: {params: {latent: '2,-3'}}}\n"), ("x_two", "latent: 2\n"),
        ("x_three", "latent: 3\n"),
    ):  # fmt: skip
        (tmp_path / f"conf/experiment/{name}.yaml").write_text(begin + sets + more)
    return tmp_path / "conf"


def test_no_configuration_file_makes_a_sweep_of_one_run(aectl, tmp_path, own_files):
    given = ("experiment=mine", *TINY[1:], f"--config-dir={own_files}")
    done = aectl("train", *given)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("aectl: hydra.mode: a configuration file says it; leave it out there; `-m` makes")
    assert not (tmp_path / "s").exists()
    done = aectl("train", "-m", *given)
    assert done.status == 2
    assert done.err.startswith("aectl: 1 of 2 jobs failed, the first: latent=-3: must be")


def test_jobs_of_choices_in_a_folder_of_ones_own_are_counted_with_flags_anywhere(aectl, tmp_path, own_files):
    own, flag = (
        ["experiment=glob(x_*)", *SMALL[1:], "network.hidden=[4]", "epochs=1"],
        ["--config-dir", str(own_files)],
    )
    assert multirun._expected([*own, *flag]) == 2
    for at in (1, 2, 4):
        words = ["train", *own, f"hydra.sweep.dir=s{at}"]
        words[at:at] = [*flag, "-m"]
        done = aectl(*words)
        assert (done.status, done.err) == (0, "")
        assert {one["latent"] for one in map(_settings, sweeps.read_jobs(tmp_path / f"s{at}"))} == {2, 3}


@pytest.mark.parametrize("sweep", [(), ("-m",)])
def test_a_folder_of_ones_own_is_refused_where_it_is_not_and_may_be_called_anything(
    aectl, tmp_path, own_files, sweep
):
    own = ["experiment=x_two", *SMALL[1:], "network.hidden=[4]", "epochs=1"]
    refused = aectl("train", *sweep, *own, "--config-dir", "k=v")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err == "aectl: --config-dir=k=v: no such folder; give that of your YAML files\n"
    own_files.rename(tmp_path / "k=v")
    assert aectl("train", *sweep, "--config-dir", "k=v", *own).status == 0


def _settings(found: dict) -> dict:
    return yaml.safe_load((found["folder"] / "config.yaml").read_text(encoding="utf-8"))


def test_hydra_composes_a_command_once(aectl, monkeypatch):
    composed, real = [], ConfigLoaderImpl.load_configuration

    def counted(self, *given, **more):
        composed.append(more)
        return real(self, *given, **more)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    assert aectl("runs").status == 0
    assert len(composed) == 1


def test_a_launcher_whose_job_was_killed_is_no_traceback(aectl, monkeypatch):
    def broken(self, cfg):
        Word.begin(job.Place.of_hydra("train", []).word)
        raise RuntimeError("a worker was terminated\nunexpectedly")

    monkeypatch.setattr(job.Job, "__call__", broken)
    done = aectl("train", "-m", *TINY, "latent=2")
    assert done.status == 130
    assert done.err.splitlines()[-1] == (  # before it stands what Hydra says of a job that raises here
        "aectl: its only job did not come to an end, as if killed (RuntimeError: a worker was terminated "
        "unexpectedly); repeat the command with sweep.resume=s"
    )


def test_a_defect_of_ours_in_a_job_is_raised_and_its_job_has_failed(aectl, tmp_path, monkeypatch):
    def defect(*given, **more):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr(job, "run", defect)
    with pytest.raises(ZeroDivisionError):
        aectl("train", "-m", *TINY, "latent=2")
    assert statuses(tmp_path / "s") == {"0": "failed"}


def test_a_killed_job_of_another_command_is_no_success(aectl, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(receipts.Word, "completed", lambda self: None)
        done = aectl("runs", "-m", "sort=age,name", "hydra.sweep.dir=s")
    assert done.status == 130
    assert aectl("runs", "-m", "sort=age,name", "hydra.sweep.dir=s").status == 0
    assert statuses(tmp_path / "s") == {"0": "completed", "1": "completed"}


def test_a_sweep_is_not_begun_in_the_folder_of_another(aectl, tmp_path):
    assert aectl("train", "-m", *TINY, "latent=2").status == 0
    before = (tmp_path / "s/.jobs/0.json").read_bytes(), (tmp_path / "s/0_vae-latent2/result.json").read_bytes()
    done = aectl("train", "-m", *TINY, "latent=2,3")
    assert done.status == 2
    assert done.err == (
        "aectl: hydra.sweep.dir=s: holds a sweep already; go on with sweep.resume=s or choose another folder\n"
    )
    assert before == (
        (tmp_path / "s/.jobs/0.json").read_bytes(),
        (tmp_path / "s/0_vae-latent2/result.json").read_bytes(),
    )


def test_a_sweep_of_which_all_failed_may_be_repeated_in_its_folder(aectl, tmp_path):
    assert aectl("train", "-m", *TINY, "latent=2,3", "lr=-1", "hydra.sweep.subdir=x${latent}").status == 2
    assert aectl("train", "-m", *TINY, "latent=3", "hydra.sweep.subdir=x${latent}").status == 0
    assert statuses(tmp_path / "s") == {"0": "completed"}


def test_another_command_changes_nothing_that_the_jobs_have_said(aectl, tmp_path):
    assert aectl("train", "-m", *TINY, "latent=2,3").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "s/.jobs").iterdir()}
    batched = ("hydra/launcher=batched", "hydra.launcher.n_jobs=1")
    for other in (("latent=2,3", "lr=0.5", *batched), ("latent=3,2",), ("latent=2,3", "hydra.sweep.subdir=x")):
        done = aectl("train", "-m", *TINY, *other, "sweep.resume=s")
        assert done.status == 2
        assert "repeat the command that began the sweep" in done.err
        assert len(done.err.splitlines()) == 1
        assert before == {path: path.read_bytes() for path in (tmp_path / "s/.jobs").iterdir()}
    assert not (tmp_path / "s/x").exists()


def test_a_sweep_of_0_1_0_is_read_as_it_was_and_gone_on_with(tmp_path):
    folder = tmp_path / "s"
    shutil.copytree(SAVED, folder)
    before = statuses(folder)
    assert before == dict.fromkeys("012", "completed")
    (folder / "1_vae-latent2/result.json").unlink()
    (folder / "5_pictures").mkdir()
    sweeps.taken_up(folder)
    assert statuses(folder) == {**before, "1": "interrupted"}
    assert layout.jobs_of(folder) == [path for _, path in layout.numbered(folder)][:3]
    (folder / "7_of_mine").mkdir()
    assert statuses(folder) == {**before, "1": "interrupted"}


def test_a_job_says_how_it_stands(tmp_path):
    folder = tmp_path / "s/j"
    folder.mkdir(parents=True)
    word = Word(tmp_path / "s", 3, "train", folder, ["latent=2"])
    word.begin()
    (found,) = sweeps.read_jobs(tmp_path / "s")
    assert found == {"job": "3", "folder": folder, "status": "interrupted", "overrides": ["latent=2"]}
    sweeps.record_failure(folder, ["latent=2"], "an old word", 3)
    assert sweeps.read_jobs(tmp_path / "s")[0]["status"] == "interrupted", "that was said before it was gone on with"
    word.failed("no luck", 5)
    shutil.rmtree(folder)
    (found,) = sweeps.read_jobs(tmp_path / "s")
    assert (found["status"], found["error"], found["exit_code"]) == ("failed", "no luck", 5)


def test_a_mark_without_a_number_is_that_of_a_killed_job(tmp_path, monkeypatch):
    monkeypatch.setattr(receipts, "PATIENCE", 0.05)
    (tmp_path / "s/j").mkdir(parents=True)
    (tmp_path / "s/j/.job").touch()
    Word(tmp_path / "s", 4, "train", tmp_path / "s/j", []).begin()
    with pytest.raises(TakenError, match="is the folder of job 4"):
        Word(tmp_path / "s", 5, "train", tmp_path / "s/j", []).begin()


def test_of_each_number_a_sweep_has_one_job(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "s" / name).mkdir(parents=True)
    Word(tmp_path / "s", 0, "train", tmp_path / "s/a", []).begin()
    (tmp_path / "s/a/checkpoints/step-00000001").mkdir(parents=True)
    with pytest.raises(OtherSweepError, match="job 0 is a there, not b; repeat the command"):
        Word(tmp_path / "s", 0, "train", tmp_path / "s/b", []).begin()
    assert not (tmp_path / "s/b").exists()


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PLACES = ["j", "../j", "/etc", "", ".", "a/../../b", "\0", ".jobs/0", "\udce9", "j" * 5000]


@settings(max_examples=200, deadline=None)
@given(st.fixed_dictionaries({
    "command": st.just("train") | ANYTHING, "folder": st.sampled_from(PLACES) | ANYTHING,
    "overrides": st.just(["latent=2"]) | ANYTHING, "error": ANYTHING, "exit_code": ANYTHING,
    "status": st.sampled_from(["begun", "completed", "failed"]) | ANYTHING,
}) | ANYTHING)  # fmt: skip
def test_any_receipt_is_read_or_passed_over(tmp_path_factory, receipt):
    folder = tmp_path_factory.getbasetemp() / "strange"
    (folder / ".jobs").mkdir(parents=True, exist_ok=True)
    (folder / ".jobs/0.json").write_text(json.dumps(receipt))
    found = sweeps.read_jobs(folder)
    assert len(found) <= 1
    for one in found:
        assert one["folder"].is_relative_to(folder)
        assert ".." not in one["folder"].parts
    assert len(sweeps.table(found)[1]) == len(found)
    list(finding.trained_in(folder))


@pytest.mark.parametrize("status", ["begun", "completed", "failed"])
@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_receipt_says_that_its_job_lies(tmp_path, place, status):
    (tmp_path / "s/.jobs").mkdir(parents=True)
    (tmp_path / "j").mkdir()
    (tmp_path / "j/result.json").write_text('{"status": "completed"}')
    receipt = {"command": "train", "folder": place, "overrides": [], "status": status}
    (tmp_path / "s/.jobs/0.json").write_text(json.dumps(receipt))
    found = sweeps.read_jobs(tmp_path / "s")
    expected = ["failed"] if status == "failed" else []
    if "\0" in place:
        expected = ["interrupted"]  # no text has that, so that nothing of the receipt is read
    assert [one["status"] for one in found] == expected
    assert all(".." not in one["folder"].parts for one in found)
    assert layout.jobs_of(tmp_path / "s") == []


def test_a_receipt_that_cannot_be_read_is_a_job_of_which_nothing_is_known(tmp_path):
    (tmp_path / ".jobs").mkdir()
    for number, text in enumerate(("", "{", "[]", "{}", '{"status": "begun"}')):
        (tmp_path / f".jobs/{number}.json").write_text(text)
    assert statuses(tmp_path) == dict.fromkeys("01234", "interrupted")
    assert receipts.read(tmp_path, 0) is None
    assert receipts.folder_of(tmp_path, Receipt("train", "a/b", [], "begun")) == tmp_path / "a/b"
