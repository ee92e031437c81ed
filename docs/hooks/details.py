"""What pages fold away is Markdown too, as GitHub takes it."""

from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page's Markdown, with the word that makes Python's Markdown look into `<details>`."""
    return markdown.replace("<details>", '<details markdown="1">')
