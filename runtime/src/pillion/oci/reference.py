"""Names of images as people write them: ``registry.example/team/mood:v1``, ``mood@sha256:...``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from pillion.oci.errors import ImageError

__all__ = ["Reference"]

_DOCKER_HUB: Final = "docker.io"
_HUB_ADDRESS: Final = "registry-1.docker.io"
_REGISTRY: Final = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_REPOSITORY: Final = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is. Source: OCI distribution specification, "Pulling manifests"; Docker for short names."""

    registry: str
    """Host, with a port where one is written."""
    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a name; without tag and digest it means ``latest``, without a registry Docker Hub.

        Raises:
            ImageError: it is no name of an image.
        """
        rest, at, digest = text.partition("@")
        first, slash, after = rest.partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            registry, rest = first, after
        else:
            registry = _DOCKER_HUB
        repository, colon, tag = rest.partition(":")
        if registry == _DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        host = _REGISTRY.fullmatch(registry)
        wrong = (
            host is None
            or not 0 < int(host[1] or 443) < 65536
            or not _REPOSITORY.fullmatch(repository)
            or (colon and not _TAG.fullmatch(tag))
            or (at and not _DIGEST.fullmatch(digest))
        )
        if wrong:
            raise ImageError(
                f"{text!r} is no name of an image: write HOST[:PORT]/NAME:TAG in lower case, "
                "such as registry.example/team/mood:v1",
                usage=True,
            )
        return cls(registry, repository, tag or ("" if digest else "latest"), digest)

    @property
    def address(self) -> str:
        """The host that answers for the registry."""
        return _HUB_ADDRESS if self.registry == _DOCKER_HUB else self.registry

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, and so is reached without TLS."""
        address = self.address
        host = address.rpartition(":")[0] if ":" in address.rpartition("]")[2] else address
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def pointer(self) -> str:
        """What the registry is asked for: the digest where there is one, else the tag."""
        return self.digest or self.tag

    def pinned(self, digest: str) -> str:
        """The name by which exactly this content is pulled."""
        return f"{self.registry}/{self.repository}@{digest}"

    def __str__(self) -> str:
        """The name with all its parts."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"
