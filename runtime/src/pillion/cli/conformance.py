"""``pillion conformance``: whether any server speaks the Open Inference Protocol."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pillion.cli.failures import EXIT_CODES, CommandError, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion conformance http://127.0.0.1:8080
  pillion conformance http://127.0.0.1:8080 --grpc 127.0.0.1:8081 --model iris
  pillion conformance http://127.0.0.1:8080 --format junit > report.xml
  pillion conformance http://127.0.0.1:8080 --model iris --request request.json

Exits with 0 where every MUST is kept, 1 where one is broken (--strict: or a SHOULD), 2 where no server answers.
Only a server that may get odd requests should be asked: bad ones are sent on purpose, none is large.

{EXIT_CODES}"""


class Format(StrEnum):
    """How the report is written."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    JUNIT = "junit"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("conformance", epilog=_EPILOG)(conformance)


def conformance(  # noqa: PLR0917 - the options of a command line
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's HTTP address.")],
    grpc: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Check gRPC too; needs the extra serve.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model; may be given again.  [default: those that the server lists]")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to write the report.")] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="A broken SHOULD fails too.")] = False,
    request: Annotated[
        Path | None,
        typer.Option(help="A valid request (JSON file), for a model whose metadata does not describe its inputs."),
    ] = None,
    extension: Annotated[
        list[str] | None, typer.Option(help="Check this extension though the server does not claim it.")
    ] = None,
    header: Annotated[list[str] | None, typer.Option("--header", "-H", help="'Name: value' for each request.")] = None,
    ca: Annotated[Path | None, typer.Option(help="CA that signed the server's certificate (PEM file).")] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for one answer.")] = 10.0,
    seconds: Annotated[float, typer.Option(min=1, help="Seconds for all checks.")] = 120.0,
) -> None:
    """Check whether a server keeps to the Open Inference Protocol: any server, over REST and gRPC.

    Requests are made from what the models say of their inputs. What a server does not claim is skipped.
    """
    from pillion.conformance.report import FORMATS  # noqa: PLC0415 - keeps --help quick
    from pillion.conformance.run import Unreachable, examine  # noqa: PLC0415 - as above

    if ca is not None and not ca.is_file():
        raise CommandError(f"no such file: {ca}", code=2)
    try:
        report = examine(
            url if "://" in url else f"http://{url}",
            grpc=grpc,
            models=model or (),
            request=None if request is None else _request(request),
            extensions=extension or (),
            headers=_headers(header or ()),
            ca=None if ca is None else str(ca),
            timeout=timeout,
            seconds=seconds,
        )
    except Unreachable as error:
        raise CommandError(str(error), code=2) from None
    typer.echo(FORMATS[form.value](report))
    if not report.conforms(strict=strict):
        raise typer.Exit(1)


def _request(file: Path) -> dict[str, Any]:
    """The request in a file, looked at as far as it is used.

    Raises:
        CommandError: it is none.
    """
    try:
        document = json.loads(text_of(file))
    except ValueError as error:
        raise CommandError(f"--request: {file} is not JSON: {error}", code=2) from None
    inputs = document.get("inputs") if isinstance(document, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise CommandError(f"--request: {file} has no list of inputs: give a whole request", code=2)
    for tensor in inputs:
        missing = {"name", "shape", "datatype", "data"} - (set(tensor) if isinstance(tensor, dict) else set())
        if missing:
            raise CommandError(f"--request: an input in {file} lacks {', '.join(sorted(missing))}", code=2)
    return dict(document)


def _headers(given: Sequence[str]) -> dict[str, str]:
    api_key = os.environ.get("PILLION_API_KEY")
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise CommandError(f"--header {line!r}: write it as 'Name: value'", code=2)
        headers[name.strip().lower()] = value.strip()
    return headers
