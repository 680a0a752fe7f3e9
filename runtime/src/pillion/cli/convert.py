"""``pillion convert``: KServe's manifests as ours, and a word on every line that does not carry over."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from pillion.cli.failures import EXIT_CODES, text_of

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion convert -f kserve.yaml | kubectl apply -f -
  kubectl get isvc,servingruntimes.serving.kserve.io -o yaml | pillion convert -f - > pillion.yaml

What is printed on standard error are remarks; with them the result is still good to apply.
Exit code 2: an object cannot be converted, and nothing is printed. {EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert", epilog=_EPILOG)(convert)


def convert(
    files: Annotated[list[Path], typer.Option("-f", "--file", help="A manifest; - reads standard input. Repeatable.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print KServe's InferenceServices and ServingRuntimes as Pillion's.

    Other objects are passed through. Lines that change, go, or have no effect here are told on standard error, each
    with the reason and what to do. Comments and order are kept.
    """
    from pillion.resources.conversion import convert as converted  # noqa: PLC0415 - keeps --help quick

    conversion = converted([(str(file), text_of(file)) for file in files])
    if as_json:
        objects = [] if conversion.refused else list(conversion.objects)
        typer.echo(json.dumps({"objects": objects, "remarks": [remark.to_json() for remark in conversion.remarks]}))
    else:
        for remark in conversion.remarks:
            typer.echo(str(remark), err=True)
        if not conversion.refused:
            typer.echo(conversion.text, nl=not conversion.text.endswith("\n"))
    if conversion.refused:
        raise typer.Exit(2)
