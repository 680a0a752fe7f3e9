"""Which failures are tried again, and when."""

from __future__ import annotations

import pytest

from pillion.client import (
    CallError,
    ClientError,
    ConnectionLost,
    InvalidInput,
    NeverSent,
    Overloaded,
    Retries,
    Unavailable,
    Untrusted,
)
from pillion.client.exchange import Answer, Request, Send, Sleep, exchange

POLICY = Retries(attempts=3, backoff=0.1, longest=2.0)


@pytest.mark.parametrize(
    ("expected", "failure", "made", "idempotent"),
    [
        (0.1, NeverSent("no"), 1, False),
        (0.2, NeverSent("no"), 2, False),
        (None, NeverSent("no"), 3, False),
        (None, Untrusted("https://x", "self-signed"), 1, True),
        (None, ConnectionLost("gone"), 1, False),
        (0.1, ConnectionLost("gone"), 1, True),
        (1.0, Overloaded(429, "full", retry_after=1.0), 1, True),
        (None, Overloaded(429, "full", retry_after=1.0), 1, False),
        (None, Overloaded(429, "full", retry_after=30.0), 1, True),
        (None, Overloaded(429, "full"), 1, True),
        (0.1, Unavailable(503, "loading", retry_after=0.0), 1, True),
        (None, Unavailable(502, "a proxy's", retry_after=1.0), 1, True),
        (None, InvalidInput(400, "wrong"), 1, True),
        (None, CallError(500, "failed", retry_after=1.0), 1, True),
    ],
)
def test_only_what_is_safe_is_tried_again(
    expected: float | None,
    failure: ClientError,
    made: int,
    idempotent: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert expected == POLICY.wait(failure, made, idempotent=idempotent, chance=0)


def test_chance_takes_half_of_the_backoff_at_most() -> None:
    assert 0.05 == POLICY.wait(NeverSent("no"), 1, idempotent=False, chance=1)


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"backoff": -1}, {"longest": -1}])
def test_a_policy_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Retries(**wrong)  # type: ignore[arg-type] # one of them, by name


def test_an_exchange_sleeps_sends_again_and_gives_the_answer() -> None:
    operation = exchange(Request("GET", "/", idempotent=True), POLICY, 60)
    first = next(operation)
    assert isinstance(first, Send)
    assert isinstance(first.request, Request)
    assert "60.000" == first.request.headers["x-request-timeout-seconds"]
    pause = operation.throw(NeverSent("no"))
    assert isinstance(pause, Sleep)
    assert isinstance(operation.send(None), Send)
    with pytest.raises(StopIteration) as end:
        operation.send(Answer({}, b"here"))
    assert b"here" == end.value.value.body


def test_a_wait_beyond_the_time_of_the_call_is_not_begun() -> None:
    operation = exchange(Request("GET", "/", idempotent=True), POLICY, 0.5)
    next(operation)
    with pytest.raises(Overloaded):
        operation.throw(Overloaded(429, "full", retry_after=1.0))


def test_the_servers_deadline_is_not_that_of_a_stream() -> None:
    sent = next(exchange(Request("POST", "/count", streams=True), POLICY, 60))
    assert isinstance(sent, Send)
    assert isinstance(sent.request, Request)
    assert {} == sent.request.headers
