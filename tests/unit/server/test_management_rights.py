"""Whom the settings let change models through a port that other machines reach."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.server.assembly import management_access
from pillion.server.settings import Settings

KEY = b"a-key"


def outcome(**auth: Any) -> str:
    """The setting that lets somebody in who has passed the guard of the data port, or why they may not."""
    given = {"auth": auth, "management": {"enabled": True}}
    access = management_access(msgspec.convert(given, Settings), "0.0.0.0")
    try:
        return access.check(None, KEY)
    except PillionError as error:
        return error.code.value


@pytest.mark.parametrize("also", [{"api_key": KEY.decode()}, {"api_keys": "/keys"}, {}])
def test_a_token_that_may_call_does_not_change_models_also_where_keys_are_good_too(also: dict[str, str]) -> None:
    assert ErrorCode.PERMISSION_DENIED.value == outcome(inference_service="iris", **also)


def test_a_key_that_everybody_shows_does() -> None:
    assert "auth.api_key" == outcome(api_key=KEY.decode())
    assert "auth.api_keys" == outcome(api_keys="/keys")
