"""``pillion validate``: what is wrong with a manifest, before a cluster says so."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from pillion.cli.failures import EXIT_CODES, text_of

if TYPE_CHECKING:
    from pillion.resources.validation import Problem

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

    The schema and the rules are those of the custom resource definitions; no cluster is needed. What is allowed and
    risky is warned of as by the admission policies of the chart.
    """
    from pillion.resources import API_VERSION  # noqa: PLC0415 - keeps --help quick
    from pillion.resources import validate as check  # noqa: PLC0415 - as above
    from pillion.resources.risks import risks  # noqa: PLC0415 - as above
    from pillion.resources.validation import concerns  # noqa: PLC0415 - as above

    problems, warnings = [], []
    others: list[str] = []
    for file in files:
        text = text_of(file)
        found = check(text, source=str(file))
        problems += found
        # What is wrong comes first: a warning about it may be none once it is right.
        warnings += [] if found else risks(text, source=str(file))
        if not found and not concerns(text):
            others.append(str(file))
    if as_json:
        told, warned = ([_as_json(one) for one in ones] for ones in (problems, warnings))
        typer.echo(json.dumps({"valid": not problems, "problems": told, "warnings": warned}))
        if problems:
            raise typer.Exit(2)
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    if problems:
        typer.echo("\n".join(str(problem) for problem in problems), err=True)
    else:
        valid = [str(file) for file in files if str(file) not in others]
        if valid:
            typer.echo(f"valid: {', '.join(valid)}")
        for file_name in others:
            typer.echo(f"not checked: {file_name} has nothing of {API_VERSION}", err=True)
    if problems:
        raise typer.Exit(2)


def _as_json(one: Problem) -> dict[str, str | int | None]:
    return {
        "source": one.source,
        "line": one.line,
        "field": one.field,
        "message": one.message,
        "suggestion": one.suggestion,
    }
