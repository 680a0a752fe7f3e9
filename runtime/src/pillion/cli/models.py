"""``pillion models``: what a server serves, deployed to it and taken away from it while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pillion.cli.failures import EXIT_CODES, CommandError
from pillion.cli.pairs import pair_of, set_values
from pillion.cli.server_options import HERE, Ca, Cert, Certificates, Key, Timeout, Url

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pillion.client.sync import Client

__all__ = ["register"]

_WIDEST_REASON: Final = 100
_EPILOG = f"""\b
Examples:
  pillion models list
  pillion models deploy iris iris.skops
  pillion models deploy iris s3://models/iris.skops --digest sha256:...
  pillion models deploy iris --version 2           # one that the server's store has
  pillion models info iris
  pillion models undeploy iris
  pillion models reconfigure guard --set threshold=0.7

The server wants a token: PILLION_MANAGEMENT__TOKEN, or PILLION_API_KEY.

{EXIT_CODES}"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Models of a running server: list, deploy, undeploy, reconfigure.", no_args_is_help=True)
    group.command("list", epilog=_EPILOG)(list_models)
    group.command("info", epilog=_EPILOG)(info)
    group.command("deploy", epilog=_EPILOG)(deploy)
    group.command("undeploy", epilog=_EPILOG)(undeploy)
    group.command("reconfigure", epilog=_EPILOG)(reconfigure)
    app.add_typer(group, name="models")


def list_models(
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
) -> None:
    """List the models of a server with their versions and states."""
    with _asked(url, ca, cert, key, timeout) as client:
        models = client.info()
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
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 10.0,
) -> None:
    """Print all that a server tells of a model, as JSON."""
    with _asked(url, ca, cert, key, timeout) as client:
        typer.echo(json.dumps(client.info(name), indent=2))


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
    url: Url = HERE,
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
    from pillion.cli.uploading import upload_bar  # noqa: PLC0415 - keeps --help quick
    from pillion.storage.uri import is_uri  # noqa: PLC0415 - as above

    if source is not None and not is_uri(source):
        _require_files(source, digest)
    kept = dict(pair_of("--metadata", text, "KEY=VALUE") for text in metadata or [])
    with _asked(url, ca, cert, key, timeout) as client, upload_bar(name) as progress:
        done = client.deploy(
            name, source, version=version, format=format_name, digest=digest, metadata=kept or None,
            timeout=timeout, progress=progress,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(done))
    else:
        typer.echo(f"{done['name']} version {done['version']} serves ({done['module_id']}, {_size(done['size'])})")


def undeploy(
    name: Name,
    purge: Annotated[bool, typer.Option("--purge", help="Remove its versions from the server's store, too.")] = False,
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 90.0,
) -> None:
    """Take a model out of service, after its requests have ended."""
    with _asked(url, ca, cert, key, timeout) as client:
        client.undeploy(name, purge=purge, timeout=timeout)
    typer.echo(f"{name} is undeployed")


def reconfigure(
    name: Name,
    pairs: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A value of the config; JSON, else text.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--config", help="A file with the config, a JSON object.")] = None,
    version: Annotated[str | None, typer.Option(help="Where the model has several.")] = None,
    url: Url = HERE,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    timeout: Timeout = 90.0,
) -> None:
    """Give a model that serves another config, by the reconfigure of its class, without loading it anew.

    The config is the whole of it, and holds until the server is restarted or the model is declared anew.
    """
    config = _config(file) | set_values(pairs or [], "KEY=VALUE")
    if not config:
        raise CommandError("say which config: --set KEY=VALUE, or --config FILE", code=2)
    with _asked(url, ca, cert, key, timeout) as client:
        done = client.reconfigure(name, config, version=version, timeout=timeout)
    count = done["processes"]
    took = f" ({count} worker process{'' if count == 1 else 'es'})" if count else ""
    typer.echo(f"{done['model_id']} version {done['version']} has taken the config{took}")


def _config(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CommandError(f"--config {file}: {error}", code=2) from None
    if not isinstance(found, dict):
        raise CommandError(f"--config {file}: should be a JSON object", code=2)
    return found


def _asked(
    url: str, ca: Path | None, cert: Path | None, key: Path | None, timeout: float
) -> AbstractContextManager[Client]:
    from pillion.cli.servers import asked  # noqa: PLC0415 - keeps --help quick

    return asked(url, Certificates(ca, cert, key), timeout=timeout)


def _require_files(source: str, digest: str | None) -> None:
    if digest:
        raise CommandError("--digest is for a storage URI", code=2)
    root = Path(source).expanduser()
    if not root.exists():
        raise CommandError(f"{source}: no such file", code=2)
    if root.is_dir() and not any(path.is_file() for path in root.rglob("*")):
        raise CommandError(f"{source}: has no files in it", code=2)


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
