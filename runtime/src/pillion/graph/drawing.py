"""What a graph looks like: as a tree for terminals, as Mermaid's text, as an SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from pillion.graph.document import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pillion.graph.document import Graph, GraphStep, Node

__all__ = ["Part", "StepTimes", "mermaid", "parts", "svg", "tree"]

_ROW: Final = 64
_COLUMN: Final = 310
_WIDTH: Final = 190
_HEIGHT: Final = 44
_MARGIN: Final = 16


@dataclass(frozen=True, slots=True)
class StepTimes:
    """How long a step took."""

    count: int
    mean: float
    """Seconds."""
    most: float
    """Of 95 in 100 calls it was no more than this."""

    def __str__(self) -> str:
        return f"{_seconds(self.mean)} on average, p95 ≤ {_seconds(self.most)}, {self.count} calls"


@dataclass(frozen=True, slots=True)
class Part:
    """A node, or a step that calls something: each as often as it is used."""

    label: str
    """Of its metrics; empty for the whole."""
    name: str
    what: str
    """How its steps belong together, or what it calls."""
    way: str = ""
    """On which condition, for which share, it is reached."""
    below: tuple[Part, ...] = ()

    def said(self, times: Mapping[str, StepTimes]) -> list[str]:
        """Its lines."""
        return [self.name, self.what, *([str(times[self.label])] if self.label in times else [])]


def parts(graph: Graph, name: str) -> Part:
    """The whole, from its root down; the graph has no problem."""
    root = graph.nodes[ROOT]
    return Part("", name, _kind(root), below=_below(graph, root, ""))


def _below(graph: Graph, node: Node, above: str) -> tuple[Part, ...]:
    found = []
    for step in node.steps:
        label = f"{above}{step.called}"
        inner = None if step.node is None else graph.nodes[step.node]
        what = _called(step) if inner is None else _kind(inner)
        below = () if inner is None else _below(graph, inner, f"{label}.")
        found.append(Part(label, step.called, what, _way(step, node), below))
    return tuple(found)


def _kind(node: Node) -> str:
    match node.type:
        case "ensemble" if node.quorum is not None:
            return f"ensemble, {node.quorum} of {len(node.steps)}"
        case "ensemble":
            return f"ensemble, {node.require}"
        case "map":
            return f"map, {node.concurrency} at a time"
        case _:
            return node.type


def _called(step: GraphStep) -> str:
    if step.url is not None:
        return f"POST {step.url}"
    of = f"model {step.model}" if step.model is not None else "its model"
    where = "" if step.service is None else f"service {step.service}, "
    return f"{where}{of}, {'predict' if step.task is None else f'task {step.task}'}"


def _way(step: GraphStep, node: Node) -> str:
    if node.type == "splitter":
        return f"{step.weight or 0} %"
    if step.when is not None:
        return f"when {step.when}"
    return "else" if node.type == "switch" else ""


def tree(whole: Part, times: Mapping[str, StepTimes]) -> str:
    """For a terminal."""
    return "\n".join([_line(whole, times), *_lines(whole.below, "", times)])


def _lines(below: Sequence[Part], indent: str, times: Mapping[str, StepTimes]) -> Iterator[str]:
    for index, part in enumerate(below):
        last = index == len(below) - 1
        yield f"{indent}{'└─ ' if last else '├─ '}{_line(part, times)}"
        yield from _lines(part.below, indent + ("   " if last else "│  "), times)


def _line(part: Part, times: Mapping[str, StepTimes]) -> str:
    name, what, *took = part.said(times)
    way = f"  [{part.way}]" if part.way else ""
    return "  ".join([f"{name}: {what}{way}", *took])


def mermaid(whole: Part, times: Mapping[str, StepTimes]) -> str:
    """As Mermaid's flowchart, which GitHub and others draw."""
    lines = ["flowchart LR"]
    for number, part, above in _numbered(whole):
        text = "<br>".join(_plain(line) for line in part.said(times))
        shape = f'{{"{text}"}}' if part.what in {"switch", "splitter"} else f'["{text}"]'
        lines.append(f"  n{number}{shape}")
        if above is not None:
            arrow = f'-- "{_plain(part.way)}" -->' if part.way else "-->"
            lines.append(f"  n{above} {arrow} n{number}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """As Mermaid takes it between quotes."""
    return escape(text).replace("&#x27;", "'").replace("&quot;", "#quot;")


def _numbered(whole: Part) -> Iterator[tuple[int, Part, int | None]]:
    """Each part with its number, and that of the one above it."""
    left: list[tuple[Part, int | None]] = [(whole, None)]
    number = 0
    while left:
        part, above = left.pop(0)
        yield number, part, above
        left += [(one, number) for one in part.below]
        number += 1


def svg(whole: Part, times: Mapping[str, StepTimes]) -> str:
    """As a picture: columns by depth, a row for each step that calls something."""
    boxes: list[str] = []
    rows = 0
    columns = 0

    def place(part: Part, column: int) -> float:
        nonlocal rows, columns
        columns = max(columns, column + 1)
        if part.below:
            heights = [place(one, column + 1) for one in part.below]
            y = (heights[0] + heights[-1]) / 2
        else:
            heights = []
            y = _MARGIN + rows * _ROW
            rows += 1
        x = _MARGIN + column * _COLUMN
        for one, height in zip(part.below, heights, strict=True):
            boxes.append(_arrow(x + _WIDTH, y + _HEIGHT / 2, height + _HEIGHT / 2, one.way))
        boxes.append(_box(x, y, part.said(times)))
        return y

    place(whole, 0)
    width = 2 * _MARGIN + (columns - 1) * _COLUMN + _WIDTH
    height = 2 * _MARGIN + (rows - 1) * _ROW + _HEIGHT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f'{head} font-family="sans-serif" font-size="10">', *boxes, "</svg>"])


def _box(x: float, y: float, lines: Sequence[str]) -> str:
    texts = []
    for number, line in enumerate(lines):
        weight = "" if number else ' font-weight="bold"'
        texts.append(f'<tspan x="{x + 8:g}" dy="12"{weight}>{escape(_cut(line))}</tspan>')
    title = f"<title>{escape(' - '.join(lines))}</title>"
    frame = f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#fff" stroke="#345"/>'
    return f'<g>{title}{frame}<text y="{y:g}">{"".join(texts)}</text></g>'


def _arrow(x: float, y: float, to: float, way: str) -> str:
    end = x + _COLUMN - _WIDTH
    line = f'<path d="M{x:g} {y:g} L{end:g} {to:g}" fill="none" stroke="#345"/>'
    shown = f'<text x="{end - 4:g}" y="{to - 5:g}" text-anchor="end">{escape(_cut(way, 22))}</text>' if way else ""
    return line + shown


def _cut(text: str, most: int = 34) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _seconds(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
