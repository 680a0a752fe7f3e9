"""A prediction by an InferenceService of a cluster, from outside: through kubectl's port-forward."""

from __future__ import annotations

import base64
import binascii
import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pillion.cli.cluster.forwarding import forwarded
from pillion.cli.cluster.objects import condition, number_at, object_at, text_at
from pillion.cli.failures import CommandError
from pillion.resources.conventions import authority_config, serving_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pillion.cli.cluster.kubectl import Kubectl
    from pillion.cli.cluster.objects import Object

__all__ = ["Way", "way_in"]

_GRPC_PORT: Final = "8081"


@dataclass(frozen=True, slots=True)
class Way:
    """How to call the service from this machine.

    Attributes:
        url: base URL on loopback.
        host: the name that the server's certificate is for.
        ca: the authority that signed it, where one is known.
    """

    url: str
    host: str
    ca: Path | None


@contextlib.contextmanager
def way_in(kubectl: Kubectl, name: str, *, grpc: bool, ca: Path | None) -> Iterator[Way]:
    """Open a way to the predictor of an InferenceService, and close it with the block.

    Raises:
        CommandError: there is no such service, it is not ready, or kubectl may not forward.
    """
    service = kubectl.inference_service(name)
    _require_ready(service, name)
    address = urlsplit(text_at(service, "status", "address", "url") or text_at(service, "status", "url"))
    secure = address.scheme == "https"
    if not address.hostname:
        raise CommandError(f"{name} has no address yet: see `pillion status {name}`")
    port = _GRPC_PORT if grpc else "443" if secure else "80"
    target = f"service/{address.hostname.partition('.')[0]}"
    with (
        _authority(kubectl, service, ca) if secure else contextlib.nullcontext(ca) as trusted,
        forwarded(kubectl, target, port) as here,
    ):
        scheme = ("grpcs" if secure else "grpc") if grpc else address.scheme
        yield Way(f"{scheme}://127.0.0.1:{here}", address.hostname, trusted)


def _require_ready(service: Object, name: str) -> None:
    """Refuse where no pod would answer; during a rollout the old ones do."""
    ready = condition(service, "Ready")
    if ready.get("status") != "True" and number_at(service, "status", "replicas", "ready") == 0:
        said = (
            f"{text_at(ready, 'reason')}: {text_at(ready, 'message')}" if ready else "no operator has looked at it yet"
        )
        raise CommandError(f"{name} is not ready: {said} See `pillion status {name}`")


@contextlib.contextmanager
def _authority(kubectl: Kubectl, service: Object, given: Path | None) -> Iterator[Path | None]:
    """The CA to trust: the one that is given, else that of the service where it may be read."""
    name, tls = text_at(service, "metadata", "name"), object_at(service, "spec", "predictor", "tls")
    secret = serving_secret(name, tls)
    if given is not None or not secret:
        yield given
        return
    pem = _public_authority(kubectl, name) if tls.get("selfSigned") is True else _authority_in(kubectl, secret)
    if not pem.strip():
        yield None
        return
    with tempfile.NamedTemporaryFile(suffix=".crt") as file:
        file.write(pem)
        file.flush()
        yield Path(file.name)


def _public_authority(kubectl: Kubectl, name: str) -> bytes:
    """The CA of a certificate that the operator makes, which who may read no Secrets may read."""
    done = kubectl.run("get", "configmap", authority_config(name), r"--output=jsonpath={.data.ca\.crt}")
    return done.stdout.encode() if done.code == 0 else b""


def _authority_in(kubectl: Kubectl, secret: str) -> bytes:
    # Of the Secret only the certificate of the authority is printed, never the key.
    done = kubectl.run("get", "secret", secret, r"--output=jsonpath={.data.ca\.crt}")
    try:
        return base64.b64decode(done.stdout, validate=True) if done.code == 0 else b""
    except binascii.Error:
        return b""
