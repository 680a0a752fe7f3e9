"""Streams over gRPC whose caller is reviewed first: they end as others do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import grpc

from pillion.transport.grpc.guard import Guard
from pillion.transport.reviewed_tokens import Reviewed, ReviewedTokens
from tests.unit.transport.plane import SmallPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Everybody:
    async def review(self, token: str) -> Reviewed:
        """Let everybody in."""
        return Reviewed(token, None)


def test_a_method_whose_caller_leaves_lets_go_what_it_holds_before_the_call_has_ended() -> None:
    async def story() -> None:
        held = True

        async def method(request: object, context: object) -> AsyncIterator[bytes]:
            nonlocal held
            try:
                yield b"first"
                yield b"second"
            finally:
                held = False

        details: Any = SimpleNamespace(
            method="/a.Service/Stream", invocation_metadata=(("authorization", "Bearer a.b.c"),)
        )
        guard = Guard("inference", ReviewedTokens(Everybody()), SmallPlane())
        handler = cast("Any", guard.guarded(grpc.unary_stream_rpc_method_handler(method), details))

        answers = handler.unary_stream(b"", None)
        assert b"first" == await anext(answers)
        await answers.aclose()

        assert not held

    asyncio.run(story())
