"""The chart of one file of results: ``draw.py RESULTS.json`` writes ``RESULTS.png`` and ``RESULTS.svg`` beside it.

Requests/s as a share of the bare limit, medians, with the lowest and the highest round. The ground is transparent and
ink is a grey of medium lightness, so that both a light and a dark page show it.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt

INK, OURS, OTHERS, LIMIT = "#7d8590", "#2f81f7", "#9a8cd0", "#b0b7c0"


def color(name):
    return {"Pillion": OURS, "limit": LIMIT}.get(name, OTHERS)


def draw(source):
    document = json.loads(source.read_text())
    bars = []
    for part in document["parts"]:
        for name, ratio in part["ratios_to_limit"].items():
            rate = statistics.median(one["per_second"] for one in part["rounds"][name])
            label = f"{part['title']}  {name}".strip()
            bars.append((label, name, ratio, rate))
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.38 * len(bars)))
    positions = list(range(len(bars)))[::-1]
    for position, (_, name, ratio, rate) in zip(positions, bars, strict=True):
        spread = [[ratio["median"] - ratio["low"]], [ratio["high"] - ratio["median"]]]
        axes.barh(position, ratio["median"], height=0.66, color=color(name))
        axes.errorbar(ratio["median"], position, xerr=spread, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        axes.text(
            ratio["high"] + 0.02,
            position,
            f" {ratio['median']:.2f}  ({rate:,.0f}/s)",
            va="center",
            color=INK,
            fontsize=9,
        )
    axes.set_yticks(positions, [label for label, *_ in bars], color=INK)
    axes.set_xlim(0, max(ratio["high"] for _, _, ratio, _ in bars) * 1.35)
    axes.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.tick_params(colors=INK)
    axes.set_xlabel("requests/s as a share of the bare limit (median; lines: lowest and highest round)", color=INK)
    axes.set_title(document["title"], color=INK, fontsize=11, loc="left")
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    how = {"transparent": True, "bbox_inches": "tight", "dpi": 144}
    figure.savefig(source.with_suffix(".png"), **how)
    # Without a date and with names that do not change, equal figures are an equal file.
    figure.savefig(source.with_suffix(".svg"), **how, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "pillion"
    for argument in sys.argv[1:]:
        draw(Path(argument))
