"""The bar of a run that trains: where it is, and how good it is."""

from typing import Any

from tqdm import tqdm

# Steps and their speed would push out of a narrow window what a run is watched for; the log has images/s.
FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


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
