"""What a run writes: JSON with every round, and Markdown a person reads."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bench.compare import Comparison

__all__ = ["write"]


def _markdown(comparison: Comparison) -> str:
    lines = [
        f"# {comparison.title}",
        "",
        (
            f"`{comparison.command}` on {os.cpu_count()} processors, Python {platform.python_version()}; "
            f"{len(next(iter(comparison.rounds.values())))} interleaved rounds, medians. "
            "Ratios are taken within a round; in brackets the lowest and the highest."
        ),
        "",
        "| server | requests/s | of the limit | p50 ms | p99 ms | CPU ms a request | RSS MiB | start s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in comparison.rounds:
        ratio = comparison.ratio(name, "limit")
        figures = [
            comparison.median(name, figure)
            for figure in ("p50_ms", "p99_ms", "cpu_ms_per_request", "rss_mib", "start_seconds")
        ]
        lines.append(
            f"| {name} | {comparison.median(name, 'per_second'):.0f} "
            f"| {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | "
            + " | ".join(f"{figure:.3g}" for figure in figures)
            + " |"
        )
    for name in comparison.rounds:
        if name not in {"limit", "Pillion"}:
            ratio = comparison.ratio("Pillion", name)
            lines += ["", f"Pillion over {name}: **{ratio.median:.1f}x** ({ratio.low:.1f}-{ratio.high:.1f})."]
    return "\n".join(lines) + "\n"


def write(comparison: Comparison, folder: Path, stem: str) -> None:
    """Write ``stem.json`` and ``stem.md`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "title": comparison.title,
        "command": comparison.command,
        "rounds": {name: [asdict(measurement) for measurement in rounds] for name, rounds in comparison.rounds.items()},
        "ratios_to_limit": {name: asdict(comparison.ratio(name, "limit")) for name in comparison.rounds},
    }
    (folder / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(_markdown(comparison))
