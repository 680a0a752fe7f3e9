from __future__ import annotations

import pytest

from scripts.generators.chart import CHART, chart_files


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """What would be generated now: two seconds' work."""
    return chart_files()


def test_what_the_chart_holds_of_generated_files_is_what_would_be_generated_now(files: dict[str, str]) -> None:
    differing = [
        name for name, text in files.items() if not (CHART / name).exists() or (CHART / name).read_text() != text
    ]

    assert differing == [], "run `make generate` and commit what it writes"


def test_the_chart_has_templates_of_the_generated_definitions_only(files: dict[str, str]) -> None:
    generated = {name for name in files if name.startswith("templates/crd-")}

    assert generated == {f"templates/{path.name}" for path in (CHART / "templates").glob("crd-*")}
