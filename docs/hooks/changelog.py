"""CHANGELOG.md, which stands at the top of the project, as a page."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

CHANGELOG = Path(__file__).parents[2] / "CHANGELOG.md"


def on_files(files: Files, config: Any) -> Files:
    """The pages of docs/, and the changelog."""
    text = CHANGELOG.read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=text))
    return files
