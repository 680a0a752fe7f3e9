"""``pillion train``: hand a training to a server, and watch it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pillion.cli.failures import EXIT_CODES, CommandError
from pillion.cli.jobs import HERE, Url

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pillion.cli.job_client import JobClient

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion train digits --data digits.jsonl --set epochs=5
  pillion train digits --data s3://bucket/digits/ --detach

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=_EPILOG)(train)


def train(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the model that is made.")],
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]WHERE", help="A file or folder here, or a URI that the server reaches."),
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A parameter; JSON, else text.")
    ] = None,
    training: Annotated[str, typer.Option(help="Which one, where the server has several: SolveDigitsTrain.")] = "",
    deploy: Annotated[bool, typer.Option("--deploy", help="Serve it under its name when it is trained.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Print the id, and do not wait.")] = False,
    url: Url = HERE,
) -> None:
    """Train a model on a server that serves its class.

    Leaving with Ctrl-C leaves the training alone: `pillion jobs cancel ID` stops it.
    """
    from pillion.cli.job_client import JobClient  # noqa: PLC0415 - keeps --help quick

    client = JobClient(url)
    route, takes = _route(client, training)
    given = _pairs(parameters or []) | _data(data or [], takes, client)
    body = {"model_name": name, "parameters": given} | ({"deploy": True} if deploy else {})
    job = client.ask("POST", f"/api/v1/{route}", body)
    identity = job["training_id"]
    if detach:
        typer.echo(identity)
        return
    typer.echo(f"training {identity}")
    _watch(client, identity)


def _route(client: JobClient, wanted: str) -> tuple[str, list[str]]:
    """The training's route, and the names of its parameters that are data."""
    paths = client.ask("GET", "/openapi.json")["paths"]
    routes = {path.rpartition("/")[2]: path for path in paths if path.startswith("/api/v1/") and path.endswith("Train")}
    if not routes:
        raise CommandError(f"{client.url} has no trainings: serve a class with @train")
    if not wanted and len(routes) > 1:
        raise CommandError(f"which training? --training {' or '.join(sorted(routes))}", code=2)
    name = wanted or next(iter(routes))
    if name not in routes:
        raise CommandError(f"there is no training {name!r}; there are: {', '.join(sorted(routes))}", code=2)
    body = paths[routes[name]]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = body["properties"]["parameters"]["properties"]
    return name, [key for key, schema in properties.items() if "oneOf" in schema]


def _pairs(texts: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise CommandError(f"--set {text}: write it as NAME=VALUE", code=2)
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def _data(texts: Iterable[str], takes: list[str], client: JobClient) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, where = text.partition("=")
        if not equals or key not in takes:
            if len(takes) != 1:
                raise CommandError(f"--data {text}: say which: {' or '.join(f'{one}=...' for one in takes)}", code=2)
            key, where = takes[0], text
        found[key] = {"uri": where if "://" in where else _uri(where, client)}
    return found


def _uri(where: str, client: JobClient) -> str:
    path = Path(where).expanduser().absolute()
    if not path.exists():
        raise CommandError(f"--data {where}: no such file", code=2)
    if not client.local:
        raise CommandError(
            f"--data {where}: {client.url} is another machine: name a URI that it reaches (pillion push puts it there)",
            code=2,
        )
    return path.as_uri()


def _watch(client: JobClient, identity: str) -> None:
    """Show how it gets on, until its end.

    Raises:
        CommandError: it failed, or was canceled.
    """
    events = client.follow(f"/management/trainings/{identity}/metrics?follow=true")
    job = _with_a_bar(events) if sys.stderr.isatty() else _line_by_line(events)
    if job is None:
        raise CommandError(f"the server ended; the training goes on when it starts again: pillion jobs show {identity}")
    if job["state"] != "COMPLETED":
        elsewhere = "" if client.url == HERE else f" --url {client.url}"
        log = f"; its log: pillion jobs logs {identity}{elsewhere}" if job["state"] == "ERRORED" else ""
        raise CommandError(f"{job['state']}: {'; '.join(job['reasons'])}{log}")
    details = cast("Mapping[str, str]", job["details"])
    typer.echo(f"{job['model_name']} version {details['version']}: {details['path']}")
    if job["reasons"]:
        raise CommandError("; ".join(job["reasons"]))
    if details.get("deployed"):
        typer.echo(f"{job['model_name']} version {details['version']} serves")


def _line_by_line(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any] | None:
    for name, data in events:
        if name == "metrics":
            typer.echo(_numbers(data))
        elif name == "end":
            return data
    return None


def _with_a_bar(events: Iterable[tuple[str, Mapping[str, Any]]]) -> Mapping[str, Any] | None:
    from rich.console import Console  # noqa: PLC0415 - costs start-up
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[numbers]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("QUEUED", total=None, numbers="")
        for name, data in events:
            if name == "metrics":
                bar.update(task, numbers=_numbers(data))
            elif name == "job":
                known = data["progress"]
                bar.update(task, description=data["state"], completed=known or 0, total=None if known is None else 1)
            elif name == "end":
                return data
    return None


def _numbers(data: Mapping[str, Any]) -> str:
    values = ((key, value) for key, value in data.items() if key != "at")
    return "  ".join(f"{key} {value:.4g}" if isinstance(value, float | int) else f"{key} -" for key, value in values)
