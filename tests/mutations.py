"""Seeded defects: each is applied to a copy of the project, where some test must then fail.

    python tests/mutations.py            every defect; prints the table
    python tests/mutations.py --only 3   one of them

A defect that no test notices is a hole in the tests, and the script exits with 1.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HANGS = 60  # seconds after which the tests count as failed; none here takes 20

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Defect:
    """Words of a module replaced by others, and the tests that should notice."""

    what: str
    module: str
    right: str
    wrong: str
    tests: str


DEFECTS = [
    Defect("a checkpoint gets its name before its files are there", "storage.py",
           "        for name, data in contents.items():\n            write(temporary / name, data)\n",
           "        temporary.rename(target)\n        temporary = target\n"
           "        for name, data in contents.items():\n            write(temporary / name, data)\n",
           "test_reliability.py -k exits"),
    Defect("files are not flushed to the disk", "storage.py", "            os.fsync(descriptor)\n    finally",
           "            pass\n    finally", "test_checkpoint.py"),
    Defect("hashes are not compared", "checkpoint.py", ' or _sha256(data) != entry["sha256"]', "",
           "test_checkpoint.py"),
    Defect("rotation removes the best", "session.py", "*([best.step] if best else [])", "",
           "test_trainer.py -k early"),
    Defect("rotation keeps nothing but the newest", "session.py", "KEEP = 2", "KEEP = 1",
           "test_trainer.py -k damaged"),
    Defect("random numbers of a step do not depend on the step", "trainer.py",
           '"step", first + n)', '"step", n)', "test_trainer.py -k fresh_in_each_epoch"),
    Defect("the order of an epoch is drawn from the global generator", "trainer.py",
           'torch.randperm(n, generator=generator("cpu", config.seed, "order", progress.epoch))',
           "torch.randperm(n)", "test_trainer.py -k exact_to_the_bit"),
    Defect("Adam's second moment is not restored", "session.py",
           "state[key].copy_(value)", 'state[key].copy_(value * (key != "exp_avg_sq"))',
           "test_trainer.py -k exact_to_the_bit"),
    Defect("running sums are not restored", "session.py", "session.sums.copy_(sums[", "session.sums.mul_(sums[",
           "test_trainer.py -k exact_to_the_bit"),
    Defect("the lock is ignored", "runs.py", "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass",
           "test_trainer.py -k two_processes"),
    Defect("the check for NaN comes after the step", "trainer.py",
           "    session.adam.step(lr, _not_finite(session, values))\n",
           "    session.adam.step(lr)\n    _not_finite(session, values)\n",
           "test_trainer.py -k not_finite"),
    Defect("only the loss is checked for NaN", "trainer.py",
           "[values.sum(), *[gradient.sum() for gradient in gradients]]",
           "[values.sum()]", "test_trainer.py -k not_finite"),
    Defect("SIGTERM does not save", "trainer.py", "                    save(session)\n                log.info(",
           "                    pass\n                log.info(", "test_trainer.py -k exact_to_the_bit"),
    Defect("records behind the checkpoint stay", "tracking.py", 'if record["step"] <= step', "if record",
           "test_trainer.py -k records_behind"),
    Defect("a FIFO is opened", "storage.py", "        if not path.is_file():", "        if not path.exists():",
           "test_bad_inputs.py -k special_files"),
    Defect("a failed job of a sweep exits with 0", "cli.py",
           'return failed[0]["exit_code"] if failed else 0', "return 0",
           "test_commands.py -k sweep_ends"),
    Defect("a path from the environment is saved", "job.py",
           '= settings.data.root, None', '= settings.data.root, settings.data.root',
           "test_commands.py -k environment"),
    Defect("KL has the wrong sign", "losses.py", "return 0.5 * (logvar.exp() + mu.square() - 1 - logvar)",
           "return -0.5 * (logvar.exp() + mu.square() - 1 - logvar)", "test_losses.py"),
    Defect("the bound forgets to divide by the number of draws", "importance.py",
           "total[0] - math.log(samples)", "total[0]", "test_exact.py -k exact_posterior"),
    Defect("importance weights lack the prior", "models.py", "z.square() - squared_eps", "-squared_eps",
           "test_exact.py -k exact_posterior"),
    Defect("training pixels are drawn once", "data.py", 'part if fresh and name == "train" else part', "part",
           "test_data.py -k dynamic"),
    Defect("patience counts during the warm-up", "trainer.py", "improved or warming", "improved",
           "test_trainer.py -k patience_begins"),
    Defect("a replayed step sees what it was recorded with", "replaying.py", "place.copy_(one)", "pass",
           "test_replaying.py"),
    Defect("biases decay with the weights", "adam.py", "one.dim() > 1", "one.dim() > 0", "test_adam.py"),
    Defect("the thread that fetches ahead loses the last batches", "feeding.py",
           "        while coming:\n            yield coming.popleft().result()\n", "", "test_feeding.py"),
    Defect("pixels wrap around instead of being clamped", "images.py", "x.clamp(0, 1).mul(255)", "x.mul(255)",
           "test_data.py"),
]  # fmt: skip


def noticed(defect: Defect) -> tuple[bool, float]:
    """Apply the defect to a copy; whether the tests fail there, and after how many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        ignored = shutil.ignore_patterns(".venv", ".git", "outputs", "__pycache__", "docs", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        path = copy / "aectl" / defect.module
        text = path.read_text()
        if text.count(defect.right) != 1:
            raise SystemExit(f"{defect.what}: its words stand {text.count(defect.right)} times in {defect.module}")
        path.write_text(text.replace(defect.right, defect.wrong))
        began = time.perf_counter()
        file, *selection = defect.tests.split(" ")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", f"tests/{file}", *selection]
        env = {**os.environ, "PYTHONPATH": str(copy)}
        try:
            done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, timeout=HANGS)
        except subprocess.TimeoutExpired:  # such as a FIFO that was opened after all
            return True, time.perf_counter() - began
        if done.returncode not in (0, 1):
            raise SystemExit(f"{defect.what}: the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == 1, time.perf_counter() - began


def main() -> None:
    """Apply the defects, two at a time, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, help="the number of one defect")
    args = parser.parse_args()
    chosen = [args.only] if args.only is not None else range(len(DEFECTS))
    print("| # | defect | module | noticed by | |\n|---|---|---|---|---|")
    missed = 0
    with ThreadPoolExecutor(2) as pool:
        for number, (found, seconds) in zip(chosen, pool.map(lambda n: noticed(DEFECTS[n]), chosen), strict=True):
            defect = DEFECTS[number]
            missed += not found
            verdict = f"noticed in {seconds:.0f} s" if found else "MISSED"
            print(f"| {number} | {defect.what} | `{defect.module}` | `{defect.tests}` | {verdict} |", flush=True)
    print(f"\n{len(list(chosen)) - missed} of {len(list(chosen))} noticed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
