"""A prediction over HTTP, by any server that speaks V1 or the Open Inference Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from pillion.cli.failures import CommandError
from pillion.cli.servers import asked, whole
from pillion.client.errors import ClientError
from pillion.client.sync import Client

if TYPE_CHECKING:
    from pillion.cli.server_options import Certificates

__all__ = ["KEYS", "call", "serves"]

KEYS: Final = ("PILLION_API_KEY",)
_LOOK_SECONDS: Final = 2.0


def call(
    target: str, body: object, url: str, certificates: Certificates, *, timeout: float, server_name: str | None = None
) -> dict[str, object]:
    """Post the body and give the answer's JSON.

    Args:
        target: name of a model, or a whole URL, which is taken as it is.
        body: rows, or a whole request.
        url: of the server of a model.
        certificates: of the options.
        timeout: seconds.
        server_name: whom to ask for where that is not the URL's host, as through a forwarded port.

    Raises:
        CommandError: the server cannot be reached, or answers with an error.
    """
    server, path = _server_and_path(target, url, body)
    posted = {"instances": body} if isinstance(body, list) else body
    with asked(server, certificates, timeout=timeout, keys=KEYS, server_name=server_name) as client:
        # What a whole URL does is not known: it may not be safe to do twice.
        answer = client.request("POST", path, posted, idempotent="://" not in target)
    if not isinstance(answer, dict):
        raise CommandError(f"{server}{path}: the answer is no JSON object: does a model answer there?")
    return answer


def _server_and_path(target: str, url: str, body: object) -> tuple[str, str]:
    """A name goes to the V1 route, or to the v2 route where the body is a v2 request."""
    if "://" in target:
        try:
            parts = urlsplit(target)
        except ValueError as error:
            raise CommandError(f"{target}: {error}", code=2) from None
        if parts.scheme not in {"http", "https"} or not parts.path.strip("/"):
            raise CommandError(f"{target} names no model: write pillion predict MODEL --url {target}", code=2)
        return f"{parts.scheme}://{parts.netloc}", parts.path + (f"?{parts.query}" if parts.query else "")
    name = quote(target, safe="")
    if isinstance(body, dict) and isinstance(body.get("inputs"), list) and "instances" not in body:
        return whole(url), f"/v2/models/{name}/infer"
    return whole(url), f"/v1/models/{name}:predict"


def serves(base: str, model: str) -> bool:
    """Whether a server is there that knows the model, and answers to the key of the environment where it wants one."""
    try:
        with Client(base, timeout=_LOOK_SECONDS, retries=0) as client:
            client.model(model).metadata()
    except ClientError:
        return False
    return True
