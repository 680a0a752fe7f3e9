"""``pillion config show``: every setting, its value, and where the value came from."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.server.settings import Settings

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion config show
  PILLION_HTTP__PORT=9000 pillion config show
  pillion config show --config runtime.yaml --json

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(help="The settings of the server.", no_args_is_help=True)
    group.command("show", epilog=_EPILOG)(show)
    app.add_typer(group, name="config")


def show(
    config: Annotated[Path | None, typer.Option("--config", help="A runtime.yaml whose settings count.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print each setting of the server with its value and its source: environment, file or default.

    Inline PEM is never printed.
    """
    from pillion.server.desired import read_runtime_file  # noqa: PLC0415 - keeps --help quick
    from pillion.server.failures import StartError  # noqa: PLC0415 - as above
    from pillion.server.sources import leaves, load_settings, shown, variable_of  # noqa: PLC0415 - as above

    try:
        file = {} if config is None else read_runtime_file(config).settings
        layered = load_settings(file=file, file_name=str(config))
    except StartError as failure:
        raise CommandError(str(failure), code=int(failure.code)) from None
    rows = [
        (key, shown(key, _value(layered.settings, key)), layered.origins[key], variable_of(key)) for key in leaves()
    ]
    if as_json:
        described = {k: {"value": value, "source": source, "variable": var} for k, value, source, var in rows}
        typer.echo(json.dumps(described, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table("setting", "value", "source", box=None, pad_edge=False)
    for key, value, source, _ in rows:
        table.add_row(key, value, source, style=None if source != "default" else "dim")
    Console(soft_wrap=True).print(table)


def _value(settings: Settings, key: str) -> object:
    value: object = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value
