"""A client of registries that reads: manifests and blobs, over `pillion.storage.exchange`, with its address rule.

Who we are comes from Docker's configuration (`FetchOptions.registry_configs`, else ``DOCKER_CONFIG``). A registry that
wants to know answers 401 with a challenge: it gets a name and a password (Basic), or a token that its token server
gives for those (Bearer). Public images want such a token, too, and give it to everybody. What a blob is redirected to
gets neither, and no challenge of its is answered.

Source: OCI distribution specification 1.1, "Pull"; Docker, "Token authentication specification".
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from pillion.oci.challenge import challenge
from pillion.oci.content import INDEXES, MANIFESTS, Descriptor, digest_of
from pillion.oci.credentials import configuration_file, credentials_in
from pillion.oci.errors import ImageError
from pillion.storage.errors import Reason, StorageError
from pillion.storage.exchange import Exchange, parts_of, tls_context

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pillion.oci.credentials import Credentials
    from pillion.oci.reference import Reference
    from pillion.storage.options import FetchOptions

__all__ = ["RegistryReader"]

_MAX_DOCUMENT: Final = 4 << 20
"""What registries must take of a manifest at least, and so what one is believed to be at most."""
_ACCEPTED: Final = ", ".join((*INDEXES, *MANIFESTS, "application/vnd.oci.artifact.manifest.v1+json"))


class RegistryReader:
    """One repository of a registry, to read from."""

    def __init__(self, reference: Reference, options: FetchOptions, environment: Mapping[str, str]) -> None:
        self._options = options
        self._context = tls_context(options)
        self._plain = reference.is_loopback or reference.address in options.insecure_registries
        self._base = f"{'http' if self._plain else 'https'}://{reference.address}/v2/{reference.repository}"
        self._reference = reference
        self._scope = f"repository:{reference.repository}:pull"
        self._files = options.registry_configs or _default(environment)
        self._credentials = self._find(environment)
        self._header = ""
        self._asking = asyncio.Lock()

    @property
    def shown(self) -> str:
        """The repository, as people write it."""
        return f"{self._reference.registry}/{self._reference.repository}"

    async def manifest(self, pointer: str) -> tuple[Descriptor, bytes]:
        """A manifest or an index by tag or digest, of which the digest is verified.

        Raises:
            StorageError: there is none, or the registry refuses, or sends something else.
        """
        exchange = await self._get(f"/manifests/{pointer}", {"Accept": _ACCEPTED}, self._named(pointer))
        try:
            media_type = exchange.header("Content-Type").partition(";")[0].strip()
            data = await asyncio.to_thread(exchange.read_all, _MAX_DOCUMENT)
        finally:
            exchange.abort()
        digest = digest_of(data)
        if pointer.startswith("sha256:") and digest != pointer:
            raise StorageError(
                Reason.DIGEST_MISMATCH,
                f"{self.shown} sent {digest} where {pointer} was asked for",
                remedy="start again; if it stays so, what is between changes answers",
            )
        return Descriptor(media_type, digest, len(data)), data

    async def blob(self, digest: str, offset: int) -> Exchange:
        """The answer with a blob from `offset` on; to be ended by `Exchange.abort`.

        Raises:
            SourceChanged: the blob is shorter.
            StorageError: it is not there, or the registry refuses.
        """
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return await self._get(f"/blobs/{digest}", headers, f"{self.shown}@{digest}")

    async def _get(self, path: str, headers: Mapping[str, str], what: str) -> Exchange:
        shown = self._header
        exchange = Exchange(self._options, self._context)
        try:
            await self._send(exchange, path, headers, shown)
        except StorageError as error:
            exchange.abort()
            words = exchange.header("WWW-Authenticate") if exchange.at_home else ""
            if error.reason is not Reason.ACCESS_DENIED or not words or not await self._introduce(words, shown, what):
                raise self._explained(error, what) from error
        except BaseException:
            exchange.abort()
            raise
        else:
            return exchange
        exchange = Exchange(self._options, self._context)
        try:
            await self._send(exchange, path, headers, self._header)
        except BaseException as error:
            exchange.abort()
            if isinstance(error, StorageError):
                raise self._explained(error, what) from error
            raise
        return exchange

    async def _send(self, exchange: Exchange, path: str, headers: Mapping[str, str], header: str) -> None:
        own = {"Authorization": header} if header else {}
        await asyncio.to_thread(exchange.send, "GET", f"{self._base}{path}", own, headers)

    async def _introduce(self, words: str, before: str, what: str) -> bool:
        """Answer a challenge; False where that cannot help."""
        scheme, given = challenge(words)
        async with self._asking:
            if self._header != before:
                return True  # another download has done it meanwhile
            if scheme == "basic" and self._credentials is not None and not before:
                self._header = self._credentials.basic
                return True
            if scheme == "bearer" and given.get("realm"):
                self._header = f"Bearer {await self._token(given, what)}"
                return True
            return False

    async def _token(self, given: Mapping[str, str], what: str) -> str:
        realm, known = given["realm"], self._credentials
        scheme = _scheme(realm)
        if not scheme:
            raise self._no_token("names a token server that is no http(s) address")
        if scheme == "http" and not self._plain:
            raise StorageError(
                Reason.FORBIDDEN_ADDRESS,
                f"{self._reference.registry} names a token server without TLS, where the password would be readable",
                remedy="give the token server TLS, or name the registry in PILLION_STORAGE_INSECURE_REGISTRIES",
            )
        wanted = {"service": given.get("service", ""), "scope": given.get("scope") or self._scope}
        headers: dict[str, str] = {}
        method, body = "GET", None
        if known is not None and known.identity_token:
            form = {**wanted, "grant_type": "refresh_token", "refresh_token": known.identity_token}
            method, body = "POST", urlencode({**form, "client_id": "pillion"}).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
        else:
            realm = f"{realm}{'&' if '?' in realm else '?'}{urlencode(wanted)}"
        own = {"Authorization": known.basic} if known is not None and body is None else {}
        exchange = Exchange(self._options, self._context)
        try:
            await asyncio.to_thread(exchange.send, method, realm, own, headers, body)
            answer = json.loads(await asyncio.to_thread(exchange.read_all, _MAX_DOCUMENT))
            token = str(answer.get("token") or answer["access_token"])
        except StorageError as error:
            if error.reason is Reason.OBJECT_NOT_FOUND:
                raise self._no_token("names a token server that is not there") from error
            raise self._explained(error, what) from error
        except (ValueError, KeyError, AttributeError, RecursionError):
            token = ""
        finally:
            exchange.abort()
        if not token.isascii() or not token.isprintable() or not token:
            raise self._no_token("has a token server that gave no token")
        return token

    def _no_token(self, why: str) -> StorageError:
        return StorageError(
            Reason.DOWNLOAD_FAILED, f"{self._reference.registry} {why}", remedy="look at the registry's log"
        )

    def _explained(self, error: StorageError, what: str) -> StorageError:
        """The error in the registry's terms; it answers 401 for what is not there, too."""
        if error.reason is Reason.OBJECT_NOT_FOUND:
            remedy = f"check the name and the tag; `crane ls {self.shown}` lists those that are there"
            return StorageError(error.reason, f"the registry has no {what}", remedy=remedy)
        if error.reason is Reason.ACCESS_DENIED:
            files = ", ".join(str(file) for file in self._files) or "any file"
            if self._credentials is not None:
                text = f"the registry does not give {what} to the login in {files}"
                return StorageError(error.reason, text, remedy="check the name, and what the login may read")
            registry = self._reference.registry
            text = f"the registry does not give {what} to everybody, and no login for {registry} is in {files}"
            remedy = f"`docker login {registry}`"
            remedy = (
                f"check the name; give the ServiceAccount a Secret of type kubernetes.io/dockerconfigjson, or {remedy}"
            )
            return StorageError(error.reason, text, remedy=remedy)
        if error.transient and not self._plain and error.reason is Reason.DOWNLOAD_FAILED:
            remedy = f"{error.remedy}; a registry without TLS is named in PILLION_STORAGE_INSECURE_REGISTRIES"
            return _with_remedy(error, remedy)
        return error

    def _find(self, environment: Mapping[str, str]) -> Credentials | None:
        try:
            for file in self._files:
                found = credentials_in(file, self._reference.registry, environment)
                if found is not None:
                    return found
        except ImageError as error:
            raise StorageError(
                Reason.INVALID_SETTING, str(error), remedy="correct the file, or the Secret that it comes from"
            ) from None  # the cause may show what is in it
        return None

    def _named(self, pointer: str) -> str:
        return f"{self.shown}{'@' if pointer.startswith('sha256:') else ':'}{pointer}"


def _scheme(address: str) -> str:
    """``http`` or ``https``, where a request can be sent there."""
    parts = parts_of(address)
    return parts.scheme if parts is not None and not parts.fragment else ""


def _default(environment: Mapping[str, str]) -> tuple[Path, ...]:
    file = configuration_file(environment)
    return (file,) if file.is_file() else ()


def _with_remedy(error: StorageError, remedy: str) -> StorageError:
    return StorageError(
        error.reason, error.message, remedy=remedy, transient=error.transient, retry_after=error.retry_after
    )
