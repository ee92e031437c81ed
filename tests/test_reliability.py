"""The short form of `make torture`, and signals to real processes."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aectl import signals
from aectl.runs import checkpoint, layout

pytestmark = pytest.mark.usefixtures("without_pictures")

TESTS = Path(__file__).resolve().parent


def torture(*args: str) -> dict:
    """Run a suite of `tests/torture.py` in a process of its own, from which it can fork."""
    command = [sys.executable, str(TESTS / "torture.py"), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_kills_lose_nothing():
    found = torture("kills", "--count", "5", "--seed", "1")
    assert found["kills"] >= 5
    assert found["different"] == found["failed"] == 0


@pytest.mark.slow
def test_exits_within_a_save_lose_nothing():
    found = torture("exits", "--stride", "13")
    assert found["steps"] >= 3


@pytest.mark.slow
def test_refusals_within_a_save_lose_nothing():
    found = torture("refusals", "--stride", "61")
    assert found["refusals"] >= 3


@pytest.mark.slow
def test_killed_sweeps_lose_nothing_and_leave_nobody():
    found = torture("sweeps", "--count", "3", "--seed", "2")
    assert found["kills"] + found["asked"] >= 3
    assert found["orphans"] == found["lost"] == found["tracebacks"] == 0


@pytest.mark.slow
def test_a_killed_report_is_repeated():
    found = torture("reports", "--count", "2")
    assert found["kills"] >= 2
    assert found["different"] == 0


@pytest.mark.slow
def test_strangers_runs_lead_nowhere():
    found = torture("strangers", "--stride", "29")
    assert found["commands"] >= 20
    assert found["connections"] == found["folders"] == found["reads"] == found["writes"] == found["changed"] == 0


@pytest.mark.slow
def test_kills_of_commands_that_write_folders_leave_what_goes_on():
    found = torture("folders", "--count", "8", "--seed", "1")
    assert found["kills"] >= 8
    assert found["gone_on"] >= 1
    assert found["different"] == found["leftovers"] == found["tracebacks"] == 0


# ------------------------------------------------------------------------------------------- signals


def when_it_trains(folder: Path, process: subprocess.Popen) -> None:
    """Wait until some run has finished an epoch."""
    end = time.perf_counter() + 60
    while not any(path.stat().st_size for path in folder.glob("outputs/**/metrics.jsonl")):
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() < end
        time.sleep(0.02)


ENDLESS = ["train", "experiment=smoke", "epochs=100000", "figures_every=0", "device=cpu"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_a_signal_saves_and_ends_with_its_code(started, tmp_path, number, status):
    process = started(tmp_path, *ENDLESS)
    when_it_trains(tmp_path, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert err == ""
    assert "stopped at step" in out
    (run,) = (tmp_path / "outputs/train").iterdir()
    saved, passed_over = checkpoint.newest(layout.checkpoints_of(run))
    assert saved.state["step"] > 0
    assert not passed_over
    assert f"resume={run.relative_to(tmp_path)}" in out


LEAVING = """
import atexit, os, sys
from aectl.__main__ import main
atexit.register(lambda: os.kill(os.getpid(), {number}))
sys.argv = ["aectl", "--version"]
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_a_command_leaves_does_not_change_how_it_ended(number):
    done = subprocess.run(
        [sys.executable, "-c", LEAVING.format(number=int(number))], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_signal_at_the_start_ends_it_without_a_traceback(started, tmp_path):
    process = started(tmp_path, *ENDLESS)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in err


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_within_an_import_waits_for_its_end(tmp_path, monkeypatch, number, end):
    (tmp_path / "slow_module.py").write_text(
        f"""
import signal
try:
    signal.raise_signal({int(number)})
    WHOLE = True
except BaseException:  # what torch's import of NumPy does
    WHOLE = False
"""
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, *signals.TERMINATING)}
    monkeypatch.setattr(signals, "_met", [])
    try:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        signals.unwind_on_signals()
        with pytest.raises(end):  # noqa: PT012 (the end comes between the two)
            import slow_module

            assert slow_module.WHOLE
            for _ in range(500):
                time.sleep(0.01)
        assert sys.modules.pop("slow_module").WHOLE
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_that_somebody_passed_over_ends_it_at_the_next_safe_point(monkeypatch, number, end):
    monkeypatch.setattr(signals, "_met", [])
    signals.heed()
    with contextlib.suppress(BaseException):
        signals._unwind(number, None)
    with pytest.raises(end), signals.StopRequest():
        pytest.fail("training has begun")


def test_in_a_sweep_the_finished_jobs_keep_their_results(started, tmp_path):
    process = started(tmp_path, "train", "-m", "experiment=smoke", "device=cpu", "epochs=1,100000", "figures_every=0")
    end = time.perf_counter() + 60
    folder = tmp_path / "outputs/multirun"
    while not (list(folder.glob("*/0_*/result.json")) and list(folder.glob("*/1_*/metrics.jsonl"))):
        assert process.poll() is None, process.communicate()
        assert time.perf_counter() < end
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (folder,) = (tmp_path / "outputs/multirun").iterdir()
    assert json.loads((folder / "0_vae-latent2/result.json").read_text())["status"] == "completed"
    table = (folder / "summary.md").read_text()
    assert "completed" in table
    assert "interrupted" in table
    assert "interrupted" in out


def test_an_ignored_hangup_stays_ignored(started, tmp_path):
    process = started(tmp_path, *ENDLESS, before=("nohup",))
    when_it_trains(tmp_path, process)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143


# ------------------------------------------------------------------------------------------- storage


def test_a_full_device_for_the_output_is_no_traceback(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aectl", "train", "experiment=smoke", "epochs=1", "device=cpu"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Logging error" not in done.stderr


def test_a_reader_that_leaves_early_is_no_traceback(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m aectl train experiment=smoke epochs=1 device=cpu | head -n 1",
        shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""


def test_a_folder_taken_away_under_the_run_is_one_line(started, tmp_path):
    process = started(tmp_path, *ENDLESS)
    when_it_trains(tmp_path, process)
    (run,) = (tmp_path / "outputs/train").iterdir()
    run.rename(tmp_path / "gone")
    try:
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 6
    assert len(err.strip().splitlines()) == 1
