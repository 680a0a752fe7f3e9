"""A client of MLflow's tracking server: one question at a time, over `pillion.storage.exchange` with its address rule.

Variables, as MLflow's own clients read them: ``MLFLOW_TRACKING_URI`` for the server, ``MLFLOW_TRACKING_TOKEN``, or
``MLFLOW_TRACKING_USERNAME`` with ``MLFLOW_TRACKING_PASSWORD``, and ``MLFLOW_TRACKING_SERVER_CERT_PATH``, a PEM file of
certificate authorities. Names and tokens go to the server alone, not to what it redirects to.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pillion.storage.errors import Reason, StorageError
from pillion.storage.exchange import Exchange, is_server, tls_context
from pillion.storage.uri import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.storage.options import FetchOptions

__all__ = ["MLFLOW_SECRETS", "MLFLOW_VARIABLES", "TrackingServer"]

MLFLOW_SECRETS: Final = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
MLFLOW_VARIABLES: Final = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_SERVER_CERT_PATH", *MLFLOW_SECRETS)
_MAX_ANSWER: Final = 32 << 20


class TrackingServer:
    """The server that the environment names.

    Raises:
        StorageError: `Reason.INVALID_SETTING`, naming the variable.
    """

    def __init__(self, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._base = _address(environment)
        self._credentials = _credentials(environment)
        bundle = environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
        self._options = replace(options, ca_bundle=Path(bundle)) if bundle and options.ca_bundle is None else options
        if environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in {"true", "1"}:
            raise _setting(
                "MLFLOW_TRACKING_INSECURE_TLS would leave the server's certificate unverified",
                "remove it, and name its authority in MLFLOW_TRACKING_SERVER_CERT_PATH",
            )
        self._context = tls_context(self._options)

    async def ask(self, path: str, what: str) -> dict[str, Any]:
        """The JSON object that the server answers.

        Args:
            path: below ``/api/2.0/``, with its query.
            what: that is asked for, for errors.
        """
        exchange = await self.get(path, {}, what)
        try:
            told = json.loads(await asyncio.to_thread(exchange.read_all, _MAX_ANSWER))
        except (ValueError, RecursionError):
            raise self.strange() from None
        finally:
            exchange.abort()
        if not isinstance(told, dict):
            raise self.strange()
        return told

    async def get(self, path: str, headers: Mapping[str, str], what: str) -> Exchange:
        """The answer, to be ended by `Exchange.abort`.

        Raises:
            SourceChanged: a condition in `headers` does not hold.
            StorageError: the server refuses, or does not answer.
        """
        exchange = Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, "GET", f"{self._base}/api/2.0/{path}", self._credentials, headers)
        except BaseException as error:
            exchange.abort()
            if isinstance(error, StorageError):
                raise self._explained(error, what, exchange.status) from error
            raise
        return exchange

    def is_at(self, netloc: str) -> bool:
        """Whether an address without a host, or with this one, means this server."""
        return netloc in {"", urlsplit(self._base).netloc, urlsplit(self._base).hostname}

    def strange(self) -> StorageError:
        """The refusal of an answer that a tracking server does not give."""
        return StorageError(
            Reason.DOWNLOAD_FAILED,
            f"{self._base} did not answer as a tracking server of MLflow does",
            remedy="check MLFLOW_TRACKING_URI",
        )

    def missing(self, what: str) -> StorageError:
        """The answer to who asks for what is not there."""
        return StorageError(
            Reason.OBJECT_NOT_FOUND, f"the tracking server {self._base} has no {what}", remedy="check name and version"
        )

    def _explained(self, error: StorageError, what: str, status: int) -> StorageError:
        if error.reason is Reason.OBJECT_NOT_FOUND or status == 400:
            return self.missing(what)
        if error.reason is Reason.ACCESS_DENIED:
            who = "these credentials" if self._credentials else "everybody"
            names = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            return StorageError(
                error.reason,
                f"the tracking server {self._base} does not give {what} to {who}",
                remedy=f"give {names} in a Secret of the ServiceAccount",
            )
        return error


def _address(environment: Mapping[str, str]) -> str:
    text = environment.get("MLFLOW_TRACKING_URI", "").strip().rstrip("/")
    if not text:
        raise _setting(
            "the tracking server of MLflow is not known", "set MLFLOW_TRACKING_URI, such as https://mlflow.example.com"
        )
    if not is_server(text):
        raise _setting(
            f"MLFLOW_TRACKING_URI is {redact(text)[:200]!r}, which is not the address of a server",
            "write https://host; a login belongs in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        )
    return text


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    user, password, token = (environment.get(name, "").strip("\r\n") for name in MLFLOW_SECRETS)
    if user:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise _setting("the variable MLFLOW_TRACKING_TOKEN is not a token", "put the token alone into it")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _setting(message: str, remedy: str) -> StorageError:
    return StorageError(Reason.INVALID_SETTING, message, remedy=remedy)
