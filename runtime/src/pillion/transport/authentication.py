"""One key that callers of the data ports must show, for services that are reachable by more than their own callers.

Health and readiness stay open: probes and load balancers have no key, and say nothing about a model. Everything else
asks for it, also routes that do not exist yet.
"""

from __future__ import annotations

from typing import Final

from pillion.errors import ErrorCode, PillionError

__all__ = ["AUTHORIZATION", "KEY_HEADER", "ApiKey"]

AUTHORIZATION: Final = "authorization"
KEY_HEADER: Final = "x-api-key"
_SETTING: Final = "auth.api_key (PILLION_API_KEY)"
_REMEDY: Final = "send it as 'Authorization: Bearer KEY' or as 'X-API-Key: KEY'"


class ApiKey:
    """The key, kept as a digest so that comparing takes the same time whatever is shown, its length included.

    Args:
        key: the key.
        setting: what holds it, as errors and the log call it.
        also: another key that is as good, such as that of whoever may do more.
    """

    __slots__ = ("_also", "_digest", "_equal", "_hash", "setting")

    def __init__(self, key: str, setting: str = _SETTING, also: ApiKey | None = None) -> None:
        import hashlib  # noqa: PLC0415 - servers without a key start without it
        import hmac  # noqa: PLC0415 - as above

        self._hash = hashlib.sha256
        self._equal = hmac.compare_digest
        self._digest = self._hash(key.encode()).digest()
        self._also = also
        self.setting = setting

    def check(self, authorization: bytes | None, key: bytes | None) -> None:
        """Take either header's value.

        Raises:
            PillionError: ``UNAUTHENTICATED``; no key is shown, or another one.
        """
        shown = key if key is not None else _bearer(authorization)
        if shown is None:
            raise PillionError(
                ErrorCode.UNAUTHENTICATED,
                f"this server asks for the key that its setting {self.setting} holds",
                field=AUTHORIZATION,
                remedy=_REMEDY,
            )
        if not self.holds(shown) and not (self._also is not None and self._also.holds(shown)):
            raise PillionError(
                ErrorCode.UNAUTHENTICATED,
                f"the key is not the one that the server's setting {self.setting} holds",
                field=KEY_HEADER if key is not None else AUTHORIZATION,
            )

    def holds(self, shown: bytes) -> bool:
        """Whether that is the key."""
        return bool(self._equal(self._hash(shown).digest(), self._digest))


def _bearer(authorization: bytes | None) -> bytes | None:
    """The token of RFC 6750, section 2.1; None for another scheme."""
    scheme, _, token = (authorization or b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" and token.strip() else None
