"""``pillion validate``: what is wrong with a manifest, before a cluster says so."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import Annotated

import typer

from pillion.cli.failures import EXIT_CODES, text_of

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion validate -f inferenceservice.yaml
  helm template . | pillion validate -f -

Exit code 2: a manifest is wrong. {EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate", epilog=_EPILOG)(validate)


def validate(
    files: Annotated[list[Path], typer.Option("-f", "--file", help="A manifest; - reads standard input. Repeatable.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Check manifests as the API server would.

    The schema and the rules are those of the custom resource definitions; no cluster is needed.
    """
    from pillion.resources import API_VERSION  # noqa: PLC0415 - keeps --help quick
    from pillion.resources import validate as check  # noqa: PLC0415 - as above
    from pillion.resources.validation import concerns  # noqa: PLC0415 - as above

    problems = []
    others: list[str] = []
    for file in files:
        text = text_of(file)
        found = check(text, source=str(file))
        problems += found
        if not found and not concerns(text):
            others.append(str(file))
    if as_json:
        told = [
            {"source": p.source, "line": p.line, "field": p.field, "message": p.message, "suggestion": p.suggestion}
            for p in problems
        ]
        typer.echo(json.dumps({"valid": not problems, "problems": told}))
    elif problems:
        typer.echo("\n".join(str(problem) for problem in problems), err=True)
    else:
        valid = [str(file) for file in files if str(file) not in others]
        if valid:
            typer.echo(f"valid: {', '.join(valid)}")
        for file_name in others:
            typer.echo(f"not checked: {file_name} has nothing of {API_VERSION}", err=True)
    if problems:
        raise typer.Exit(2)
