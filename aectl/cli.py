"""`aectl <command> [hydra overrides]`: from the command line to one function, and from errors to exit codes.

The only module that calls Hydra. Nothing here imports torch before a command really runs, so that help and
completion answer at once.
"""

import functools
import logging
import os
import re
import secrets
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from aectl import __version__, checks, config, errors, signals, typed
from aectl.errors import ConfigError
from aectl.messages import explain

COMMANDS = {
    "train": "train an autoencoder; everything it makes lands in a run folder",
    "eval": "measure a trained run: metrics, baselines, figures, a diagnosis",
    "sample": "draw new images from a trained run",
    "denoise": "clean pictures with a trained run",
    "encode": "pictures to codes in a file: .npz, .csv or .parquet",
    "decode": "codes in a file back to pictures",
    "doctor": "show what this machine has, and verify a run's checkpoints",
}

HELP = f"""aectl {__version__}: the autoencoder workbench

usage: aectl <command> [overrides] [-m] [--help]

commands
  train     {COMMANDS["train"]}
  eval      {COMMANDS["eval"]}
  sample    {COMMANDS["sample"]}
  denoise   {COMMANDS["denoise"]}
  encode    {COMMANDS["encode"]}
  decode    {COMMANDS["decode"]}
  doctor    {COMMANDS["doctor"]}

try
  aectl train model=vae latent=2                  a 2-D variational autoencoder on 5,000 digits
  aectl train model=dae noise=masking noise.p=0.5 a denoising autoencoder
  aectl train -m latent=2,4,8,16 model=ae,vae     a sweep, with one table at its end
  aectl eval                                      the newest run, measured
  aectl train --help                              every choice and setting
  tensorboard --logdir outputs                    curves and pictures, also while it trains

completion   eval "$(aectl -sc install=bash)"     (or zsh, fish)
exit codes   0 done, 2 usage or config, 3 data, 4 checkpoint, 5 training diverged, 6 storage, 7 device,
             130 interrupted, 143 terminated
"""

PATH_KEYS = (
    "run", "resume", "input", "output", "reference", "data.root", "dataset.root", "hydra.run.dir", "hydra.sweep.dir",
)  # fmt: skip

log = logging.getLogger("aectl")


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its documented status; `argv` defaults to the process's own arguments."""
    args = list(sys.argv[1:] if argv is None else argv)
    signals.exit_on_termination()
    # Where the disk refuses, this thread learns of it and says so in one line; the log and TensorBoard's thread, who
    # meet it too, would print tracebacks.
    logging.raiseExceptions = False
    threading.excepthook = _quiet_about_storage
    try:
        status = _main(args)
    except KeyboardInterrupt:
        status = errors.INTERRUPTED
    except BrokenPipeError:
        status = _reader_has_gone()
    except Exception as error:
        if os.environ.get("AECTL_DEBUG") == "1":
            raise
        status, message = explain(error)
        if message is None:
            raise
        print(f"aectl: {message}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = _reader_has_gone()
    sys.exit(status)


def _quiet_about_storage(args: threading.ExceptHookArgs) -> None:
    if not issubclass(args.exc_type, OSError):
        threading.__excepthook__(args)


def _reader_has_gone() -> int:
    """Whoever read our output, such as `head`, has seen enough: no more words, and the status of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="", file=sys.stdout if args else sys.stderr)
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"aectl {__version__}")
        return 0
    if args[0] in ("-sc", "--shell-completion", "--shell_completion"):
        return _complete(args)
    command, overrides = args[0], args[1:]
    if command not in COMMANDS:
        hint = config.nearest(command, COMMANDS)
        raise ConfigError(f"{command}: no such command{hint} (commands: {', '.join(COMMANDS)})")
    if any(arg.startswith("--experimental-rerun") for arg in overrides):
        raise ConfigError("--experimental-rerun: it reads a pickle, which can run code; repeat the overrides instead")
    os.environ["AECTL_STAMP"] = time.strftime("%Y-%m-%d_%H-%M-%S")
    os.environ["AECTL_UNIQUE"] = secrets.token_hex(3)
    task = Task(command, shlex.join(["aectl", *args]))
    multirun = any(arg in ("-m", "--multirun") for arg in overrides)
    # argparse wants the overrides in one piece; -m may stand anywhere.
    overrides = [
        *["-m"] * multirun,
        *(_quoted(arg, multirun) for arg in overrides if arg not in ("-m", "--multirun")),
    ]
    try:
        hydra_main(command, task, overrides)
    finally:
        status = _finish_sweep(command, overrides) if multirun else task.status
    return status


def _quoted(override: str, multirun: bool) -> str:
    """A path among the overrides with its `~` expanded, and quoted for Hydra's grammar where it needs to be."""
    key, equals, value = override.partition("=")
    if key not in PATH_KEYS or not value or value[0] in "'\"" or "${" in value or (multirun and "," in value):
        return override
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    if re.fullmatch(r"[A-Za-z0-9_./:-]+", path):
        return f"{key}{equals}{path}"
    escaped = re.sub(r"(\\*)'", lambda match: 2 * match[1] + "\\'", path)
    return f"{key}{equals}'{escaped}'"


def _finish_sweep(command: str, overrides: list[str]) -> int:
    """The table of a sweep, and the exit code of its first failed job, if any."""
    from aectl import sweep

    given = [arg.partition("=")[2].strip("'") for arg in overrides if arg.startswith("hydra.sweep.dir=")]
    folder = Path(given[-1] if given else sweep_dir())
    if not folder.is_dir():
        return 0
    jobs = sweep.read_jobs(folder)
    if command == "train":
        sweep.summarize(folder, jobs)
    failed = [job for job in jobs if job["status"] == "failed"]
    if failed:
        print(f"aectl: {len(failed)} of {len(jobs)} jobs failed, the first: {failed[0]['error']}", file=sys.stderr)
    return failed[0]["exit_code"] if failed else 0


# ---------------------------------------------------------------------------------------------- Hydra


def config_dir() -> Path:
    """The folder of the YAML files: inside the installed package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent
    if (package / "configs").is_dir():
        return package / "configs"
    if (package.parent / "pyproject.toml").is_file() and (package.parent / "configs").is_dir():
        return package.parent / "configs"
    raise ConfigError(f"{package}/configs: the configuration files are missing; install aectl again")


def sweep_dir() -> str:
    """The folder of this launch's sweep; jobs in other processes inherit the environment and agree."""
    return f"outputs/multirun/{os.environ['AECTL_STAMP']}-{os.environ['AECTL_UNIQUE']}"


def run_dir(command: str, _root_: Any) -> str:
    """The output folder of a single run: a new one, or for a resumed run its own.

    Values that cannot be resolved are left out of its name; the task complains of them, naming their key.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    label = ""
    try:
        if resume := OmegaConf.select(_root_, "resume"):
            from aectl import runs

            found = runs.locate(resume)
            if found is not None:
                return str(found)
        if command == "train":
            label = f"{_root_.hydra.runtime.choices.model}-latent{_root_.latent}-"
    except OmegaConfBaseException:
        pass
    return f"outputs/{command}/{os.environ['AECTL_STAMP']}_{label}{os.environ['AECTL_UNIQUE']}"


def _register() -> None:
    """Tell Hydra the schemas and the three resolvers that our YAML files use."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    for name, schema in config.SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    OmegaConf.register_new_resolver("aectl.run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("aectl.sweep_dir", sweep_dir, replace=True)
    OmegaConf.register_new_resolver("aectl.help", lambda name: f"aectl {name}: {COMMANDS[name]}", replace=True)


def hydra_main(command: str, task: Callable[[Any], Any], args: list[str]) -> None:
    """Hand `args` to plain `hydra.main`; it calls `task` with the composed configuration, once for each job."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises, and `explain` words the error
    import hydra

    _check_flags(args)
    _register()
    sys.argv = ["aectl", *args]
    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=command)(task)()


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
            print(" ".join(name for name in COMMANDS if name.startswith(words[-1])))
            return 0
        if words[1] not in COMMANDS:
            return 0
        os.environ["COMP_LINE"] = " ".join([words[0], *words[2:]])
    hydra_main(words[1] if len(words) > 2 else "train", lambda cfg: None, args)
    return 0


# ---------------------------------------------------------------------------------------------- tasks


class Task:
    """One command as the function that Hydra calls; keeps the status of a single run.

    An error is kept, the job's result or the status saying that it failed: Hydra would print a line of its own beside
    ours, and end a plain sweep at the first.
    """

    def __init__(self, command: str, line: str):
        self.command = command
        self.line = line
        self.status = 0
        functools.update_wrapper(self, _run)

    def __call__(self, cfg: Any) -> float | None:
        """Run the command in Hydra's output folder; return what a sweeper may minimise."""
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode
        from omegaconf import OmegaConf

        hydra_cfg = HydraConfig.get()
        folder = Path(hydra_cfg.runtime.output_dir)
        if folder.is_relative_to(Path.cwd()):
            folder = folder.relative_to(Path.cwd())  # what people can read and type
        # Unresolved, because they are saved and ${oc.env:...} may stand in them.
        overrides = OmegaConf.to_container(hydra_cfg.overrides.task, resolve=False)
        in_sweep = hydra_cfg.mode == RunMode.MULTIRUN
        try:
            return _run(self.command, cfg, folder, overrides, self.line)
        except Exception as error:
            status, message = explain(error)
            if message is None or os.environ.get("AECTL_DEBUG") == "1":
                raise
            _log_to_file(message, folder)
            if not in_sweep:
                print(f"aectl: {message}", file=sys.stderr)
                self.status = status
                return None
            from aectl import sweep

            sweep.record_failure(folder, overrides, message, status)
            if hydra_cfg.runtime.choices["hydra/sweeper"] != "basic":
                raise  # a sweeper that learns from results must know
            return None


def _run(command: str, cfg: Any, folder: Path, overrides: list[str], line: str) -> float | None:
    """The composed configuration to plain dataclasses, its checks, and the module that does the work."""
    from omegaconf import OmegaConf

    for override in overrides:
        if override.startswith("~"):
            raise ConfigError(f"{override}: a setting cannot be taken away; give it another value or null")
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    try:
        settings = typed.from_dict(config.SCHEMAS[command], plain, "")
    except ValueError as error:  # a key that Hydra let in with "+"
        raise ConfigError(str(error)) from None
    checks.check(settings)
    # A folder that comes from the environment stays there: it is used, and reaches no saved file.
    if "oc.env" in str(OmegaConf.to_container(cfg, resolve=False)["data"]["root"]):
        os.environ["AECTL_DATA"], settings.data.root = settings.data.root, None
    if command == "train":
        if settings.resume is not None:
            _check_resume(overrides)
        from aectl.trainer import train

        return train(settings, folder, overrides=overrides, command=line)
    if command == "eval":
        from aectl.evaluator import run_eval as run
    elif command == "sample":
        from aectl.sampler import run_sample as run
    elif command == "denoise":
        from aectl.denoiser import run_denoise as run
    elif command == "encode":
        from aectl.codec import run_encode as run
    elif command == "decode":
        from aectl.codec import run_decode as run
    else:
        from aectl.doctor import run_doctor as run
    return run(settings, folder)


def _check_resume(overrides: list[str]) -> None:
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key not in config.RESUMABLE:
            raise ConfigError(
                f"{override}: a resumed run keeps its own settings; leave this out "
                f"(with resume= only these may change: {', '.join(config.RESUMABLE[1:])})"
            )


def _log_to_file(message: str, folder: Path) -> None:
    """The error as the last line of the log, or no folder at all for a command that left nothing but its log."""
    files = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    made = list(folder.iterdir()) if folder.is_dir() else []
    left = [path for path in made if path.suffix != ".log" and path.name != ".lock"]
    for handler in files:
        if left:
            handler.handle(logging.LogRecord("aectl", logging.ERROR, __file__, 0, message, None, None))
        handler.close()
    if folder.is_dir() and not left:
        for path in made:
            path.unlink()
        folder.rmdir()
