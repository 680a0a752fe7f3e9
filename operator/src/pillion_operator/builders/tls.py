"""Certificates: Secrets mounted into the pod, and the settings that point at the files.

The names of the Secrets are part of the pod; their content is not, so a renewed certificate never rolls pods: the
kubelet refreshes the mount and the runtime reloads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pillion.resources import TlsSpec
    from pillion.resources.base import JsonObject

__all__ = ["TlsParts", "tls_parts", "tls_settings"]

_SERVER_PATH: Final = "/etc/pillion/tls"
_CLIENT_CA_PATH: Final = "/etc/pillion/client-ca"


@dataclass(frozen=True, slots=True)
class TlsParts:
    """Volumes and mounts of the serving container."""

    volumes: tuple[JsonObject, ...]
    mounts: tuple[JsonObject, ...]


def tls_parts(tls: TlsSpec | None) -> TlsParts:
    """Return what mounts the Secrets."""
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if tls and tls.secret_name:
        volumes.append({"name": "tls", "secret": {"secretName": tls.secret_name}})
        mounts.append({"name": "tls", "mountPath": _SERVER_PATH, "readOnly": True})
    if tls and tls.client_ca_secret_name:
        # Only the CA: a Secret made by a tool may hold the CA's private key as well.
        items: JsonObject = {"secretName": tls.client_ca_secret_name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "client-ca", "secret": items})
        mounts.append({"name": "client-ca", "mountPath": _CLIENT_CA_PATH, "readOnly": True})
    return TlsParts(tuple(volumes), tuple(mounts))


def tls_settings(tls: TlsSpec) -> JsonObject:
    """Return the runtime's `tls` settings."""
    settings: JsonObject = {}
    if tls.secret_name:
        settings["server"] = {"cert": f"{_SERVER_PATH}/tls.crt", "key": f"{_SERVER_PATH}/tls.key"}
    if tls.client_ca_secret_name:
        settings["client"] = {"cert": f"{_CLIENT_CA_PATH}/ca.crt"}
    return settings
