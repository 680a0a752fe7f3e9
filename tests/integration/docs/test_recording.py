"""The picture of the quickstart shows what the README says, and nothing that was not printed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from scripts.recording import PICTURE, SECOND, drawn, quickstart, rounded
from tests.integration.docs.console import Step, matches

ROOT = Path(__file__).parents[3]
TEXT = "{http://www.w3.org/2000/svg}text"


def lines_of(svg: str) -> list[str]:
    """What the picture's terminal shows, line by line."""
    lines: dict[float, list[tuple[float, str]]] = {}
    for element in ET.fromstring(svg).iter(TEXT):
        if "clip-path" in element.attrib:  # the title has none
            row, column = float(element.attrib["y"]), float(element.attrib["x"])
            lines.setdefault(row, []).append((column, (element.text or "").replace("\xa0", " ")))
    return ["".join(text for _, text in sorted(lines[row])).rstrip("\n") for row in sorted(lines)]


def test_the_picture_shows_the_readmes_commands_with_output_that_the_readme_shows() -> None:
    shown: list[list[str]] = []
    for line in lines_of(PICTURE.read_text()):
        if line.startswith("$ "):
            shown.append([line.removeprefix("$ ")])
        elif line.strip() not in {"", SECOND}:
            shown[-1].append(line)
    wanted = quickstart((ROOT / "README.md").read_text())

    assert [step.command for step in wanted] == [command.rstrip() for command, *_ in shown]
    assert [] == [
        (step.output, output)
        for step, (_, *output) in zip(wanted, shown, strict=True)
        if not matches(step.output, "\n".join(output))
    ]


def test_only_times_are_changed_and_they_are_rounded_up() -> None:
    assert "iris ready in 1 s   grpc :8081" == rounded("iris ready in 0.62 s   grpc :8081")
    assert "iris ready in 3 s" == rounded("iris ready in 2.1 s")
    assert '{"in":0.62}' == rounded('{"in":0.62}')


def test_the_same_output_is_the_same_picture_and_needs_no_other_host() -> None:
    shown = [(Step(1, "pillion serve iris.skops", ""), "iris ready in 1 s"), (Step(2, "curl x", ""), "[0]")]
    picture = drawn(shown)

    assert picture == drawn(shown)
    assert ["$ pillion serve iris.skops", "iris ready in 1 s", SECOND, "$ curl x", "[0]"] == [
        line.rstrip() for line in lines_of(picture) if line.strip()
    ]
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("page", "picture"), [("README.md", "docs/assets/quickstart.svg"), ("docs/index.md", "assets/quickstart.svg")]
)
def test_the_picture_is_shown_with_words_for_who_does_not_see_it(page: str, picture: str) -> None:
    described, _, _ = (ROOT / page).read_text().partition(f"]({picture})")

    assert 60 < len(described.rpartition("![")[2])
