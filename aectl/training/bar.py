"""The bar of a run that trains: where it is, and how good it is."""

import contextlib
import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

# Steps and their speed would push out of a narrow window what a run is watched for; the log has images/s.
FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


def lines_above() -> AbstractContextManager[None]:
    """In the block what the log says on the screen stands above the bar; one that says nothing there stays silent."""
    shown = any(getattr(one, "stream", None) in (sys.stdout, sys.stderr) for one in logging.getLogger().handlers)
    return logging_redirect_tqdm() if shown else contextlib.nullcontext()


class Bar(tqdm):
    """`latest` is the record of the last epoch that has ended."""

    latest: dict[str, Any]

    def __init__(self, steps: int, done: int, *, shown: bool):
        self.latest = {}
        silent = None if shown else True  # None: where nobody watches
        super().__init__(
            total=steps, initial=done, unit="step", disable=silent, dynamic_ncols=True, leave=False, bar_format=FORMAT
        )

    def show(self, step: int, where: str, figures: str) -> None:
        """Move to `step`."""
        self.set_description_str(where, refresh=False)
        if figures:
            self.set_postfix_str(figures, refresh=False)
        self.update(step - self.n)
