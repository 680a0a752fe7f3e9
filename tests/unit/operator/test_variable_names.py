"""Which variables objects bring is read by name, and remembered: nothing of their values."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from pillion_operator.client.errors import ApiError
from pillion_operator.observe.variables import VariableNames


class Objects:
    """One Secret and one ConfigMap; others may not be read, or cannot."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, kind: Any, key: Any) -> Any:
        self.asked.append(f"{kind.name}/{key.name}")
        if key.name.isdecimal():
            raise ApiError(int(key.name), "Refused", "no")
        return {"keys": {"data": {"A": "c2VjcmV0", "B": ""}}, "config": {"data": {"C": "1"}}}.get(key.name)


def test_the_keys_of_what_is_there_and_may_be_read_are_told_and_remembered() -> None:
    objects, now = Objects(), [0.0]
    names = VariableNames(cast("Any", objects), lambda: now[0])
    sources = [("secretRef", "keys"), ("configMapRef", "config"), ("secretRef", "gone"), ("secretRef", "403")]

    found = [asyncio.run(names.read("shop", sources)) for _ in range(2)]

    told = {("secretRef", "keys"): frozenset("AB"), ("configMapRef", "config"): frozenset("C")}
    assert [told, told] == found
    assert ["Secret/keys", "ConfigMap/config", *["Secret/gone", "Secret/403"] * 2] == objects.asked
    now[0] = 60.0
    asyncio.run(names.read("shop", sources[:1]))
    assert "Secret/keys" == objects.asked[-1]


def test_a_cluster_that_does_not_answer_is_asked_again_before_anything_is_decided() -> None:
    with pytest.raises(ApiError):
        asyncio.run(VariableNames(cast("Any", Objects()), lambda: 0.0).read("shop", [("secretRef", "500")]))
