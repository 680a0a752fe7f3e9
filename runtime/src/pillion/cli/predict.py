"""``pillion predict``: one call of a served model, over REST or gRPC."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from pillion.cli.failures import EXIT_CODES, CommandError

__all__ = ["register"]

_EPILOG = f"""\b
Examples:
  pillion predict iris --data '[[5.1,3.5,1.4,0.2]]'
  pillion predict iris --data @rows.json --url http://127.0.0.1:9000
  pillion predict https://example.org:8443/v1/models/iris:predict --data @rows.json --ca ca.crt
  pillion predict iris --grpc --url 127.0.0.1:8081 --data '[[5.1,3.5,1.4,0.2]]'

Data is a list of rows (or of objects by column), or a whole request body. {EXIT_CODES}"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict", epilog=_EPILOG)(predict)


def predict(
    target: Annotated[str, typer.Argument(metavar="MODEL|URL", help="Name of the model, or its whole URL.")],
    data: Annotated[str, typer.Option("--data", "-d", help="JSON, @FILE, or - for standard input.")],
    url: Annotated[
        str | None, typer.Option(help="The server.  [default: http://127.0.0.1:8080, with --grpc 127.0.0.1:8081]")
    ] = None,
    grpc: Annotated[bool, typer.Option("--grpc", help="Call over gRPC (Open Inference Protocol v2).")] = False,
    ca: Annotated[Path | None, typer.Option(help="CA that signed the server's certificate (PEM file).")] = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate for mutual TLS (PEM file).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM file).")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.")] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer.")] = False,
) -> None:
    """Call a model and print its predictions."""
    body = _data(data)
    for given in (ca, cert, key):
        if given is not None and not given.is_file():
            raise CommandError(f"no such file: {given}", code=2)
    if (cert is None) != (key is None):
        raise CommandError("--cert and --key belong together: give both", code=2)
    if grpc:
        from pillion.cli.predict_grpc import call as call_grpc  # noqa: PLC0415 - keeps --help quick

        answer = call_grpc(target, body, url or "127.0.0.1:8081", ca=ca, cert=cert, key=key, timeout=timeout)
    else:
        from pillion.cli.predict_rest import call as call_rest  # noqa: PLC0415 - as above

        answer = call_rest(address(target, body, url), body, ca=ca, cert=cert, key=key, timeout=timeout)
    shown = answer.get("predictions", answer.get("outputs", answer))
    typer.echo(json.dumps(answer if as_json else shown, separators=(",", ":")))


def _data(text: str) -> object:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"--data: {text[1:]} cannot be read: {error}", code=2) from None
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--data is not JSON: {error}", code=2) from None
    return value


def address(target: str, body: object, url: str | None) -> str:
    """The URL to post to.

    A target with a path is taken as it is. A name goes to the V1 route, or to the v2 route where the body is a v2
    request.
    """
    if "://" in target:
        if urlsplit(target).path.strip("/"):
            return target
        raise CommandError(f"{target} names no model: write pillion predict MODEL --url {target}", code=2)
    base = url or "http://127.0.0.1:8080"
    if "://" not in base:
        base = f"http://{base}"
    if isinstance(body, dict) and isinstance(body.get("inputs"), list) and "instances" not in body:
        return f"{base.rstrip('/')}/v2/models/{target}/infer"
    return f"{base.rstrip('/')}/v1/models/{target}:predict"
