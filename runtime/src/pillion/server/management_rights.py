"""Whom the settings let change models, port by port. The rule itself is the transports':
:mod:`pillion.transport.management_access`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.transport.authentication import ApiKey
from pillion.transport.management_access import ManagementAccess

if TYPE_CHECKING:
    from pillion.server.settings import Settings

__all__ = ["is_loopback", "management_access", "management_token", "management_warning"]


def management_access(settings: Settings, host: str) -> ManagementAccess:
    """Who may change models through a data port that listens on ``host``."""
    return ManagementAccess(
        enabled=settings.management.enabled,
        remedy=_remedy(settings),
        shut=_shut(settings, host),
        token=management_token(settings),
        guarded="auth.api_key" if settings.auth.api_key is not None else "",
    )


def management_warning(settings: Settings) -> str:
    """What is to be told at the start of management that is switched on and that nobody may use; empty for nothing."""
    if not settings.management.enabled or settings.management.token is not None:
        return ""
    shut = {name: why for name in ("http", "grpc") if (why := _shut(settings, getattr(settings, name).host))}
    ports = " and ".join(f"{name} ({why})" for name, why in shut.items())
    return ports and (
        f"management.enabled is set, and nobody may change models through {ports}: a key for calling does not do. Set"
        " management.token (PILLION_MANAGEMENT__TOKEN) from a secret"
    )


def management_token(settings: Settings) -> ApiKey | None:
    """What callers show who may change models; None where there is none."""
    token = settings.management.token
    if token is None:
        return None
    return ApiKey({"management.token": token}, "management.token (PILLION_MANAGEMENT__TOKEN)")


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach a port there."""
    if host == "localhost":
        return True
    import ipaddress  # noqa: PLC0415 - a pod listens on 0.0.0.0 and never asks further

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _remedy(settings: Settings) -> str:
    if settings.workers == 1:
        return "declare models in the manifest, or set management.enabled"
    return "declare models in the manifest, which every worker follows, or serve with one: --workers 1"


def _shut(settings: Settings, host: str) -> str:
    """Why a port that listens on ``host`` needs a token for management, whatever callers show; empty where it does not.

    Where callers have keys of their own they are told apart, and some come from elsewhere also where the port is one of
    loopback: from behind a proxy.
    """
    auth = settings.auth
    if not is_loopback(host):
        return "which other machines can reach"
    if auth.api_keys or auth.inference_service:
        return (
            f"whose callers have keys of their own ({'auth.api_keys' if auth.api_keys else 'auth.inference_service'})"
        )
    return ""
