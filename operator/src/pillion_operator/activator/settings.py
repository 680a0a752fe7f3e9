"""The activator's configuration: flags over environment (`PILLION_ACTIVATOR_*`) over defaults."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from pillion_operator.program import Names, ProgramSettings
from pillion_operator.state.names import ACTIVATOR_ADMIN_PORT

__all__ = ["ActivatorSettings"]

Seconds = Annotated[float, Gt(0)]


class ActivatorSettings(ProgramSettings):
    """Every setting of `pillion-activator`."""

    model_config = SettingsConfigDict(
        env_prefix="PILLION_ACTIVATOR_",
        cli_prog_name="pillion-activator",
    )

    service: Annotated[str, Field(pattern=r"^[^/]+/[^/]+$")]
    """The activator's own Service, as `namespace/name`: slices name it that are for this activator."""
    addresses: Annotated[Names, MinLen(1)]
    """Addresses of this replica, separated by commas: the pod's."""

    namespaces: Names = ()
    """Namespaces whose services it stands for, separated by commas; none means the whole cluster."""

    host: str = "0.0.0.0"  # noqa: S104 - callers come from outside
    """Address of the ports that stand for Services."""
    http_host: str = "0.0.0.0"  # noqa: S104 - Prometheus and the kubelet come from outside
    """Address of metrics and probes."""
    http_port: Annotated[int, Ge(0), Le(65535)] = ACTIVATOR_ADMIN_PORT
    """Port of metrics and probes; 0 lets the system choose."""

    max_connections: Annotated[int, Ge(1), Le(1_000_000)] = 1000
    """Connections at a time; further ones are closed at once."""
    max_connections_per_service: Annotated[int, Ge(1), Le(1_000_000)] = 500
    """Connections of one Service at a time, so that one cannot take all."""
    held_bytes: Annotated[int, Ge(32_768), Le(16_777_216)] = 131_072
    """Bytes of one connection that are held while it waits; more is left to the network."""
    held_bytes_together: Annotated[int, Ge(0)] = 33_554_432
    """Bytes of all connections together; beyond them only a first piece of 16 KiB is read of each."""
    wait_seconds: Seconds = 300.0
    """How long a connection waits for a pod that is Ready."""
    connect_seconds: Seconds = 5.0
    """How long one attempt to reach a pod may take."""
    connection_age_seconds: Seconds = 300.0
    """The age at which a connection is ended as soon as nothing is on its way."""
    connection_quiet_seconds: Seconds = 10.0
    """How long nothing may have followed the server's last bytes for nothing to be on its way."""
    connection_grace_seconds: Seconds = 600.0
    """How much older a connection may get while something is on its way."""
    drain_seconds: Annotated[float, Ge(0)] = 15.0
    """After SIGTERM: how long connections are still taken, until every node knows that they go elsewhere."""
    finish_seconds: Annotated[float, Ge(0)] = 30.0
    """After that: how long connections may go on."""
