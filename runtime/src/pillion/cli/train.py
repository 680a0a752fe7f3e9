"""``pillion train``: hand a training to a server, and watch it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pillion.cli.failures import EXIT_CODES, CommandError
from pillion.cli.pairs import set_values
from pillion.cli.server_options import HERE, Ca, Cert, Certificates, Key, Timeout, Url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pillion.client.description import TrainingSpec
    from pillion.client.following import JobEvent
    from pillion.client.handles import Job
    from pillion.client.sync import Client

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion train digits --data digits.jsonl --set epochs=5
  pillion train digits --data s3://bucket/digits/ --detach

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train", epilog=_EPILOG)(train)


def train(  # noqa: PLR0917 - the options of a command line
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
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 30.0,
) -> None:
    """Train a model on a server that serves its class.

    Watching goes on when the server restarts. Leaving with Ctrl-C leaves the training alone: `pillion jobs cancel ID`
    stops it.
    """
    from pillion.cli.servers import asked  # noqa: PLC0415 - keeps --help quick

    with asked(url, Certificates(ca, cert, key), timeout=timeout) as client:
        spec = _chosen(client, training)
        given = set_values(parameters or [], "NAME=VALUE") | _data(data or [], spec.data, client)
        job = client.train(spec.name, name, given, deploy=deploy)
        if detach:
            typer.echo(job.id)
            return
        typer.echo(f"training {job.id}")
        _watch(job, "" if client.url == HERE else f" --url {client.url}")


def _chosen(client: Client, wanted: str) -> TrainingSpec:
    """The training that is meant."""
    if client.url.startswith("grpc"):
        raise CommandError("--url: trainings are described over HTTP: name the server by http(s):// or unix://", code=2)
    specs = client.trainings()
    if not specs:
        raise CommandError(f"{client.url} has no trainings: serve a class with @train")
    if not wanted and len(specs) > 1:
        raise CommandError(f"which training? --training {' or '.join(sorted(specs))}", code=2)
    name = wanted or next(iter(specs))
    if name not in specs:
        raise CommandError(f"there is no training {name!r}; there are: {', '.join(sorted(specs))}", code=2)
    return specs[name]


def _data(texts: Iterable[str], takes: tuple[str, ...], client: Client) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, where = text.partition("=")
        if not equals or key not in takes:
            if not takes:
                raise CommandError(f"--data {text}: this training takes no data", code=2)
            if len(takes) != 1:
                raise CommandError(f"--data {text}: say which: {' or '.join(f'{one}=...' for one in takes)}", code=2)
            key, where = takes[0], text
        found[key] = {"uri": where if "://" in where else _uri(where, client)}
    return found


def _uri(where: str, client: Client) -> str:
    from pillion.proxies import on_this_machine  # noqa: PLC0415 - keeps --help quick

    path = Path(where).expanduser().absolute()
    if not path.exists():
        raise CommandError(f"--data {where}: no such file", code=2)
    if not on_this_machine(client.url):
        raise CommandError(
            f"--data {where}: {client.url} is another machine: name a URI that it reaches (pillion push puts it there)",
            code=2,
        )
    return path.as_uri()


def _watch(job: Job, elsewhere: str) -> None:
    """Show how it gets on, until its end.

    Args:
        job: the training.
        elsewhere: what its further commands need to find the server.

    Raises:
        CommandError: it failed, was canceled, or can no longer be watched.
    """
    from pillion.client.errors import LOST  # noqa: PLC0415 - keeps --help quick

    events = job.follow("metrics")
    try:
        end = _with_a_bar(events) if sys.stderr.isatty() else _line_by_line(events)
    except LOST as failure:
        raise CommandError(f"{failure}; the training may go on: pillion jobs show {job.id}{elsewhere}") from None
    if end["state"] != "COMPLETED":
        log = f"; its log: pillion jobs logs {job.id}{elsewhere}" if end["state"] == "ERRORED" else ""
        raise CommandError(f"{end['state']}: {'; '.join(end['reasons'])}{log}")
    details = cast("Mapping[str, str]", end["details"])
    typer.echo(f"{end['model_name']} version {details['version']}: {details['path']}")
    if end["reasons"]:
        raise CommandError("; ".join(end["reasons"]))
    if details.get("deployed"):
        typer.echo(f"{end['model_name']} version {details['version']} serves")


def _shown(
    events: Iterable[JobEvent], numbers: Callable[[str], object], state: Callable[[Mapping[str, Any]], object]
) -> Mapping[str, Any]:
    """The training as it ended; on the way its numbers and states, and when the server was away."""
    end: Mapping[str, Any] = {}
    for event in events:
        match event.kind:
            case "metrics":
                numbers(_numbers(event.data))
            case "state":
                state(event.data)
            case "lost":
                sys.stderr.write(f"{event.data['reason']}; trying again\n")
            case "ended":
                end = event.data
    return end


def _line_by_line(events: Iterable[JobEvent]) -> Mapping[str, Any]:
    return _shown(events, typer.echo, lambda _: None)


def _with_a_bar(events: Iterable[JobEvent]) -> Mapping[str, Any]:
    from rich.console import Console  # noqa: PLC0415 - costs start-up
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above

    columns = (
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[numbers]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("QUEUED", total=None, numbers="")

        def became(job: Mapping[str, Any]) -> None:
            known = job["progress"]
            bar.update(task, description=job["state"], completed=known or 0, total=None if known is None else 1)

        return _shown(events, lambda text: bar.update(task, numbers=text), became)


def _numbers(data: Mapping[str, Any]) -> str:
    values = ((key, value) for key, value in data.items() if key != "at")
    return "  ".join(f"{key} {value:.4g}" if isinstance(value, float | int) else f"{key} -" for key, value in values)
