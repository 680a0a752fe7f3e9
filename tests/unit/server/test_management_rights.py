"""Whom the settings let change models: what lets somebody call never does, where others may call as well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.server.management_rights import management_access, management_warning
from pillion.server.settings import Settings

KEY, TOKEN = b"a-key", b"the-token"
LOOPBACK, ANYWHERE = "127.0.0.1", "0.0.0.0"
SINGLE: dict[str, Any] = {"api_key": KEY.decode()}
SEVERAL: dict[str, Any] = {"api_keys": "/keys"}
CLUSTER: dict[str, Any] = {"inference_service": "iris"}


def settings(host: str, token: str | None = None, *, enabled: bool = True, **auth: Any) -> Settings:
    ports = {name: {"host": host} for name in ("http", "grpc")}
    management = {"enabled": enabled, "token": token}
    return msgspec.convert({"auth": auth, "management": management, **ports}, Settings)


def outcome(shown: bytes, host: str, token: str | None = None, **auth: Any) -> str:
    """The setting that lets somebody in who has passed the guard of the data port, or why they may not."""
    access = management_access(settings(host, token, **auth), host)
    try:
        return access.check(None, shown)
    except PillionError as error:
        return error.code.value


@pytest.mark.parametrize("auth", [{}, SINGLE, SEVERAL, CLUSTER, SINGLE | CLUSTER, SINGLE | SEVERAL])
def test_where_other_machines_come_only_the_token_changes_models(auth: dict[str, str]) -> None:
    assert ErrorCode.PERMISSION_DENIED.value == outcome(KEY, ANYWHERE, **auth)
    assert ErrorCode.UNAUTHENTICATED.value == outcome(KEY, ANYWHERE, TOKEN.decode(), **auth)
    assert "management.token" == outcome(TOKEN, ANYWHERE, TOKEN.decode(), **auth)


@pytest.mark.parametrize("auth", [SEVERAL, CLUSTER, SINGLE | SEVERAL])
def test_callers_with_keys_of_their_own_do_not_change_models_on_loopback_either(auth: dict[str, str]) -> None:
    assert ErrorCode.PERMISSION_DENIED.value == outcome(KEY, LOOPBACK, **auth)
    assert "management.token" == outcome(TOKEN, LOOPBACK, TOKEN.decode(), **auth)


@pytest.mark.parametrize(("auth", "expected"), [({}, ""), (SINGLE, "auth.api_key")])
def test_programs_of_the_machine_do_that_have_what_its_owner_has(auth: dict[str, str], expected: str) -> None:
    assert expected == outcome(KEY, LOOPBACK, **auth)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (settings(ANYWHERE, **SEVERAL), "through http (which other machines can reach) and grpc (which other machines"),
        (settings(LOOPBACK, **SEVERAL), "through http (whose callers have keys of their own (auth.api_keys))"),
        (settings(LOOPBACK, **CLUSTER), "have keys of their own (auth.inference_service)"),
        (settings(ANYWHERE), "Set management.token (PILLION_MANAGEMENT__TOKEN) from a secret"),
    ],
)
def test_management_that_nobody_may_use_is_told_at_the_start(given: Settings, said: str) -> None:
    assert said in management_warning(given)


@pytest.mark.parametrize(
    "given",
    [
        settings(LOOPBACK),
        settings(LOOPBACK, **SINGLE),
        settings(ANYWHERE, TOKEN.decode(), **SEVERAL),
        settings(ANYWHERE, enabled=False, **SEVERAL),
    ],
)
def test_nothing_is_told_where_nothing_is_shut(given: Settings) -> None:
    assert "" == management_warning(given)
