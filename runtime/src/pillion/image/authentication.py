"""The token dance of registries. Source: Docker's "Token authentication specification", RFC 6750 section 3."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from pillion.oci.challenge import challenge
from pillion.oci.content import parsed
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pillion.oci.credentials import Credentials

__all__ = ["RegistryAuth"]


class RegistryAuth(httpx.Auth):
    """Answers a registry's challenge, once for all requests of one scope.

    Args:
        host: whose challenges are answered; a host that a blob is redirected to gets nothing.
        scope: what is asked for: ``repository:NAME:pull`` or ``...:pull,push``.
        credentials: None where nobody has logged in: public images want a token all the same.
        plain: whether the registry is reached without TLS, so that its token server may be, too.
    """

    def __init__(self, host: str, scope: str, credentials: Credentials | None, *, plain: bool) -> None:
        self._host = host
        self._scope = scope
        self._credentials = credentials
        self._plain = plain
        self._header = ""

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """See httpx."""
        ours = request.url.netloc.decode() == self._host
        if ours and self._header:
            request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED or not ours:
            return
        scheme, given = challenge(response.headers.get("WWW-Authenticate", ""))
        if scheme == "basic" and self._credentials is not None:
            self._header = self._credentials.basic
        elif scheme == "bearer" and given.get("realm"):
            response.close()
            answer = yield self._token_request(given)
            answer.read()
            if answer.status_code != httpx.codes.OK:
                return
            document = parsed(answer.content, f"the token server of {self._host}")
            token = document.get("token") or document.get("access_token")
            self._header = f"Bearer {token}"
        else:
            return
        request.headers["Authorization"] = self._header
        yield request

    def _token_request(self, given: Mapping[str, str]) -> httpx.Request:
        realm = given["realm"]
        if urlsplit(realm).scheme != "https" and not self._plain:
            raise ImageError(f"{self._host} names {realm} for its tokens, where the password would travel in the clear")
        wanted = {"service": given.get("service", ""), "scope": given.get("scope") or self._scope}
        known = self._credentials
        if known is not None and known.identity_token:
            form = {
                **wanted,
                "grant_type": "refresh_token",
                "refresh_token": known.identity_token,
                "client_id": "pillion",
            }
            return httpx.Request("POST", realm, data=form)
        headers = {} if known is None else {"Authorization": known.basic}
        return httpx.Request("GET", httpx.URL(realm).copy_merge_params(wanted), headers=headers)
