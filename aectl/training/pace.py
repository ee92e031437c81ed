"""Whether training has become slow, and why: looked at in the loop, said in one line."""

import logging

from aectl.machine import load

WINDOW = 2.0  # seconds of training that a rate is taken over
FALL = 3.0  # times slower than the run's fastest window is worth a line
RECOVERED = 1.5  # times slower is well again

log = logging.getLogger(__name__)


def per_second(images: int, seconds: float) -> float:
    """Images per second; 0 where the clock has stood still, which says nothing."""
    return images / seconds if seconds > 0 else 0.0


class Pace:
    """The rate of a run in images/s, window by window; time between epochs does not count."""

    def __init__(self) -> None:
        self.fastest = 0.0
        self.slow = False
        self.images = 0
        self.seconds = 0.0
        self.computed = 0.0  # seconds of this process
        self.others = 0.0  # seconds of others, on all cores
        self._since = load.now()

    def go(self) -> None:
        """Start the clock, at an epoch's beginning."""
        self._since = load.now()

    def count(self, images: int) -> None:
        """So many images more have been trained on."""
        self.images += images

    def look(self) -> None:
        """Read the clock, now and then and at an epoch's end; judge the window when it is over."""
        now = load.now()
        elapsed = max(0.0, now.at - self._since.at)
        self.seconds += elapsed
        self.computed += now.own - self._since.own
        self.others += load.others(self._since, now) * elapsed
        self._since = now
        if self.seconds >= WINDOW:
            self._judge(self.images / self.seconds)
            self.images, self.seconds, self.computed, self.others = 0, 0.0, 0.0, 0.0

    def _judge(self, rate: float) -> None:
        self.fastest = max(self.fastest, rate)
        if rate < self.fastest / FALL and not self.slow:
            self.slow = True
            log.warning("note: %.0f images/s, after %.0f before: %s", rate, self.fastest, self._reason())
        elif rate > self.fastest / RECOVERED:
            self.slow = False

    def _reason(self) -> str:
        others, computing = self.others / self.seconds, self.computed / self.seconds
        if others >= 0.5:
            return f"other processes take {others:.1f} of {len(load.cores())} cores"
        if computing < 0.5:
            return (
                f"this process computes {computing:.0%} of the time, and waits for the rest: for its images, for "
                "memory, or because it was stopped"
            )
        return "no other process is to be seen; the processor itself is slower: hot, or shared with other machines"
