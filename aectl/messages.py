"""From an error to the one line that says it and the exit code; the one place that words Hydra's errors anew."""

import dataclasses
import errno
import sys

from aectl import config, errors
from aectl.errors import ConfigError, UserError, one_line


def explain(error: BaseException) -> tuple[int, str | None]:
    """The exit status and the one line for an error; no line for one that is a defect of ours."""
    if isinstance(error, UserError):
        return error.exit_code, one_line(error)
    if isinstance(error, OSError) and not _from_hydra(error):
        where = f"{error.filename}: " if error.filename else ""
        return errors.StorageError.exit_code, one_line(f"{where}{error.strerror or error}; {_storage_remedy(error)}")
    if _from_hydra(error):
        return ConfigError.exit_code, one_line(_config_line(error))
    return 1, None


# Choices that Hydra has once a package is installed.
PLUGINS = {
    "hydra/sweeper=optuna": "'aectl[sweepers]'",
    "hydra/launcher=submitit_local": "'aectl[sweepers]'",
    "hydra/launcher=submitit_slurm": "'aectl[sweepers]'",
    "hydra/launcher=ray": "hydra-ray-launcher",
}


def _storage_remedy(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "free some space, then go on with resume=<run>; what was saved is whole"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        return "work in a folder that you may write to, or name another with hydra.run.dir=<folder>"
    return "the storage refused; what was saved is whole, go on with resume=<run> once it answers"


def _from_hydra(error: BaseException) -> bool:
    """Whether Hydra or OmegaConf refused the configuration."""
    if "hydra" not in sys.modules:
        return False
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, HydraException | OmegaConfBaseException)


def _config_line(error: BaseException) -> str:
    """Hydra's message of many lines as one that names the key, and the nearest name where one was mistyped."""
    from hydra.errors import MissingConfigException, OverrideParseException

    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as an override; quote a strange value twice, as in \"key='a b,c'\""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        hint = config.nearest(name, error.options)
        if plugin := PLUGINS.get(f"{group}={name}"):
            return f"{group}={name}: is not installed; pip install {plugin}"
        return f"{group}={name}: no such choice{hint} (choices: {', '.join(error.options)})"
    cause = error.__cause__ or error
    text = one_line(cause)
    key = getattr(cause, "full_key", None)
    if "not in" in text and key:
        fields = [field.name for field in dataclasses.fields(getattr(cause, "object_type", None) or object)]
        hint = config.nearest(key.rpartition(".")[2], fields)
        return f"{key}: no such setting{hint} (--help lists them)"
    text = text.split(" full_key:")[0]
    if key and key not in text:
        text = f"{key}: {text}"
    if error.__cause__ is not None and "Error merging override " in str(error):
        override = one_line(error).removeprefix("Error merging override ")
        return f"{override}: {text.removeprefix(f'{key}: ')}"
    return text
