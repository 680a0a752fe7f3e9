"""The Service in front of the predictor's pods, and the addresses that follow from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion_operator.builders.tls import server_secret
from pillion_operator.state.kinds import SERVICE
from pillion_operator.state.manifest import number_at, objects_at, text_at
from pillion_operator.state.names import GRPC_PORT, HTTP_PORT
from pillion_operator.state.plan import Endpoints

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject
    from pillion_operator.builders.context import BuildContext

__all__ = ["addresses", "endpoints", "service", "target_ports"]


def service(context: BuildContext) -> JsonObject:
    """Return the Service: 80 for HTTP or 443 for HTTPS, 8081 for gRPC."""
    http, grpc = target_ports(context)
    secure = _secure(context)
    ports: list[JsonObject] = [
        {
            "name": "https" if secure else "http",
            "port": 443 if secure else 80,
            "targetPort": http,
            "protocol": "TCP",
            "appProtocol": "https" if secure else "http",
        }
    ]
    if grpc:
        # `kubernetes.io/h2c` is cleartext HTTP/2; gRPC over TLS is told by its own name.
        protocol = "grpc" if secure else "kubernetes.io/h2c"
        ports.append(
            {"name": "grpc", "port": GRPC_PORT, "targetPort": grpc, "protocol": "TCP", "appProtocol": protocol}
        )
    body: JsonObject = {"spec": {"type": "ClusterIP", "selector": dict(context.selector), "ports": [*ports]}}
    return context.manifest(SERVICE, context.child_name, body)


def endpoints(context: BuildContext) -> Endpoints:
    """Return where the service answers by cluster DNS."""
    host = f"{context.child_name}.{context.namespace}.svc.{context.settings.cluster_domain}"
    return addresses(host, secure=_secure(context), grpc=target_ports(context)[1] != 0)


def addresses(host: str, *, secure: bool, grpc: bool) -> Endpoints:
    """Return the URLs of a service by its name in cluster DNS."""
    scheme = "grpcs" if secure else "grpc"
    return Endpoints(f"{'https' if secure else 'http'}://{host}", f"{scheme}://{host}:{GRPC_PORT}" if grpc else "")


def _secure(context: BuildContext) -> bool:
    return context.ours and bool(server_secret(context.service))


def target_ports(context: BuildContext) -> tuple[int, int]:
    """Return the container's ports for HTTP and gRPC, 0 where it has none."""
    if context.ours:
        return HTTP_PORT, GRPC_PORT
    ports = objects_at(context.container, "ports")
    grpc = [port for port in ports if text_at(port, "name").startswith(("grpc", "h2c"))]
    http = [port for port in ports if port not in grpc]
    first = number_at(http[0], "containerPort") if http else HTTP_PORT
    return first, number_at(grpc[0], "containerPort") if grpc else 0
