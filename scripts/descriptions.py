"""A hook of mkdocs: a page's description, for search engines and link previews, is its own first paragraph."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.structure.pages import Page

__all__ = ["on_page_markdown"]

NOT_TEXT = ("#", "```", "|", "<", "!", "- ", "    ")
LONGEST = 300


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Set ``description`` where the page does not, and leave the text as it is."""
    for paragraph in markdown.split("\n\n"):
        text = paragraph.strip()
        if text and not text.startswith(NOT_TEXT):
            page.meta.setdefault("description", plain(text))
            break
    return markdown


def plain(markdown: str) -> str:
    """The text without links and marks, cut at a word."""
    text = re.sub(r"\[([^]]*)]\([^)]*\)", r"\1", markdown)
    text = " ".join(re.sub(r"[`*]", "", text).split()).rstrip(":")
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"
