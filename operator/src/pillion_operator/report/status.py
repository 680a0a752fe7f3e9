"""Writing the status: once, and only what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion_operator.client.errors import ApiError
from pillion_operator.state.kinds import INFERENCE_SERVICE
from pillion_operator.state.manifest import key_of, object_at, uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources.base import JsonObject
    from pillion_operator.client.kubernetes import KubernetesClient
    from pillion_operator.state.kinds import Kind
    from pillion_operator.state.manifest import Manifest

__all__ = ["StatusWriter", "merge_patch"]

_ABSENT: Final = object()
#: How often others may write to an object between our look at it and our write, before the pass begins anew.
_WRITERS: Final = 3


def merge_patch(before: JsonObject, after: JsonObject) -> JsonObject:
    """Return the patch that turns `before` into `after`, empty where they are equal. Source: RFC 7386."""
    patch: JsonObject = {field: None for field in before if field not in after}
    for field, value in after.items():
        known = before.get(field, _ABSENT)
        if isinstance(value, dict) and isinstance(known, dict):
            inner = merge_patch(known, value)
            if inner:
                patch[field] = inner
        elif known != value:
            patch[field] = value
    return patch


class StatusWriter:
    """Writes the status of our custom resources."""

    def __init__(self, client: KubernetesClient, record: Callable[[Kind, Manifest], object]) -> None:
        self._client = client
        self._record = record

    async def write(self, stored: Manifest, status: JsonObject, kind: Kind = INFERENCE_SERVICE) -> bool:
        """Write what differs from the stored status; return whether anything did.

        Raises:
            ApiError: the write failed for another reason than that the object is gone.
        """
        patch = merge_patch(object_at(stored, "status"), status)
        if not patch:
            return False
        written = await self._send(kind, stored, patch)
        if written is None:
            return False
        self._record(kind, written)
        return True

    async def _send(self, kind: Kind, stored: Manifest, patch: JsonObject) -> Manifest | None:
        """Write to this very object; return None where it is gone or replaced.

        The API server ignores a `uid` in a patch of `status`, but not a `resourceVersion`.
        """
        version = version_of(stored)
        for _ in range(_WRITERS):
            body: JsonObject = {"metadata": {"resourceVersion": version}, "status": patch}
            try:
                return await self._client.merge(kind, key_of(stored), body, subresource="status")
            except ApiError as error:
                if error.not_found:
                    return None
                if not error.conflict:
                    raise
                conflict = error
            live = await self._client.get(kind, key_of(stored))
            if live is None or uid_of(live) != uid_of(stored):
                return None
            version = version_of(live)
        raise conflict
