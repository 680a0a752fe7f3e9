"""Who may change models through a data port: the one rule of HTTP and gRPC.

Nobody, where it is switched off. Where the port can be reached from other machines, or callers have keys of their own,
only who shows the token for it: what lets somebody call never lets them change what others call. On loopback everybody
on the machine, but not every page in a browser there: a page may send a form to a port of loopback, and a name of its
own may lead to it, so the host that was asked for must be loopback's and no other origin may ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from pillion.transport.authentication import ApiKey

__all__ = ["CHANGES", "MANAGEMENT_PATHS", "ManagementAccess", "ManagementOptions"]

CHANGES: Final = "Changing models"
"""What it is that somebody may not, unless it is said otherwise."""

_ENABLED: Final = "management.enabled"
_TOKEN: Final = "management.token"  # noqa: S105 - the name of the setting
MANAGEMENT_PATHS: Final = frozenset(
    {"/management/models", "/management/aliases", "/management/config", "/info/models", "/info/version", "/health"}
)
"""The routes of model management, and of what it tells."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class ManagementAccess(msgspec.Struct, frozen=True):
    """The rule, as the settings make it."""

    enabled: bool = False
    remedy: str = f"declare models in the manifest, or set {_ENABLED}"
    """What whoever finds it switched off is advised."""
    shut: str = ""
    """Why nobody may without a token, as a clause of a sentence; empty where programs of this machine may."""
    token: ApiKey | None = None
    """The key of ``management.token``."""
    guarded: str = ""
    """The setting whose one key every caller has shown before; empty where none is asked for."""

    def check(self, authorization: bytes | None, key: bytes | None, what: str = CHANGES) -> str:
        """Let somebody in who shows these headers, and tell which setting's key that was, if any.

        ``what`` begins the sentence for those who are not.

        Raises:
            PillionError: ``PERMISSION_DENIED``, naming the setting; ``UNAUTHENTICATED``.
        """
        if not self.enabled:
            raise PillionError(
                ErrorCode.PERMISSION_DENIED,
                f"{what} is switched off on this port",
                field=_ENABLED,
                remedy=self.remedy,
            )
        if self.token is not None:
            self.token.check(authorization, key)
            return _TOKEN
        if self.shut:
            raise PillionError(
                ErrorCode.PERMISSION_DENIED,
                f"{what} is switched off on this port, {self.shut}, until there is a token",
                field=_TOKEN,
                remedy=f"set {_TOKEN} (PILLION_MANAGEMENT__TOKEN) from a secret",
            )
        return self.guarded

    def check_page(self, host: bytes | None, origin: bytes | None) -> None:
        """Keep pages of other sites out where no key is asked for, which they would not have.

        Raises:
            PillionError: ``PERMISSION_DENIED``.
        """
        if self.token is not None or self.guarded:
            return
        asked = _host((b"http://" + (host or b"")).decode("latin-1"))
        if asked not in _LOOPBACK or (origin is not None and _host(origin.decode("latin-1")) not in _LOOPBACK):
            raise PillionError(
                ErrorCode.PERMISSION_DENIED,
                "Changing models without a token is for programs on this machine, and not for pages of other sites",
                field="Host" if asked not in _LOOPBACK else "Origin",
                remedy=f"ask for 127.0.0.1 or localhost, or set {_TOKEN}",
            )


class ManagementOptions(msgspec.Struct, frozen=True):
    """Settings of model management over HTTP."""

    access: ManagementAccess = ManagementAccess()
    max_json_bytes: int = 64 * 1024 * 1024
    """Largest body that is JSON."""
    max_upload_bytes: int = 64 * 1024 * 1024
    """Largest body that is written to disk while it arrives."""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
