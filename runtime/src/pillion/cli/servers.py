"""The server that a command asks: its options, the client for it, and that client's failures as sentences."""

from __future__ import annotations

import contextlib
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

from pillion.cli.failures import TLS_MATERIAL, CommandError, missing_extra
from pillion.client.errors import CallError, ClientError, DeadlineExceeded, Untrusted
from pillion.client.sync import Client
from pillion.client.tls import TLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.cli.server_options import Certificates

__all__ = ["MANAGEMENT", "asked", "told", "whole"]

MANAGEMENT = ("PILLION_MANAGEMENT__TOKEN", "PILLION_API_KEY")
"""Variables with the key of who manages; the first that is set."""
_ENCRYPTED = ("https://", "grpcs://")


def whole(url: str) -> str:
    """The URL of a server, of which ``http://`` may have been left out."""
    return url if "://" in url else f"http://{url}"


@contextlib.contextmanager
def asked(
    url: str,
    certificates: Certificates,
    *,
    timeout: float,
    keys: tuple[str, ...] = MANAGEMENT,
    server_name: str | None = None,
) -> Iterator[Client]:
    """A client of a server for the block, whose failures say what to do.

    Args:
        url: of the server.
        certificates: by the options.
        timeout: seconds for an answer.
        keys: variables of the environment with the server's key; the first that is set.
        server_name: whom to ask for, and whose certificate to expect, where that is not the URL's host.

    Raises:
        CommandError: an option cannot be, or the server cannot be asked, or refuses; in its own words.
    """
    secure = whole(url).startswith(_ENCRYPTED)
    if certificates.given and not secure:
        raise CommandError(f"--ca, --cert and --key: {whole(url)} is not encrypted: write https://", code=2)
    key = next(filter(None, map(os.environ.get, keys)), None)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    if server_name is not None and not whole(url).startswith("grpc"):
        headers["host"] = server_name
    try:
        tls = None
        if secure and (certificates.given or server_name is not None):
            tls = TLS(certificates.ca, certificates.cert, certificates.key, server_name=server_name)
        client = Client(whole(url), api_key="", timeout=timeout, tls=tls, headers=headers)
    except ImportError as error:
        missing = missing_extra(ModuleNotFoundError(name=error.name))
        raise missing or CommandError(str(error)) from None
    except (ValueError, OSError) as error:
        said = str(error)
        code = TLS_MATERIAL if said.startswith("TLS:") else 2
        raise CommandError(f"--{said}" if said.startswith(("url:", "timeout:")) else said, code=code) from None
    with client, told():
        yield client


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Around calls of a client: their failures as those of a command.

    Raises:
        CommandError: one of them.
    """
    try:
        yield
    except Untrusted as error:
        raise CommandError(f"cannot connect to {error.url}: {error.reason}: name the CA with --ca") from None
    except DeadlineExceeded as error:
        raise CommandError(str(error)) from None
    except CallError as error:
        raise CommandError(f"{error.status} {_phrase(error.status)}: {error.message}") from None
    except ClientError as error:
        raise CommandError(str(error)) from None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "error"
