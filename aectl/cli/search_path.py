"""Where Hydra looks for YAML files beside our own folder."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from aectl import installed


class InstalledConfigs(SearchPathPlugin):
    """The YAML files of choices that installed packages offer, after ours, so that none of ours is hidden.

    As folders: `pkg://` would import the package for a list of names.
    """

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append a folder for each package."""
        for folder, package in installed.folders().items():
            search_path.append(package, f"file://{folder}")
