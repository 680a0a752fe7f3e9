"""A prediction over HTTP."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx

from pillion.cli.http_answers import document, key_header, on_this_machine, told

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["call", "serves", "trusted"]


def call(
    url: str,
    body: object,
    *,
    ca: Path | None,
    cert: Path | None,
    key: Path | None,
    timeout: float,
    server_name: str | None = None,
) -> dict[str, object]:
    """Post the body and give the answer's JSON. ``server_name`` is whom to ask for and whose certificate to expect
    where that is not the URL's host, as through a forwarded port.

    Raises:
        CommandError: the server cannot be reached, or answers with an error.
    """
    headers = key_header("PILLION_API_KEY")
    if server_name is not None:
        headers["Host"] = server_name
    posted = {"instances": body} if isinstance(body, list) else body
    with (
        told(url, timeout),
        httpx.Client(timeout=timeout, verify=trusted(ca, cert, key), trust_env=not on_this_machine(url)) as client,
    ):
        named = {} if server_name is None else {"sni_hostname": server_name}
        response = client.post(url, json=posted, headers=headers, extensions=named)
    return document(response)


def serves(base: str, model: str) -> bool:
    """Whether a server is there that knows the model, and answers to the key of the environment where it wants one."""
    try:
        answer = httpx.get(
            f"{base}/v2/models/{model}", headers=key_header("PILLION_API_KEY"), timeout=2, trust_env=False
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == httpx.codes.OK


def trusted(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Whom to believe, and who we are, where a server wants to know."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if cert is not None and key is not None:
        context.load_cert_chain(cert, key)
    return context
