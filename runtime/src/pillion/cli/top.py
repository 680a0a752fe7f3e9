"""``pillion top``: how busy the services of a cluster are, by what their pods count."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.cluster.options import Context, Kubeconfig, Namespace, OptionalServiceName  # noqa: TC001 - typer reads them at run time
from pillion.cli.failures import EXIT_CODES

if TYPE_CHECKING:
    from pillion.cli.cluster.busy import Busy

__all__ = ["register"]

_COLUMNS: Final = ("NAME", "REPLICAS", "READY", "IN FLIGHT", "QUEUE", "RPS", "P95")
_EPILOG = f"""\b
Examples:
  pillion top
  pillion top iris --seconds 10
  pillion top --all-namespaces --json | jq '.services[] | select(.queue > 0)'

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top", epilog=_EPILOG)(top)


def top(
    name: OptionalServiceName = None,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="InferenceServices of every namespace.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.1, max=60, help="How long requests are counted for RPS and P95.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show how busy InferenceServices are: what runs, what waits, requests a second, and how long they take.

    The pods' own counters are read twice, through kubectl's port-forward. Needs kubectl, and the right to read
    InferenceServices and pods and to forward to pods.
    """
    from pillion.cli.cluster.busy import look  # noqa: PLC0415 - keeps --help quick
    from pillion.cli.cluster.kubectl import connect  # noqa: PLC0415 - as above

    found = look(connect(context, namespace, kubeconfig), name, everywhere=everywhere, seconds=seconds)
    if as_json:
        typer.echo(json.dumps({"services": [service.as_json() for service in found]}, indent=2))
        return
    typer.echo(_table(found, everywhere=everywhere))
    for service in found:
        for pod, why in service.unread.items():
            typer.echo(f"not counted: pod {pod} of {service.name}: {why}", err=True)


def _table(found: list[Busy], *, everywhere: bool) -> str:
    if not found:
        return "no InferenceServices" + ("" if everywhere else " in this namespace; -A looks everywhere")
    columns = (("NAMESPACE",) if everywhere else ()) + _COLUMNS
    rows = [((service.namespace,) if everywhere else ()) + _row(service) for service in found]
    widths = [max(len(row[place]) for row in (columns, *rows)) for place in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (columns, *rows))
    return "\n".join(line.rstrip() for line in lines)


def _row(service: Busy) -> tuple[str, ...]:
    load = service.load
    if load is None:
        return (service.name, str(service.replicas), str(service.ready), "-", "-", "-", "-")
    p95 = "-" if load.p95_seconds is None else _duration(load.p95_seconds)
    counted = (str(load.in_flight), str(load.queue), f"{load.rps:.1f}", p95)
    return (service.name, str(service.replicas), str(service.ready), *counted)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"
