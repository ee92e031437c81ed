"""A real browser for pages that a command has written, and a watch over what they ask for and complain of."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Watched:
    """A page with all that it asked for, and what it complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def asked(self) -> list[str]:
        """Everything but the file itself and what is inside it."""
        return [url for url in self.requests[1:] if not url.startswith("data:")]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.exit("there is no Chromium: apt-get install chromium, or CHROMIUM=<its file>", 2)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def opened(browser) -> Iterator[Callable[..., Watched]]:
    """Opens a file as a student does, from the disk."""
    contexts = []

    def at(file: Path, **more: Any) -> Watched:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **more}))
        watched = Watched(contexts[-1].new_page())
        watched.page.on("request", lambda request: watched.requests.append(request.url))
        watched.page.on("console", lambda message: watched.complaints.append(message.text))
        watched.page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        watched.page.goto(file.resolve().as_uri())
        return watched

    yield at
    for context in contexts:
        context.close()
