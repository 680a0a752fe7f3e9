"""``pillion jobs``: what a server has done, does and will do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError
from pillion.cli.server_options import HERE, Ca, Cert, Certificates, Key, Timeout, Url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pillion.client.sync import Client

__all__ = ["register"]

_SECONDS: Final = 30.0
Identity = Annotated[str, typer.Argument(metavar="ID", help="Of the job, as `pillion jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
_COLUMNS = ("ID", "KIND", "TASK", "MODEL", "STATE", "PROGRESS", "REASON")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    jobs = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at prediction jobs and trainings.")
    jobs.command("list", epilog=EXIT_CODES)(list_jobs)
    jobs.command("show", epilog=EXIT_CODES)(show)
    jobs.command("logs", epilog=EXIT_CODES)(logs)
    jobs.command("cancel", epilog=EXIT_CODES)(cancel)
    app.add_typer(jobs, name="jobs")


def list_jobs(
    url: Url = HERE,
    kind: Annotated[str, typer.Option(help="prediction or training.")] = "",
    state: Annotated[str, typer.Option(help="QUEUED, RUNNING, COMPLETED, CANCELED, ERRORED: several by commas.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = _SECONDS,
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first.

    Example: `pillion jobs list --state RUNNING,QUEUED`
    """
    if kind not in {"", "prediction", "training"}:
        raise CommandError(f"--kind {kind}: prediction or training", code=2)
    chosen: Any = kind or None
    with _asked(url, ca, cert, key, timeout) as client:
        page = client.jobs(kind=chosen, state=state, limit=limit)
    if as_json:
        typer.echo(json.dumps({"jobs": page.jobs, "next": page.next}))
        return
    rows = [_COLUMNS, *(_row(job) for job in page)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        typer.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if page.next is not None:
        typer.echo(f"... and older ones: --limit {min(1000, limit * 5)}")


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    progress = "" if job["progress"] is None else f"{job['progress']:.0%}"
    name = job.get("model_name") or job.get("model_id") or ""
    return identity_of(job), job["kind"], job["task"], name, job["state"], progress, "; ".join(job["reasons"])


def identity_of(job: Mapping[str, Any]) -> str:
    """The id of a job of any kind."""
    identity: str = job.get("training_id") or job["prediction_id"]
    return identity


def show(
    identity: Identity,
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = _SECONDS,
) -> None:
    """Print all that is known of a job, as JSON.

    Example: `pillion jobs show 0b7ee53d40193fb31dd1573530b28138`
    """
    with _asked(url, ca, cert, key, timeout) as client:
        typer.echo(json.dumps(client.job(identity).status(), indent=2))


def logs(
    identity: Identity,
    url: Url = HERE,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the training has ended.")] = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = _SECONDS,
) -> None:
    """Print what a training has printed. Following goes on when the server restarts.

    Example: `pillion jobs logs -f 0b7ee53d40193fb31dd1573530b28138`
    """
    with _asked(url, ca, cert, key, timeout) as client:
        job = client.job(identity)
        if job.kind != "training":
            raise CommandError(f"{identity} is a prediction: what its code prints is in the server's log", code=2)
        if not follow:
            typer.echo("".join(job.logs()), nl=False)
            return
        for event in job.follow("logs"):
            if event.kind == "log":
                typer.echo(event.data["text"], nl=False)
            elif event.kind == "lost":
                sys.stderr.write(f"{event.data['reason']}; trying again\n")
            elif event.kind == "ended" and event.data["state"] == "ERRORED":
                raise CommandError("; ".join(event.data["reasons"]))


def cancel(
    identity: Identity,
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = _SECONDS,
) -> None:
    """Cancel a job; one that has ended stays as it is.

    Example: `pillion jobs cancel 0b7ee53d40193fb31dd1573530b28138`
    """
    with _asked(url, ca, cert, key, timeout) as client:
        job = client.job(identity).cancel()
    stopping = " (asked to stop)" if job["state"] == "RUNNING" else ""
    typer.echo(f"{identity} is {job['state']}{stopping}")


def _asked(
    url: str, ca: Path | None, cert: Path | None, key: Path | None, timeout: float
) -> AbstractContextManager[Client]:
    from pillion.cli.servers import asked  # noqa: PLC0415 - keeps --help quick

    return asked(url, Certificates(ca, cert, key), timeout=timeout)
