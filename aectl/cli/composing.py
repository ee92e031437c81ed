"""What Hydra and we have to know of each other: schemas, resolvers, where runs go, and settings without a line."""

import os
from pathlib import Path
from typing import Any

from aectl.cli import messages, paths
from aectl.cli.groups import config_dir, help_on_choices
from aectl.commands.table import COMMANDS
from aectl.errors import ConfigError, UserError
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
    return composed_run(command, [paths.for_hydra(word) for word in words])[0]


def composed_run(command: str, overrides: list[str]) -> tuple[Any, Path]:
    """`composed` of overrides as Hydra has them, and the folder where the command would put what it makes."""
    try:
        return _composed(command, overrides)
    except Exception as error:
        status, message = messages.explain(error)
        if isinstance(error, UserError) or status != ConfigError.exit_code:
            raise
        raise ConfigError(message) from None


def _composed(command: str, overrides: list[str]) -> tuple[Any, Path]:
    from hydra import compose, initialize_config_dir
    from hydra.core.plugins import Plugins
    from omegaconf import OmegaConf, open_dict

    from aectl.cli.search_path import InstalledConfigs

    register()
    Plugins.instance().register(InstalledConfigs)
    with initialize_config_dir(str(config_dir()), job_name=command, version_base="1.3"):
        found = compose(command, overrides, return_hydra_config=True)
    folder = Path(found.hydra.run.dir) if "AECTL_STAMP" in os.environ else Path()
    with open_dict(found):
        del found["hydra"]
    kind, _ = COMMANDS[command].load()
    settings = typed.from_dict(kind, OmegaConf.to_container(found, resolve=True, throw_on_missing=True), "")
    common.check(settings)
    return settings, folder


def register() -> None:
    """Tell Hydra the schemas and the resolvers that our YAML files use."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    for name, command in COMMANDS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=command.schema)
    OmegaConf.register_new_resolver("aectl.run_dir", run_dir, replace=True)
    OmegaConf.register_new_resolver("aectl.run_label", run_label, replace=True)
    OmegaConf.register_new_resolver("aectl.sweep_dir", sweep_dir, replace=True)
    OmegaConf.register_new_resolver("aectl.choices", help_on_choices, replace=True)
    OmegaConf.register_new_resolver("aectl.help", lambda name: f"aectl {name}: {COMMANDS[name].words}", replace=True)
