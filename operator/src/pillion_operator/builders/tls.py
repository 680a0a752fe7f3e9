"""Certificates: Secrets mounted into the pod, and the settings that point at the files.

The names of the Secrets are part of the pod; their content is not, so a renewed certificate never rolls pods: the
kubelet refreshes the mount and the runtime reloads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pillion.resources.conventions import serving_secret
from pillion_operator.builders.claims import values_of
from pillion_operator.state.manifest import key_of
from pillion_operator.state.names import predictor_name

if TYPE_CHECKING:
    from pillion.resources import InferenceService, TlsSpec
    from pillion.resources.base import JsonObject
    from pillion_operator.state.manifest import Manifest

__all__ = ["TlsParts", "certificate_names", "server_secret", "tls_parts", "tls_settings"]

_SERVER_PATH: Final = "/etc/pillion/tls"
_CLIENT_CA_PATH: Final = "/etc/pillion/client-ca"


@dataclass(frozen=True, slots=True)
class TlsParts:
    """Volumes and mounts of the serving container."""

    volumes: tuple[JsonObject, ...]
    mounts: tuple[JsonObject, ...]


def server_secret(service: InferenceService) -> str:
    """Return the name of the Secret that the service's pods serve with, empty without TLS."""
    tls = service.spec.predictor.tls
    return "" if tls is None else serving_secret(service.metadata.name or "", tls.to_api())


def certificate_names(service: InferenceService, stored: Manifest, cluster_domain: str) -> tuple[str, ...]:
    """Return the names and addresses by which a service is asked: those of its Service, of this machine for who
    forwards a port, and the hosts at which a Gateway hands TLS on to the pods.

    Args:
        service: as parsed.
        stored: the same as stored.
        cluster_domain: of cluster DNS.
    """
    key, way = key_of(stored), service.spec.networking
    child = predictor_name(key.name)
    inside = (
        child,
        f"{child}.{key.namespace}",
        f"{child}.{key.namespace}.svc",
        f"{child}.{key.namespace}.svc.{cluster_domain}",
    )
    hosts: list[str] = []
    if way is not None and way.passes_through:
        values = values_of(stored)
        hosts = [values.fill(host).lower() for host in (*(way.hosts or ()), *(way.grpc_hosts or ()))]
    return (*inside, *dict.fromkeys(hosts), "localhost", "127.0.0.1", "::1")


def tls_parts(service: InferenceService) -> TlsParts:
    """Return what mounts the Secrets."""
    tls, secret = service.spec.predictor.tls, server_secret(service)
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if tls and secret:
        volume: JsonObject = {"secretName": secret}
        if not tls.secret_name:
            # Not the key of the CA, which is in the operator's own Secrets.
            volume["items"] = [{"key": key, "path": key} for key in ("tls.crt", "tls.key")]
        volumes.append({"name": "tls", "secret": volume})
        mounts.append({"name": "tls", "mountPath": _SERVER_PATH, "readOnly": True})
    if tls and tls.client_ca_secret_name:
        # Only the CA: a Secret made by a tool may hold the CA's private key as well.
        items: JsonObject = {"secretName": tls.client_ca_secret_name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
        volumes.append({"name": "client-ca", "secret": items})
        mounts.append({"name": "client-ca", "mountPath": _CLIENT_CA_PATH, "readOnly": True})
    return TlsParts(tuple(volumes), tuple(mounts))


def tls_settings(tls: TlsSpec) -> JsonObject:
    """Return the runtime's `tls` settings: the files are the same, whoever makes the certificate."""
    settings: JsonObject = {"server": {"cert": f"{_SERVER_PATH}/tls.crt", "key": f"{_SERVER_PATH}/tls.key"}}
    if tls.client_ca_secret_name:
        settings["client"] = {"cert": f"{_CLIENT_CA_PATH}/ca.crt"}
    return settings
