"""``pillion jobs``: what a server has done, does and will do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HERE", "Url", "register"]

Url = Annotated[str, typer.Option("--url", help="The server.", envvar="PILLION_URL")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
HERE = "http://127.0.0.1:8080"
"""The server that is asked where none is named."""
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
    as_json: AsJson = False,
) -> None:
    """List jobs, the newest first.

    Example: `pillion jobs list --state RUNNING,QUEUED`
    """
    from pillion.cli.job_client import JobClient  # noqa: PLC0415 - keeps --help quick

    query = {"limit": str(limit)} | ({"kind": kind} if kind else {}) | ({"state": state} if state else {})
    page = JobClient(url).ask("GET", "/management/jobs", **query)
    if as_json:
        typer.echo(json.dumps(page))
        return
    rows = [_COLUMNS, *(_row(job) for job in page["jobs"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        typer.echo("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if page["next"] is not None:
        typer.echo(f"... and older ones: --limit {min(1000, limit * 5)}")


def _row(job: Mapping[str, Any]) -> tuple[str, ...]:
    progress = "" if job["progress"] is None else f"{job['progress']:.0%}"
    name = job.get("model_name") or job.get("model_id") or ""
    return identity_of(job), job["kind"], job["task"], name, job["state"], progress, "; ".join(job["reasons"])


def identity_of(job: Mapping[str, Any]) -> str:
    """The id of a job of any kind."""
    identity: str = job.get("training_id") or job["prediction_id"]
    return identity


def show(identity: Annotated[str, typer.Argument(metavar="ID")], url: Url = HERE) -> None:
    """Show all that is known of a job.

    Example: `pillion jobs show 0b7ee53d40193fb31dd1573530b28138`
    """
    from pillion.cli.job_client import JobClient  # noqa: PLC0415 - as above

    typer.echo(json.dumps(JobClient(url).job(identity), indent=2))


def logs(
    identity: Annotated[str, typer.Argument(metavar="ID")],
    url: Url = HERE,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the training has ended.")] = False,
) -> None:
    """Print what a training has printed.

    Example: `pillion jobs logs -f 0b7ee53d40193fb31dd1573530b28138`
    """
    from pillion.cli.job_client import JobClient  # noqa: PLC0415 - as above

    client = JobClient(url)
    if client.job(identity)["kind"] != "training":
        raise CommandError(f"{identity} is a prediction: what its code prints is in the server's log", code=2)
    path = f"/management/trainings/{identity}/logs"
    if not follow:
        typer.echo(client.text(path), nl=False)
        return
    for name, data in client.follow(path):
        if name == "log":
            typer.echo(data["text"], nl=False)
        elif name == "end" and data["state"] == "ERRORED":
            raise CommandError("; ".join(data["reasons"]))


def cancel(identity: Annotated[str, typer.Argument(metavar="ID")], url: Url = HERE) -> None:
    """Cancel a job; one that has ended stays as it is.

    Example: `pillion jobs cancel 0b7ee53d40193fb31dd1573530b28138`
    """
    from pillion.cli.job_client import JobClient  # noqa: PLC0415 - as above

    client = JobClient(url)
    job = client.cancel(client.job(identity))
    stopping = " (asked to stop)" if job["state"] == "RUNNING" else ""
    typer.echo(f"{identity} is {job['state']}{stopping}")
