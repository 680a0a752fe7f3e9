"""``pillion crd``: the custom resource definitions, for clusters that are not managed by Helm."""

from __future__ import annotations

from typing import Annotated

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion crd | kubectl apply --server-side -f -
  pillion crd inferenceservices

{EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("crd", epilog=_EPILOG)(crd)


def crd(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Plural, kind or short name; default: all.")
    ] = None,
) -> None:
    """Print the CustomResourceDefinitions as YAML."""
    from pillion.resources.crd import KINDS, crd_yaml  # noqa: PLC0415 - keeps --help quick

    known = {
        alias.lower(): kind for kind in KINDS for alias in (kind.plural, kind.name, kind.short_name, kind.crd_name)
    }
    wanted = names or [kind.plural for kind in KINDS]
    for name in wanted:
        if name.lower() not in known:
            plurals = ", ".join(kind.plural for kind in KINDS)
            raise CommandError(f"no resource is called {name}: there are {plurals}", code=2)
    typer.echo("---\n".join(crd_yaml(known[name.lower()]) for name in wanted), nl=False)
