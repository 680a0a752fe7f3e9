"""Links of the documents that people read in the repository itself, which the site's own check does not see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), ROOT / "e2e/README.md", ROOT / "bench/results/README.md"]
LINK = re.compile(r"\]\((?P<target>[^)\s#]+)(?:#(?P<anchor>[^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    dead = []
    for found in LINK.finditer(page.read_text()):
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            continue
        path = page.parent / target
        text = path.read_text() if path.suffix == ".md" and path.exists() else ""
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        if not path.exists() or (found["anchor"] and found["anchor"] not in map(slug, headings)):
            dead.append(found[0])

    assert [] == dead


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
