"""A client of registries. Source: OCI distribution specification 1.1."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urljoin

import httpx

from pillion._version import __version__
from pillion.image.authentication import RegistryAuth
from pillion.oci.content import INDEXES, MANIFESTS, Descriptor, digest_of, parsed
from pillion.oci.credentials import configuration_file, find_credentials
from pillion.oci.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from pillion.oci.reference import Reference

__all__ = ["Registry"]

_CHUNK: Final = 1 << 20
_MOST_OF_A_DOCUMENT: Final = 4 << 20
"""What registries must take of a manifest at least, and so what one is believed to be at most."""


class Registry:
    """One repository of a registry. A context manager.

    Args:
        reference: says which; its tag does not matter.
        environ: where Docker's configuration is found.
        insecure: hosts that are reached over plain HTTP; those of this machine always are.
        push: whether something is to be written.
    """

    def __init__(
        self, reference: Reference, environ: Mapping[str, str], *, insecure: frozenset[str] = frozenset(), push: bool
    ) -> None:
        plain = reference.address in insecure or reference.is_loopback
        self._reference = reference
        self._environ = environ
        self._base = f"{'http' if plain else 'https'}://{reference.address}/v2/{reference.repository}"
        scope = f"repository:{reference.repository}:{'pull,push' if push else 'pull'}"
        credentials = find_credentials(reference.registry, environ)
        self._known = credentials is not None
        self._client = httpx.Client(
            auth=RegistryAuth(reference.address, scope, credentials, plain=plain),
            timeout=httpx.Timeout(60.0, connect=10.0),
            headers={"User-Agent": f"pillion/{__version__}"},
        )

    def __enter__(self) -> Self:
        """Enter."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    @property
    def reference(self) -> Reference:
        """The repository."""
        return self._reference

    def manifest(self, pointer: str) -> tuple[Descriptor, bytes]:
        """A manifest or an index by tag or digest.

        Raises:
            ImageError: there is none, or the registry does not answer, or refuses.
        """
        accepted = ", ".join((*INDEXES, *MANIFESTS))
        with self._asking("GET", f"{self._base}/manifests/{pointer}", headers={"Accept": accepted}) as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                raise ImageError(f"{self._named(pointer)}: the registry has no such image", usage=True)
            self._expect(response, httpx.codes.OK)
            data = self._whole(response)
            media_type = response.headers.get("Content-Type", "").partition(";")[0]
        digest = digest_of(data)
        if pointer.startswith("sha256:") and digest != pointer:
            raise ImageError(f"{self._named(pointer)}: the registry sent something else, {digest}")
        return Descriptor(media_type, digest, len(data)), data

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob."""
        with self._asking("HEAD", f"{self._base}/blobs/{descriptor.digest}") as response:
            if response.status_code == httpx.codes.NOT_FOUND:
                return False
            self._expect(response, httpx.codes.OK)
            return True

    @contextlib.contextmanager
    def blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """The content of a blob, in pieces; unverified."""
        with self._asking("GET", f"{self._base}/blobs/{descriptor.digest}", follow=True) as response:
            self._expect(response, httpx.codes.OK)
            yield response.iter_raw(_CHUNK)

    def mount(self, descriptor: Descriptor, origin: str) -> bool:
        """Take a blob over from another repository of the registry; False where it wants to be sent."""
        params = {"mount": descriptor.digest, "from": origin}
        with self._asking("POST", f"{self._base}/blobs/uploads/", params=params) as response:
            if response.status_code != httpx.codes.CREATED:
                self._expect(response, httpx.codes.ACCEPTED)
                return False
            return True

    def send(self, descriptor: Descriptor, file: Path, tell: Callable[[int], None]) -> None:
        """Send a blob, whole."""
        with self._asking("POST", f"{self._base}/blobs/uploads/") as response:
            self._expect(response, httpx.codes.ACCEPTED)
            place = urljoin(str(response.url), response.headers.get("Location", ""))
        url = httpx.URL(place).copy_merge_params({"digest": descriptor.digest})
        headers = {"Content-Length": str(descriptor.size), "Content-Type": "application/octet-stream"}
        with self._asking("PUT", str(url), headers=headers, content=_chunks(file, tell)) as response:
            self._expect(response, httpx.codes.CREATED)

    def put_manifest(self, data: bytes, media_type: str, pointer: str) -> None:
        """Write a manifest or an index under a tag or its digest."""
        url, headers = f"{self._base}/manifests/{pointer}", {"Content-Type": media_type}
        with self._asking("PUT", url, headers=headers, content=data) as response:
            self._expect(response, httpx.codes.CREATED)

    @contextlib.contextmanager
    def _asking(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        content: bytes | Iterator[bytes] | None = None,
        follow: bool = False,
    ) -> Iterator[httpx.Response]:
        try:
            with self._client.stream(
                method, url, headers=headers, params=params, content=content, follow_redirects=follow
            ) as response:
                yield response
        except httpx.ConnectError as error:
            registry = self._reference.registry
            remedy = (
                "Is it running on this machine?"
                if self._reference.is_loopback
                else f"Check its name; one without TLS is named by --insecure-registry {registry}, "
                "for models by PILLION_STORAGE_INSECURE_REGISTRIES"
            )
            raise ImageError(f"the registry {registry} cannot be reached: {error}. {remedy}") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise ImageError(
                f"the registry {self._reference.registry} broke off: {str(error) or type(error).__name__}"
            ) from None

    def _expect(self, response: httpx.Response, wanted: int) -> None:
        """Raise what an unexpected answer means."""
        status = response.status_code
        if status == wanted:
            return
        said = _said(self._whole(response))
        repository = f"{self._reference.registry}/{self._reference.repository}"
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            file = configuration_file(self._environ)
            remedy = (
                f"the login in {file} is not accepted, or may not do this"
                if self._known
                else f"nobody is logged in: `docker login {self._reference.registry}` (or crane, podman) writes {file}"
            )
            raise ImageError(f"the registry refuses {repository} ({status}{said}): {remedy}")
        raise ImageError(f"the registry answers {status} for {repository}{said}")

    def _whole(self, response: httpx.Response) -> bytes:
        data = b""
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) > _MOST_OF_A_DOCUMENT:
                raise ImageError(f"the registry {self._reference.registry} sends more than a manifest can be")
        return data

    def _named(self, pointer: str) -> str:
        mark = "@" if pointer.startswith("sha256:") else ":"
        return f"{self._reference.registry}/{self._reference.repository}{mark}{pointer}"


def _said(body: bytes) -> str:
    """The registry's own words. Source: OCI distribution specification, "Error codes"."""
    with contextlib.suppress(ImageError):
        first = (parsed(body, "").get("errors") or [{}])[0]
        if isinstance(first, dict) and (first.get("code") or first.get("message")):
            return f", {first.get('code', '')} {first.get('message', '')}".rstrip()
    return ""


def _chunks(file: Path, tell: Callable[[int], None]) -> Iterator[bytes]:
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
            tell(len(chunk))
