"""The README's picture of `aectl explore`: a page in a real browser, two images picked, the walk between them.

    python benchmarks/explorer_picture.py <explore.html> docs/gallery/explorer.png

Needs Chromium (`apt-get install chromium`, or CHROMIUM=<its file>).
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

SIZE = {"width": 1280, "height": 800}
PICKED = (0, 1)  # labels of the images that are picked


def photograph(page: Path) -> Image.Image:
    """The page as a lecturer would show it."""
    browser = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        shown = chromium.new_page(viewport=SIZE, device_scale_factor=1)
        shown.goto(page.resolve().as_uri())
        while not shown.evaluate("() => Boolean(window.explorer && explorer.frames)"):
            shown.wait_for_timeout(50)
        for label in PICKED:
            x, y = shown.evaluate(
                "(label) => explorer.plane.spot(Math.max(0, (explorer.shown.labels || []).indexOf(label)))", label
            )
            shown.locator("#plane").click(position={"x": x, "y": y})
        shown.wait_for_timeout(500)
        image = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
        chromium.close()
    return image


if __name__ == "__main__":
    page, target = map(Path, sys.argv[1:])
    photograph(page).save(target, optimize=True)
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")
