"""Each alert of the chart has a runbook, and no runbook is about an alert that there is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.generators.chart import CHART

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in sorted((CHART / "rules").glob("*.yaml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
}


@pytest.mark.parametrize("alert", ALERTS)
def test_the_runbook_of_an_alert_is_a_page_that_says_how_to_see_it_and_what_to_do(alert: str) -> None:
    page = ROOT / ALERTS[alert]["annotations"]["runbook_url"]

    assert page.is_file()
    assert page.stem == alert
    text = page.read_text()
    assert text.startswith(f"# {alert}\n\n")
    assert "\n- **See it:** " in text
    assert "\n- **Fix:** " in text


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_has_happened(alert: str) -> None:
    rule = ALERTS[alert]

    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook_url"} == rule["annotations"].keys()


def test_every_runbook_is_about_an_alert_and_in_the_list() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")} - {"index"}
    listed = (RUNBOOKS / "index.md").read_text()

    assert pages == ALERTS.keys()
    assert [] == [alert for alert in ALERTS if f"[{alert}]({alert}.md)" not in listed]
