"""Where the API server is and how the operator proves who it is: a kubeconfig, or the pod's service account."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import kopf
import yaml

from pillion_operator.state.manifest import object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.resources.base import JsonObject

__all__ = ["Connection", "NoConnectionError", "connect", "from_kubeconfig", "from_service_account"]

SERVICE_ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: The kubelet renews the token at 80 % of its hour; reading it again this often is far ahead of its end.
_TOKEN_LIFETIME: Final = timedelta(minutes=5)


class NoConnectionError(RuntimeError):
    """There is no usable way to reach an API server; the text says what to set."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A way to the API server; `login` reads the credentials anew, since tokens are rotated in place."""

    login: Callable[[], kopf.ConnectionInfo]
    namespace: str

    def headers(self) -> dict[str, str]:
        """Return the header that carries the credentials, where they are not a client certificate."""
        return dict(self.login().as_http_headers())


def connect(kubeconfig: Path | None = None) -> Connection:
    """Return the connection by the given kubeconfig, else the pod's service account, else `KUBECONFIG`."""
    if kubeconfig is not None:
        return from_kubeconfig(kubeconfig)
    if (SERVICE_ACCOUNT_FOLDER / "token").exists():
        return from_service_account(SERVICE_ACCOUNT_FOLDER)
    named = os.environ.get("KUBECONFIG")
    default = Path(named) if named else Path.home() / ".kube" / "config"
    if not default.exists():
        raise NoConnectionError(
            "no API server is known: run in a pod with a service account, or set --kubeconfig or KUBECONFIG"
        )
    return from_kubeconfig(default)


def from_service_account(folder: Path) -> Connection:
    """Return the connection of a pod, by what the kubelet mounts and sets."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace_file = folder / "namespace"

    def login() -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(
            server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
            ca_path=str(folder / "ca.crt"),
            token=(folder / "token").read_text().strip(),
            expiration=datetime.now(UTC) + _TOKEN_LIFETIME,
        )

    return Connection(login, namespace_file.read_text().strip() if namespace_file.exists() else "default")


def from_kubeconfig(path: Path) -> Connection:
    """Return the connection of a kubeconfig's current context: client certificate, token or basic credentials."""
    try:
        document = cast("JsonObject", yaml.safe_load(path.read_text()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise NoConnectionError(f"{path}: cannot be read as a kubeconfig: {error}") from error
    context = _named(document, "contexts", "context", text_at(document, "current-context"), path)
    cluster = _named(document, "clusters", "cluster", text_at(context, "cluster"), path)
    user = _named(document, "users", "user", text_at(context, "user"), path)

    def file(section: JsonObject, field: str) -> str | None:
        given = text_at(section, field)
        return str(path.parent / given) if given else None

    info = kopf.ConnectionInfo(
        server=text_at(cluster, "server"),
        ca_path=file(cluster, "certificate-authority"),
        ca_data=text_at(cluster, "certificate-authority-data") or None,
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        certificate_path=file(user, "client-certificate"),
        certificate_data=text_at(user, "client-certificate-data") or None,
        private_key_path=file(user, "client-key"),
        private_key_data=text_at(user, "client-key-data") or None,
        username=text_at(user, "username") or None,
        password=text_at(user, "password") or None,
        token=text_at(user, "token") or None,
    )
    return Connection(lambda: info, text_at(context, "namespace") or "default")


def _named(document: JsonObject, section: str, field: str, name: str, path: Path) -> JsonObject:
    for entry in objects_at(document, section):
        if entry.get("name") == name:
            return object_at(entry, field)
    raise NoConnectionError(f"{path}: {section} has no entry named {name!r}; set current-context to one that is there")
