"""Security contexts of our own images: what Pod Security's `restricted` level asks for, and a read-only root."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject


def container_security() -> JsonObject:
    """Return the security context of a container of ours."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_security() -> JsonObject:
    """Return the security context of a pod whose containers are ours; the user is the image's, or the platform's."""
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
