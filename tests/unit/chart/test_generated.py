from __future__ import annotations

from scripts.generators.chart import CHART, chart_files


def test_what_the_chart_holds_of_generated_files_is_what_would_be_generated_now() -> None:
    differing = [
        name
        for name, text in chart_files().items()
        if not (CHART / name).exists() or (CHART / name).read_text() != text
    ]

    assert differing == [], "run `make generate` and commit what it writes"


def test_the_chart_has_templates_of_the_generated_definitions_only() -> None:
    generated = {name for name in chart_files() if name.startswith("templates/crd-")}

    assert generated == {f"templates/{path.name}" for path in (CHART / "templates").glob("crd-*")}
