"""A status report as lines for people. Pure but for colours, which typer drops where nobody would see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from pillion.cli.cluster.tree import Health

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pillion.cli.cluster.tree import Condition, Node, Report

__all__ = ["drawn"]

_COLOURS: Final = {Health.WELL: "green", Health.WAITING: "yellow", Health.BAD: "red"}
_MARKS: Final = {Health.WELL: "✓", Health.WAITING: "…", Health.BAD: "✗"}


def drawn(report: Report) -> str:
    """The verdict, the tree, the conditions, and what could not be seen."""
    verdict = "Ready" if report.ready else "not Ready"
    health = Health.WELL if report.ready else report.root.health
    shown = typer.style(verdict, fg=_COLOURS[health], bold=True)
    where = f"(namespace {report.namespace}, context {report.context})"
    lines = [f"{report.name} is {shown}: {report.reason}   {where}"]
    lines += [f"  {report.message}"] if report.message else []
    lines += ["", *_tree(report.root)]
    lines += ["", *_table(report.conditions, report.message)] if report.conditions else []
    lines += ["", *(f"not shown: {line}" for line in report.hidden)] if report.hidden else []
    return "\n".join(lines)


def _tree(root: Node) -> Iterator[str]:
    yield _line(root)
    yield from _below(root.children, "")


def _below(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for index, node in enumerate(nodes):
        last = index == len(nodes) - 1
        inner = indent + ("   " if last else "│  ")
        yield f"{indent}{'└─ ' if last else '├─ '}{_line(node)}"
        if node.last_line:
            yield f"{inner}{'│' if node.children else ' '}    {node.last_line}"
        yield from _below(node.children, inner)


def _line(node: Node) -> str:
    mark = typer.style(_MARKS[node.health], fg=_COLOURS[node.health])
    return f"{mark} {node.kind} {typer.style(node.name, bold=True)}  {node.state}".rstrip()


def _table(conditions: Sequence[Condition], told: str) -> Iterator[str]:
    """One line a condition, and below it the message of one that is not well, unless it was told already."""
    width = max(len(item.type) for item in conditions)
    reasons = max(len(item.reason) for item in conditions)
    for item in conditions:
        status = typer.style(f"{item.status:<8}", fg=_COLOURS[item.health])
        stale = "  (of an earlier generation)" if item.stale else ""
        yield f"{item.type:<{width}}  {status} {item.reason:<{reasons}}  {item.since}{stale}"
        if item.health is not Health.WELL and item.message not in told:
            yield f"{'':<{width}}  {item.message}"
