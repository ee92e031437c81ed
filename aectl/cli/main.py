"""`aectl <command> [hydra overrides]`: from the command line to one function, and from errors to exit codes.

Nothing here imports torch before a command really runs, so that help and completion answer at once.
"""

import os
import secrets
import signal
import sys
import time

from aectl import __version__, errors, shell, signals, torchrun
from aectl.cli import conduct, paths, streams, words
from aectl.cli.job import Job
from aectl.cli.launching import check_overrides, check_places, hydra_main, name_launch
from aectl.cli.messages import Task, explain
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, StorageError
from aectl.terminal import say

HELPS = ("-h", "--help", "help")
READER_GONE = 128 + getattr(signal, "SIGPIPE", 13)  # Windows has none
HELPS_WITHIN = {"-h", "--help"}  # after a command
LINES = "\n".join(f"  {name:9} {command.words}" for name, command in COMMANDS.items())
HELP = f"""aectl {__version__}: the autoencoder workbench

usage: aectl <command> [overrides] [-m] [--help]

commands
{LINES}

try
  aectl train model=vae latent=2                  a 2-D variational autoencoder on 5,000 digits
  aectl train model=dae noise=masking noise.p=0.5 a denoising autoencoder
  aectl train -m latent=2,4,8,16 model=ae,vae     a sweep, with one table at its end
  aectl report                                    the newest sweep: its page, plots and sentences
  aectl eval                                      the newest run, measured
  aectl train --help                              every choice and setting
  tensorboard --logdir outputs                    curves and pictures, also while it trains

completion   eval "$(aectl -sc install=bash)"     (or zsh, fish)
exit codes   0 done, 2 usage or config, 3 data, 4 checkpoint, 5 numbers not finite, 6 storage,
             7 device or memory, 130 interrupted, 143 terminated"""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its documented status; `argv` defaults to the process's own arguments."""
    args = list(sys.argv[1:] if argv is None else argv)
    conduct.prepare()
    task = Task()
    try:
        status = _main(args, task)
    except KeyboardInterrupt:
        status = errors.INTERRUPTED
    except BrokenPipeError:
        status = READER_GONE
    except Exception as error:
        signals.heed()
        if os.environ.get("AECTL_DEBUG") == "1":
            raise
        status, message = explain(error, task)
        if message is None:
            raise
        conduct.complain(message, status)
    sys.exit(_as_heard(status or 0))


def _as_heard(status: int) -> int:
    """The status of a command that has ended with `status`, once all that it said is written or refused.

    Whoever reads our output and goes, such as `head`, has seen enough: no more words, and the status of SIGPIPE.
    """
    refused = streams.refusal()
    if refused is None or status not in (0, READER_GONE):
        return status
    if isinstance(refused, BrokenPipeError):
        return READER_GONE
    conduct.complain(
        f"standard output: {refused.strerror or refused}; what the command had to do is done, but not all that it "
        "said is there", StorageError.exit_code,
    )  # fmt: skip
    return StorageError.exit_code


def _main(args: list[str], task: Task) -> int:
    if args[:1] and args[0] in HELPS and args[1:] and not args[1].startswith("-"):
        args = [args[1], "--help", *args[2:]]  # help on one command
    if not args or args[0] in HELPS:
        say(HELP, sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in ("-V", "--version", "version"):
        say(f"aectl {__version__}")
        return 0
    if args[0] in ("-sc", "--shell-completion", "--shell_completion"):
        from aectl.cli import completing

        completing.answer(args)
        return 0
    command, overrides = args[0], args[1:]
    if command not in COMMANDS:
        raise words.no_command(args)
    if HELPS_WITHIN & set(overrides):
        from aectl.cli import help

        say(help.page(command, overrides).removesuffix("\n"))
        return 0
    if any(arg.startswith("--experimental-rerun") for arg in overrides):
        raise ConfigError("--experimental-rerun: it reads a pickle, which can run code; repeat the overrides instead")
    words.check(command, overrides)
    for note in words.notes(overrides):
        conduct.tell(note)
    multirun = any(arg in words.MULTIRUN for arg in overrides)
    stamp, unique = time.strftime("%Y-%m-%d_%H-%M-%S"), secrets.token_hex(3)
    if several := torchrun.processes() > 1:
        if command != "train" or multirun:
            raise ConfigError("under torchrun there is a single `aectl train` only; run the rest without it")
        torchrun.started()  # before torch is imported, whether the rest can be used
        from aectl.machine import lifelines
        from aectl.training import processes

        if "TORCHELASTIC_RUN_ID" in os.environ:  # else whoever has started us may be a shell that has left
            lifelines.follow(os.getppid())
        stamp, unique = processes.join(f"{stamp} {unique}").split()
    own, flags = words.parted(command, [arg for arg in overrides if arg not in words.MULTIRUN])
    overrides = [*(paths.for_hydra(arg, multirun) for arg in own), *flags]  # which argparse wants in one piece
    name_launch(stamp, unique, overrides)
    check_overrides(command, overrides, multirun=multirun)
    task.command, task.places = command, paths.paths_among(overrides)
    check_places(task.places)
    job = Job(task, shell.command(*args))
    if multirun:
        from aectl.cli.multirun import run_sweep

        return run_sweep(job, overrides)
    hydra_main(job, overrides)
    if several:
        processes.leave()
    return job.status
