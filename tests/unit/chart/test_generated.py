from __future__ import annotations

from scripts.chart.__main__ import chart_files


def test_what_the_chart_holds_of_generated_files_is_what_would_be_generated_now() -> None:
    differing = [
        path.name for path, text in chart_files().items() if text != (path.read_text() if path.exists() else None)
    ]

    assert differing == [], "run `python -m scripts.chart` and commit what it writes"
