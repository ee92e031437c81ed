"""`aectl <command> [hydra overrides]`: from the command line to one function, and from errors to exit codes.

Nothing here imports torch before a command really runs, so that help and completion answer at once.
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from aectl import __version__, errors, shell, signals
from aectl.cli import composing, paths
from aectl.cli.job import Job, complain, prepare_process
from aectl.cli.messages import Task, explain
from aectl.errors import ConfigError
from aectl.settings import config

HELP = f"""aectl {__version__}: the autoencoder workbench

usage: aectl <command> [overrides] [-m] [--help]

commands
  train     {config.COMMANDS["train"]}
  eval      {config.COMMANDS["eval"]}
  sample    {config.COMMANDS["sample"]}
  denoise   {config.COMMANDS["denoise"]}
  encode    {config.COMMANDS["encode"]}
  decode    {config.COMMANDS["decode"]}
  report    {config.COMMANDS["report"]}
  doctor    {config.COMMANDS["doctor"]}

try
  aectl train model=vae latent=2                  a 2-D variational autoencoder on 5,000 digits
  aectl train model=dae noise=masking noise.p=0.5 a denoising autoencoder
  aectl train -m latent=2,4,8,16 model=ae,vae     a sweep, with one table at its end
  aectl report                                    the newest sweep: its page, plots and sentences
  aectl eval                                      the newest run, measured
  aectl train --help                              every choice and setting
  tensorboard --logdir outputs                    curves and pictures, also while it trains

completion   eval "$(aectl -sc install=bash)"     (or zsh, fish)
exit codes   0 done, 2 usage or config, 3 data, 4 checkpoint, 5 numbers not finite, 6 storage, 7 device,
             130 interrupted, 143 terminated
"""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its documented status; `argv` defaults to the process's own arguments."""
    args = list(sys.argv[1:] if argv is None else argv)
    prepare_process()
    task = Task()
    try:
        status = _main(args, task)
    except KeyboardInterrupt:
        status = errors.INTERRUPTED
    except BrokenPipeError:
        status = _reader_has_gone()
    except Exception as error:
        signals.heed()
        if os.environ.get("AECTL_DEBUG") == "1":
            raise
        status, message = explain(error, task)
        if message is None:
            raise
        complain(message, status)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _reader_has_gone()
    sys.exit(status)


def _reader_has_gone() -> int:
    """Whoever read our output, such as `head`, has seen enough: no more words, and the status of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + getattr(signal, "SIGPIPE", 13)  # Windows has none


def _main(args: list[str], task: Task) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="", file=sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"aectl {__version__}")
        return 0
    if args[0] in ("-sc", "--shell-completion", "--shell_completion"):
        return _complete(args)
    command, overrides = args[0], args[1:]
    if command not in config.COMMANDS:
        hint = config.nearest(command, config.COMMANDS)
        raise ConfigError(f"{command}: no such command{hint} (commands: {', '.join(config.COMMANDS)})")
    if any(arg.startswith("--experimental-rerun") for arg in overrides):
        raise ConfigError("--experimental-rerun: it reads a pickle, which can run code; repeat the overrides instead")
    multirun = any(arg in ("-m", "--multirun") for arg in overrides)
    stamp, unique = time.strftime("%Y-%m-%d_%H-%M-%S"), secrets.token_hex(3)
    if several := int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun's
        if command != "train" or multirun:
            raise ConfigError("under torchrun there is a single `aectl train` only; run the rest without it")
        from aectl.training import processes

        stamp, unique = processes.join(f"{stamp} {unique}").split()
    os.environ["AECTL_STAMP"], os.environ["AECTL_UNIQUE"] = stamp, unique
    overrides = [paths.for_hydra(arg, multirun) for arg in overrides if arg not in ("-m", "--multirun")]
    _check_overrides(command, overrides)
    task.command, task.places = command, paths.paths_among(overrides)
    job = Job(task, shell.command(*args))
    if multirun:
        return _sweep(job, overrides)
    hydra_main(job, overrides)
    if several:
        processes.leave()
    return job.status


# --------------------------------------------------------------------------------------------- sweeps


def _sweep(job: Job, overrides: list[str]) -> int:
    """All jobs of a sweep, then their table; returns the exit code of the first that failed, if any."""
    from aectl.runs import sweeps

    command = job.task.command
    folder = job.task.places["hydra.sweep.dir"] = _sweep_folder(job.task.places)
    overrides = [paths.for_hydra(shell.setting("hydra.sweep.dir", folder)), *overrides]
    workers, jobs = (1, 0) if command != "train" else _side_by_side(overrides)
    if workers > 1:
        overrides += [
            "hydra/launcher=joblib", f"hydra.launcher.n_jobs={workers}", "hydra.hydra_logging.root.level=WARNING",
        ]  # fmt: skip
    try:
        with sweeps.watched(folder, jobs, workers) if workers > 1 else contextlib.nullcontext():
            # argparse wants the overrides in one piece; -m may stand anywhere.
            hydra_main(job, ["-m", *overrides])
    finally:
        found = sweeps.read_jobs(folder) if folder.is_dir() else []
        if command == "train":
            sweeps.summarize(folder, found)
    failed = [one for one in found if one["status"] == "failed"]
    if failed:
        which = f"{len(failed)} of {len(found)} jobs failed, the first" if len(found) > 1 else "its only job failed"
        print(f"aectl: {which}: {failed[0]['error']}", file=sys.stderr)
    return failed[0]["exit_code"] if failed else 0


def _sweep_folder(given: dict[str, Path]) -> Path:
    """Where a sweep lands: in the folder given, in that of the sweep to go on with, else in a new one."""
    resumed = given.get("sweep.resume")
    if resumed and not resumed.is_dir():
        raise ConfigError(f"sweep.resume={resumed}: no such folder; give the folder of the sweep to go on with")
    return given.get("hydra.sweep.dir") or resumed or Path(composing.sweep_dir())


def _side_by_side(overrides: list[str]) -> tuple[int, int]:
    """How many jobs of a sweep to run next to each other, each on its share of the cores, and how many there are.

    A small model leaves a second core half idle. One after another go jobs on a GPU, which they would share, those of
    another sweeper or launcher, and where the number of threads is itself swept.
    """
    given = dict(override.split("=", 1) for override in overrides if "=" in override)
    on_gpu = given.get("device", "auto") != "cpu" and Path("/dev/nvidiactl").exists()
    threads = given.get("threads", "1")
    if {"hydra/launcher", "hydra/sweeper"} & given.keys() or on_gpu or not threads.isdigit():
        return 1, 0
    jobs = composing.count_jobs(overrides)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(jobs, cores // max(1, int(threads)))), jobs


# ---------------------------------------------------------------------------------------------- Hydra


def hydra_main(job: Job, args: list[str]) -> None:
    """Hand `args` to plain `hydra.main`; it calls `job` with the composed configuration, in a sweep several times."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and `explain` words the error
    import hydra

    _check_flags(args)
    composing.register()
    sys.argv = ["aectl", *args]
    hydra.main(version_base="1.3", config_path=str(composing.config_dir()), config_name=job.task.command)(job)()


def _check_overrides(command: str, overrides: list[str]) -> None:
    """What Hydra would take, and mean something else by, or refuse in words that lead nowhere."""
    groups = {path.name for path in composing.config_dir().iterdir() if path.is_dir()} - {"hydra"}
    choices = composing.choices_of(command)
    for override in overrides:
        key, value = paths.key_of(override), override.partition("=")[2]
        if key in groups - choices:
            raise ConfigError(f"{override}: aectl {command} has no {key} to choose (--help lists what it has)")
        if key in choices and value == "null":
            raise ConfigError(f"{override}: is no choice; leave it out")
        if key in choices and override.startswith("+"):
            raise ConfigError(f"{override}: leave the + out: {override.lstrip('+')}")
        if key == "hydra.job.chdir" and value.lower() not in ("", "false", "null"):
            raise ConfigError(f"{override}: aectl works in the folder where it is started; leave this out")
        if key in paths.HYDRA_PATHS and not value:
            raise ConfigError(f"{override}: is empty; give a folder")


def _check_flags(args: list[str]) -> None:
    """Hydra's own flags, before Hydra answers a wrong one with a page."""
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise ConfigError(f"{message} (`aectl <command> --help` lists the flags; overrides stand in one piece)")

    parser = get_args_parser()
    parser.error = refuse
    parsed = parser.parse_args(args)
    modes = ("run", "multirun", "cfg", "info", "shell_completion")
    given = [name for name in modes if getattr(parsed, name)]
    if len(given) > 1:
        refuse(f"--{given[0]} and --{given[1]} exclude each other")


def _complete(args: list[str]) -> int:
    """Hydra's completion, which knows no command word: complete that here, else take it out of the line."""
    words = os.environ.get("COMP_LINE", "").split(" ")
    if any(arg.startswith("query=") for arg in args):
        if len(words) <= 2:
            print(" ".join(name for name in config.COMMANDS if name.startswith(words[-1])))
            return 0
        if words[1] not in config.COMMANDS:
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    hydra_main(Job(Task(words[1] if len(words) > 2 else "train"), ""), args)
    return 0
