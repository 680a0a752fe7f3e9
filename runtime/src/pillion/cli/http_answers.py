"""What every command has in common that asks a server over HTTP."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from pillion.cli.failures import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["document", "key_header", "on_this_machine", "told"]


def on_this_machine(url: str) -> bool:
    """Whether the server runs here: a proxy of the environment leads out, to where nobody knows our loopback."""
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}


def key_header(*variables: str) -> dict[str, str]:
    """The header with the key of the first of these variables that is set; none without one."""
    key = next(filter(None, map(os.environ.get, variables)), None)
    return {"authorization": f"Bearer {key}"} if key else {}


@contextlib.contextmanager
def told(url: str, timeout: float) -> Iterator[None]:
    """Around a call: say why the server cannot be reached.

    Args:
        url: that is asked.
        timeout: seconds for an answer.

    Raises:
        CommandError: it cannot.
    """
    try:
        yield
    except httpx.TimeoutException:
        raise CommandError(f"{url}: no answer within {timeout:g} s") from None
    except httpx.ConnectError as error:
        origin = urlsplit(url)
        hint = "name the CA with --ca" if "CERTIFICATE_VERIFY" in str(error) else "is the server running there?"
        raise CommandError(f"cannot connect to {origin.scheme}://{origin.netloc}: {error}: {hint}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{url}: {error}") from None


def document(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        CommandError: it is an error, in the server's words, or no JSON object.
    """
    try:
        found = answer.json()
    except ValueError:
        found = None
    if answer.is_error or not isinstance(found, dict):
        given = found if isinstance(found, dict) else {}
        said = given.get("details") or given.get("error") or answer.text[:500]
        raise CommandError(f"{answer.status_code} {answer.reason_phrase}: {said}")
    return found
