"""The documentation as a site: every link inside of it leads somewhere, and every page is in the navigation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[3]


class Page(NamedTuple):
    """What a page links to, and what can be linked to in it."""

    links: list[str]
    anchors: set[str]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page([], set())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.page.links.append(value)
            elif name in {"id", "name"} and value:
                self.page.anchors.add(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found: dict[Path, Page] = {}
    for path in site.rglob("*.html"):
        reader = _Reader()
        reader.feed(path.read_text())
        found[path] = reader.page
    return found


def test_every_link_inside_of_the_site_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    dead: list[str] = []
    # The page for what is not found is served at any address, so its links begin at the root.
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not (parts.path or parts.fragment):
                continue
            start = site if parts.path.startswith("/") else path.parent
            target = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            known = pages.get(target)
            fragment = unquote(parts.fragment)
            if not target.exists() or (fragment and known is not None and fragment not in known.anchors):
                dead.append(f"{path.relative_to(site)}: {link}")

    assert [] == sorted(set(dead))


def test_the_guides_are_in_the_navigation_of_every_page(site: Path, pages: dict[Path, Page]) -> None:
    home = {urlsplit(link).path for link in pages[site / "index.html"].links}

    assert {"how-to/gitops/", "how-to/from-kserve/", "troubleshooting/"} <= home


def test_each_page_has_a_title_and_a_description_of_its_own(site: Path, pages: dict[Path, Page]) -> None:
    described: dict[str, list[str]] = {}
    for path in pages.keys() - {site / "404.html"}:
        text = path.read_text()
        for wanted in (r"<title>(.+?)</title>", r'<meta name="?description"? content="(.+?)"'):
            found = re.search(wanted, text)
            described.setdefault(found[1] if found else "none", []).append(str(path.relative_to(site)))

    assert [] == [(words, where) for words, where in described.items() if words == "none" or len(where) > 1]


def test_every_page_is_linked_from_another(site: Path, pages: dict[Path, Page]) -> None:
    linked = {
        (path.parent / urlsplit(link).path / "index.html").resolve()
        for path, page in pages.items()
        for link in page.links
        if not urlsplit(link).netloc and (path.parent / urlsplit(link).path).resolve() != path.parent
    }

    assert set() == pages.keys() - linked - {site / "404.html"}


def test_search_finds_what_is_under_each_heading_without_another_host(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    places = {entry["location"] for entry in index["docs"] if "null" in entry["text"]}

    assert "how-to/tabular/#missing-values" in places
    assert list(site.glob("assets/javascripts/workers/search*.js"))


def test_a_page_asks_nothing_of_other_hosts(pages: dict[Path, Page]) -> None:
    linked = {link for page in pages.values() for link in page.links if link.endswith((".js", ".css", ".woff2"))}

    assert set() == {link for link in linked if urlsplit(link).netloc}
