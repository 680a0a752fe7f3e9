"""Whom a client believes, and who it is; files are read again when they change."""

from __future__ import annotations

import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["TLS", "Watch", "system_authorities"]

_GRPC_ROOTS: Final = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates by files.

    Args:
        ca: who signed the server's certificate; by default whom the system believes.
        cert: who we are, for mutual TLS; with its chain.
        key: of that.
        reload: seconds between looks at the files, which are read again when they have changed: new connections use
            the new ones, and calls in progress end on the old. 0: never again.
        server_name: whose certificate to expect, where that is not the URL's host, as through a forwarded port.
    """

    ca: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None
    reload: float = 10.0
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("TLS: cert and key belong together: give both")
        for name in ("ca", "cert", "key"):
            path = getattr(self, name)
            if path is not None and not Path(path).is_file():
                raise FileNotFoundError(f"TLS: {name}: no such file: {path}")

    def context(self) -> ssl.SSLContext:
        """Made of the files as they are now.

        Raises:
            ValueError: they cannot be used; it names them.
        """
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
            if self.cert is not None and self.key is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            named = ", ".join(str(path) for path in (self.ca, self.cert, self.key) if path is not None)
            raise ValueError(f"TLS: {named}: {error}") from None
        return context

    def stamp(self) -> tuple[object, ...]:
        """Differs when the files do."""
        return tuple(_stamp(Path(path)) for path in (self.ca, self.cert, self.key) if path is not None)

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """CA, key and certificate, as gRPC takes them."""
        ca, key, cert = (None if path is None else Path(path).read_bytes() for path in (self.ca, self.key, self.cert))
        return ca, key, cert


def system_authorities() -> bytes | None:
    """The certificates (PEM) that the system believes, by OpenSSL's file and folder and the variables for them. For
    gRPC, which asks for those of its own package; None leaves it these, where there are no others or its own variable
    names some.
    """
    if os.environ.get(_GRPC_ROOTS):
        return None
    places = ssl.get_default_verify_paths()
    files = [Path(places.cafile)] if places.cafile else []
    # Named by a digest, which is what OpenSSL looks for in a folder.
    files += sorted(Path(places.capath).glob("????????.[0-9]*")) if places.capath else []
    return b"\n".join(file.read_bytes() for file in files if file.is_file()) or None


class Watch:
    """Tells when files have changed, looking at them at most every ``reload`` seconds."""

    def __init__(self, tls: TLS) -> None:
        self._tls = tls
        self._stamp = tls.stamp()
        self._looked = time.monotonic()

    def changed(self) -> bool:
        """Whether they have since the last True."""
        now = time.monotonic()
        if not self._tls.reload or now - self._looked < self._tls.reload:
            return False
        self._looked = now
        stamp = self._tls.stamp()
        if stamp == self._stamp:
            return False
        try:
            self._tls.context()
        except ValueError:
            return False  # half of a rotation: the old ones until the next look
        self._stamp = stamp
        return True


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return None  # between two files of a rotation
    return found.st_mtime_ns, found.st_size, found.st_ino
