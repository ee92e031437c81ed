"""`aectl <command> [hydra overrides]`: from the command line to one function, and from errors to exit codes.

Nothing here imports torch before a command really runs, so that help and completion answer at once.
"""

import os
import secrets
import signal
import sys
import time

from aectl import __version__, errors, shell, signals
from aectl.cli import paths, words
from aectl.cli.job import Job, complain, prepare_process, tell
from aectl.cli.launching import check_overrides, hydra_main, name_launch
from aectl.cli.messages import Task, explain
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError

HELPS = ("-h", "--help", "help")
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
             7 device or memory, 130 interrupted, 143 terminated
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
    if args[:1] and args[0] in HELPS and args[1:] and not args[1].startswith("-"):
        args = [args[1], "--help", *args[2:]]  # help on one command
    if not args or args[0] in HELPS:
        print(HELP, end="", file=sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in ("-V", "--version", "version"):
        print(f"aectl {__version__}")
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

        print(help.page(command, overrides), end="")
        return 0
    if any(arg.startswith("--experimental-rerun") for arg in overrides):
        raise ConfigError("--experimental-rerun: it reads a pickle, which can run code; repeat the overrides instead")
    words.check(command, overrides)
    for note in words.notes(overrides):
        tell(note)
    multirun = any(arg in words.MULTIRUN for arg in overrides)
    stamp, unique = time.strftime("%Y-%m-%d_%H-%M-%S"), secrets.token_hex(3)
    if several := int(os.environ.get("WORLD_SIZE", "1")) > 1:  # torchrun's
        if command != "train" or multirun:
            raise ConfigError("under torchrun there is a single `aectl train` only; run the rest without it")
        from aectl.training import processes

        stamp, unique = processes.join(f"{stamp} {unique}").split()
    overrides = [paths.for_hydra(arg, multirun) for arg in overrides if arg not in words.MULTIRUN]
    name_launch(stamp, unique, overrides)
    check_overrides(command, overrides, multirun=multirun)
    task.command, task.places = command, paths.paths_among(overrides)
    job = Job(task, shell.command(*args))
    if multirun:
        from aectl.cli.multirun import run_sweep

        return run_sweep(job, overrides)
    hydra_main(job, overrides)
    if several:
        processes.leave()
    return job.status
