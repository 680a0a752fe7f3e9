"""A prediction over HTTP."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from pillion.cli.failures import CommandError

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
    headers = _key_header()
    if server_name is not None:
        headers["Host"] = server_name
    document = {"instances": body} if isinstance(body, list) else body
    try:
        # A proxy of the environment leads out of this machine, where nobody knows its loopback.
        with httpx.Client(timeout=timeout, verify=trusted(ca, cert, key), trust_env=not _loopback(url)) as client:
            named = {} if server_name is None else {"sni_hostname": server_name}
            response = client.post(url, json=document, headers=headers, extensions=named)
    except httpx.TimeoutException:
        raise CommandError(f"{url}: no answer within {timeout:g} s") from None
    except httpx.ConnectError as error:
        origin = urlsplit(url)
        hint = "name the CA with --ca" if "CERTIFICATE_VERIFY" in str(error) else "is the server running there?"
        raise CommandError(f"cannot connect to {origin.scheme}://{origin.netloc}: {error}: {hint}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{url}: {error}") from None
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if response.is_error or not isinstance(answer, dict):
        said = answer.get("error") if isinstance(answer, dict) else response.text[:500]
        raise CommandError(f"{response.status_code} {response.reason_phrase}: {said}")
    return answer


def serves(base: str, model: str) -> bool:
    """Whether a server is there that knows the model, and answers to the key of the environment where it wants one."""
    try:
        answer = httpx.get(f"{base}/v2/models/{model}", headers=_key_header(), timeout=2, trust_env=False)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return answer.status_code == httpx.codes.OK


def _key_header() -> dict[str, str]:
    api_key = os.environ.get("PILLION_API_KEY")
    return {"authorization": f"Bearer {api_key}"} if api_key else {}


def _loopback(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def trusted(ca: Path | None, cert: Path | None, key: Path | None) -> ssl.SSLContext:
    """Whom to believe, and who we are, where a server wants to know."""
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    if cert is not None and key is not None:
        context.load_cert_chain(cert, key)
    return context
