"""What a run writes: JSON with every round, Markdown that a person reads, and a chart (PNG and SVG)."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.contestants import LIMIT, OURS
from bench.environments import PEERS, python_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.compare import Comparison

__all__ = ["markdown", "write"]


def markdown(title: str, command: str, comparisons: Sequence[Comparison]) -> str:
    """The table of each comparison, and what it comes to over the others."""
    rounds = len(comparisons[0].rounds[OURS])
    lines = [
        f"# {title}",
        "",
        (
            f"`{command}` on {os.cpu_count()} processors, Python {platform.python_version()}; "
            f"{rounds} interleaved rounds, medians. "
            "Ratios are taken within a round; in brackets the lowest and the highest."
        ),
    ]
    for comparison in comparisons:
        lines += ["", f"## {comparison.title}"] if comparison.title else []
        lines += ["", *_table(comparison)]
    return "\n".join(lines) + "\n"


def _table(comparison: Comparison) -> list[str]:
    lines = [
        "| server | requests/s | of the limit | p50 ms | p99 ms | CPU ms a request | RSS MiB | start s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in comparison.rounds:
        ratio = comparison.ratio(name, LIMIT)
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
        if name not in {LIMIT, OURS}:
            ratio = comparison.ratio(OURS, name)
            lines += ["", f"{OURS} over {name}: **{ratio.median:.1f}x** ({ratio.low:.1f}-{ratio.high:.1f})."]
    for name, why in comparison.refused.items():
        lines += ["", f"{name} has no ratio: {why}."]
    return lines


def write(title: str, command: str, comparisons: Sequence[Comparison], folder: Path, stem: str) -> None:
    """Write ``stem.json``, ``stem.md``, ``stem.png`` and ``stem.svg`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "title": title,
        "command": command,
        "machine": f"{os.cpu_count()} processors, Python {platform.python_version()}",
        "parts": [
            {
                "title": comparison.title,
                "rounds": {name: [asdict(one) for one in rounds] for name, rounds in comparison.rounds.items()},
                "ratios_to_limit": {name: asdict(comparison.ratio(name, LIMIT)) for name in comparison.rounds},
                "refused": comparison.refused,
            }
            for comparison in comparisons
        ],
    }
    (folder / f"{stem}.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / f"{stem}.md").write_text(
        markdown(title, command, comparisons) + f"\n![Requests/s as a share of the bare limit]({stem}.svg)\n"
    )
    subprocess.run([python_of("chart"), PEERS / "chart" / "draw.py", folder / f"{stem}.json"], check=True)
