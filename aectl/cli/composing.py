"""What Hydra and we have to know of each other: schemas, resolvers, where runs go, and settings without a line."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aectl.cli import messages, paths
from aectl.cli.groups import config_dir
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, UserError
from aectl.machine import garbage
from aectl.runs import schema
from aectl.settings import common, typed


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
            from aectl.runs import finding

            found = finding.locate(resume, "resume")
            if found is not None:
                return str(found)
        if command == "train":
            label = f"{run_label(_root_)}-"
    except (OmegaConfBaseException, ConfigError):
        pass
    return f"outputs/{command}/{os.environ['AECTL_STAMP']}_{label}{os.environ['AECTL_UNIQUE']}"


def run_label(_root_: Any) -> str:
    """How a training run is called in the name of its folder: `vae-latent2`, `dae-unet`."""
    words = schema.title_of(_root_)
    return "-".join(words).replace("latent ", "latent").replace(" ", "-")


def composed(command: str, *words: str) -> Any:
    """The settings of `aectl <command> <words>`, as its class has them, checked; no command line is needed.

    Raises:
        ConfigError: there is no such setting or choice, or a value is of another type or out of its range.
    """
    with _in_one_line():
        return settings_of(command, _compose(command, [paths.for_hydra(word) for word in words]))


def composed_run(command: str, overrides: list[str]) -> tuple[Any, Path]:
    """`composed` of overrides as Hydra has them, and the folder where this launch would put what it makes."""
    with _in_one_line():
        found = _compose(command, overrides)
        return settings_of(command, found), Path(found.hydra.run.dir)


def settings_of(command: str, cfg: Any) -> Any:
    """What Hydra composed as the class of the command has it, checked.

    Raises:
        ConfigError: a setting of no such class that Hydra let in with `+`, or a value out of its range.
    """
    from omegaconf import OmegaConf

    with garbage.left_alone():
        kind, _ = COMMANDS[command].load()
    own = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
    plain = OmegaConf.to_container(own, resolve=True, throw_on_missing=True)
    try:
        settings = typed.from_dict(kind, plain, "")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    common.check(settings)
    return settings


def _compose(command: str, overrides: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from hydra.core.plugins import Plugins

    from aectl.cli.search_path import InstalledConfigs

    register()
    Plugins.instance().register(InstalledConfigs)
    with initialize_config_dir(str(config_dir()), job_name=command, version_base="1.3"):
        return compose(command, overrides, return_hydra_config=True)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
    """Hydra's errors as the command words them."""
    try:
        yield
    except Exception as error:
        status, message = messages.explain(error)
        if isinstance(error, UserError) or status != ConfigError.exit_code:
            raise
        raise ConfigError(message) from None


def register() -> None:
    """Tell Hydra the schemas and the resolvers that our YAML files use."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    for name, command in COMMANDS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=command.schema)
    OmegaConf.register_new_resolver("aectl.run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("aectl.run_label", run_label, replace=True)
    OmegaConf.register_new_resolver("aectl.sweep_dir", sweep_dir, replace=True)
