"""``pillion models``: what a server serves, deployed to it and taken away from it while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

if TYPE_CHECKING:
    from pillion.cli.models_client import Client

__all__ = ["register"]

_LOCAL: Final = "http://127.0.0.1:8080"
_WIDEST_REASON: Final = 100
_EPILOG = f"""\b
Examples:
  pillion models list
  pillion models deploy iris iris.skops
  pillion models deploy iris s3://models/iris.skops --digest sha256:...
  pillion models deploy iris --version 2           # one that the server's store has
  pillion models info iris
  pillion models undeploy iris

The server wants a token: PILLION_MANAGEMENT__TOKEN, or PILLION_API_KEY.

{EXIT_CODES}"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]
Url = Annotated[str, typer.Option(help="The server.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="CA of the server's certificate (PEM file).")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Client certificate (PEM file), where it wants one.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key (PEM file).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for an answer, after what is sent is sent.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Models of a running server: list, deploy, undeploy.", no_args_is_help=True)
    group.command("list", epilog=_EPILOG)(list_models)
    group.command("info", epilog=_EPILOG)(info)
    group.command("deploy", epilog=_EPILOG)(deploy)
    group.command("undeploy", epilog=_EPILOG)(undeploy)
    app.add_typer(group, name="models")


def list_models(
    url: Url = _LOCAL,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """List the models of a server with their versions and states."""
    models = _client(url, ca, cert, key, timeout).models()
    if as_json:
        typer.echo(json.dumps(models, indent=2))
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick
    from rich.table import Table  # noqa: PLC0415 - as above

    table = Table("model", "version", "state", "format", "size", "reason", box=None, pad_edge=False)
    for model in models:
        table.add_row(
            model["name"], model["version"], model["state"], model["module_id"], _size(model["size"]),
            model["reason"][:_WIDEST_REASON],
        )  # fmt: skip
    Console(soft_wrap=True).print(table)


def info(
    name: Name,
    url: Url = _LOCAL,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 10.0,
) -> None:
    """Print all that a server tells of a model, as JSON."""
    typer.echo(json.dumps(_client(url, ca, cert, key, timeout).models(name), indent=2))


def deploy(  # noqa: PLR0917 - the options of a command line
    name: Name,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="A file or folder here, or a storage URI.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Serve a version, or an alias, that the server's store has.")
    ] = None,
    digest: Annotated[str | None, typer.Option(help="What a storage URI must lead to: sha256:...")] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", help="Where it cannot be told from the files: python, ...")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", metavar="KEY=VALUE", help="Kept with the version.")
    ] = None,
    url: Url = _LOCAL,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 300.0,
    as_json: AsJson = False,
) -> None:
    """Deploy a model: it takes the place of the version that serves once it is loaded, and no request fails.

    Where it cannot be loaded, the version that serves goes on, and the reason is printed.
    """
    if (source is None) == (version is None):
        raise CommandError("name what to deploy: a file, a folder or a storage URI, or --version", code=2)
    client = _client(url, ca, cert, key, timeout)
    fields: dict[str, Any] = {"model_id": name}
    if metadata:
        fields["metadata"] = _pairs(metadata)
    if format_name:
        fields["format"] = format_name
    if digest:
        fields["digest"] = digest
    if version is not None:
        done = client.deploy(fields | {"version": version})
    elif source is not None and "://" in source:
        done = client.deploy(fields | {"storage_uri": source})
    elif digest:
        raise CommandError("--digest is for a storage URI", code=2)
    else:
        done = client.upload(fields, source or "")
    if as_json:
        typer.echo(json.dumps(done))
    else:
        typer.echo(f"{done['name']} version {done['version']} serves ({done['module_id']}, {_size(done['size'])})")


def undeploy(
    name: Name,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its versions from the server's store, too.")] = False,
    url: Url = _LOCAL,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 90.0,
) -> None:
    """Take a model out of service, after its requests have ended."""
    _client(url, ca, cert, key, timeout).undeploy(name, purge=purge)
    typer.echo(f"{name} is undeployed")


def _client(url: str, ca: Path | None, cert: Path | None, key: Path | None, timeout: float) -> Client:
    from pillion.cli.models_client import Client  # noqa: PLC0415 - keeps --help quick

    for given in (ca, cert, key):
        if given is not None and not given.is_file():
            raise CommandError(f"no such file: {given}", code=2)
    if (cert is None) != (key is None):
        raise CommandError("--cert and --key belong together: give both", code=2)
    return Client(url if "://" in url else f"http://{url}", ca, cert, key, timeout)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"--metadata {text}: write it as KEY=VALUE", code=2)
        pairs[name] = value
    return pairs


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
