"""``pillion client-stubs``: typed Python for the tasks of a server."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import Annotated

import typer

from pillion.cli.failures import EXIT_CODES, CommandError
from pillion.cli.server_options import Ca, Cert, Certificates, Key, Timeout

__all__ = ["register"]

_EPILOG = f"""\b
Example:
  pillion client-stubs http://127.0.0.1:8080 -o stubs.py

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("client-stubs", epilog=_EPILOG)(client_stubs)


def client_stubs(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file.  [default: print it]")] = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 60.0,
) -> None:
    """Write typed Python for the tasks of a server, from its own description.

    The module has Tasks(client) and AsyncTasks(client): each task a method, with the types of its signature.
    """
    from pillion.cli.servers import asked  # noqa: PLC0415 - keeps --help quick
    from pillion.client.description import tasks_of  # noqa: PLC0415 - as above
    from pillion.client.stubs import source_of  # noqa: PLC0415 - as above

    with asked(url, Certificates(ca, cert, key), timeout=timeout) as client:
        document = client.run(client.core.document()) or {}
    specs = tasks_of(document).values()
    if not specs:
        raise CommandError(f"{url} describes no tasks: is there a class of tasks, and /openapi.json?")
    source = source_of(document, specs, url)
    if output is None:
        typer.echo(source, nl=False)
    else:
        output.write_text(source, encoding="utf-8")
