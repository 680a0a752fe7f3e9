"""Figures that scenarios measure: printed always, kept under `e2e/results/` where E2E_RECORD=1."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "results"


@dataclass(slots=True)
class Report:
    """Figures by scenario, in the order of their measuring."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, scenario: str, **figures: object) -> None:
        """Keep the figures of one scenario; later ones of the same name replace earlier ones."""
        self.figures.setdefault(scenario, {}).update(figures)
        print(f"{scenario}: {json.dumps(figures, default=str)}")

    def save(self) -> None:
        """Write each scenario's figures as JSON, and all of the folder's as one table."""
        if os.environ.get("E2E_RECORD") != "1" or not self.figures:
            return
        RESULTS.mkdir(exist_ok=True)
        for scenario, figures in self.figures.items():
            text = json.dumps(figures, indent=2, sort_keys=True, default=str)
            (RESULTS / f"{scenario}.json").write_text(text + "\n")
        (RESULTS / "README.md").write_text(table())


def table() -> str:
    """Return a Markdown table of every figure under `e2e/results/`."""
    lines = [
        "# Results of the scenarios",
        "",
        "Written by `make e2e-full` with E2E_RECORD=1, on one node. Failures count at the client, without retries.",
        "",
        "| scenario | figure | value |",
        "|---|---|---|",
    ]
    for path in sorted(RESULTS.glob("*.json")):
        for name, value in json.loads(path.read_text()).items():
            lines.append(f"| {path.stem} | {name} | {json.dumps(value)} |")
    return "\n".join(lines) + "\n"
