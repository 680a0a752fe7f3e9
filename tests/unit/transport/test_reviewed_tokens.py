"""What is remembered of tokens: for how long, of how many, and what happens meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from pillion.errors import ErrorCode, PillionError
from pillion.transport import reviewed_tokens
from pillion.transport.authentication import ApiKey
from pillion.transport.reviewed_tokens import Refusal, Reviewed, ReviewedTokens, ReviewNeeded, Unreviewed
from tests.waiting import until

GOOD, BAD = b"Bearer a.good.one", b"Bearer a.bad.one"
REFUSED = Refusal(ErrorCode.PERMISSION_DENIED, "may not")


class Cluster:
    """Verdicts by token; counts the reviews, and can be out of reach."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.taken_away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def review(self, token: str) -> Reviewed:
        self.asked.append(token)
        await self.gate.wait()
        if self.away:
            raise Unreviewed("out of reach")
        user = f"account {token.partition('.')[0]}"
        return Reviewed(user, REFUSED if self.taken_away or "bad" in token else None)


async def refusal(tokens: ReviewedTokens, shown: bytes | None, key: bytes | None = None) -> ErrorCode:
    with pytest.raises(PillionError) as raised:
        await tokens.admit(shown, key)
    return raised.value.code


def test_a_verdict_is_remembered_and_asked_for_again_after_its_time() -> None:
    async def story() -> None:
        cluster, clock = Cluster(), [0.0]
        tokens = ReviewedTokens(cluster, None, lambda: clock[0])
        with pytest.raises(ReviewNeeded):
            tokens.check(GOOD, None)
        await tokens.admit(GOOD, None)
        assert ErrorCode.PERMISSION_DENIED is await refusal(tokens, BAD)
        clock[0] = 9.0
        tokens.check(GOOD, None)
        with pytest.raises(PillionError, match="may not"):
            tokens.check(BAD, None)
        clock[0] = 11.0
        with pytest.raises(ReviewNeeded):
            tokens.check(BAD, None)
        clock[0] = 61.0
        with pytest.raises(ReviewNeeded):
            tokens.check(GOOD, None)
        assert 2 == len(cluster.asked)

    asyncio.run(story())


def test_a_good_verdict_holds_for_a_quarter_of_an_hour_while_nobody_can_be_asked_and_a_bad_one_does_not() -> None:
    async def story() -> None:
        cluster, clock = Cluster(), [0.0]
        tokens = ReviewedTokens(cluster, None, lambda: clock[0])
        await tokens.admit(GOOD, None)
        await refusal(tokens, BAD)
        cluster.away = True

        clock[0] = 899.0
        await tokens.admit(GOOD, None)
        assert ErrorCode.NOT_READY is await refusal(tokens, BAD)
        clock[0] = 901.0
        assert ErrorCode.NOT_READY is await refusal(tokens, GOOD)

    asyncio.run(story())


def test_a_known_caller_waits_for_a_cluster_that_is_away_once_and_is_let_in_meanwhile() -> None:
    async def story() -> None:
        cluster, clock = Cluster(), [0.0]
        tokens = ReviewedTokens(cluster, None, lambda: clock[0])
        await tokens.admit(GOOD, None)
        cluster.away = True
        clock[0] = 61.0
        await tokens.admit(GOOD, None)
        cluster.gate.clear()  # nobody answers, and nobody refuses the connection

        for clock[0] in (70.0, 72.0, 80.0):
            tokens.check(GOOD, None)
        await until(lambda: 3 == len(cluster.asked))
        cluster.gate.set()
        await until(lambda: not tokens._reviews)
        clock[0] = 200.0
        with pytest.raises(ReviewNeeded):  # who was not there for long is looked at first
            tokens.check(GOOD, None)

    asyncio.run(story())


def test_who_is_known_is_reviewed_and_remembered_whoever_floods_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewed_tokens, "_WAITING_AT_MOST", 4)
    monkeypatch.setattr(reviewed_tokens, "_REMEMBERED", 2)

    async def story() -> None:
        cluster, clock = Cluster(), [0.0]
        tokens = ReviewedTokens(cluster, None, lambda: clock[0])
        await tokens.admit(GOOD, None)
        for number in range(3):
            await refusal(tokens, b"Bearer a.bad.%d" % number)
        tokens.check(GOOD, None)

        clock[0] = 61.0
        cluster.gate.clear()
        flood = [asyncio.create_task(refusal(tokens, b"Bearer more.bad.%d" % number)) for number in range(4)]
        await until(lambda: 4 == len(tokens._reviews))
        known = asyncio.create_task(tokens.admit(GOOD, None))
        await until(lambda: known.done() or 5 == len(tokens._reviews))
        cluster.gate.set()
        await known
        await asyncio.gather(*flood)

    asyncio.run(story())


def test_a_right_that_was_taken_away_is_not_remembered() -> None:
    async def story() -> None:
        cluster, clock = Cluster(), [0.0]
        tokens = ReviewedTokens(cluster, None, lambda: clock[0])
        await tokens.admit(GOOD, None)
        cluster.taken_away = True
        clock[0] = 61.0
        assert ErrorCode.PERMISSION_DENIED is await refusal(tokens, GOOD)
        with pytest.raises(PillionError, match="may not"):
            tokens.check(GOOD, None)

    asyncio.run(story())


def test_calls_with_one_token_share_a_review_and_one_that_leaves_does_not_end_it() -> None:
    async def story() -> None:
        cluster = Cluster()
        cluster.gate.clear()
        tokens = ReviewedTokens(cluster)
        calls = [asyncio.create_task(tokens.admit(GOOD, None)) for _ in range(3)]
        await until(lambda: bool(cluster.asked))
        calls[0].cancel()
        cluster.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(results[0], asyncio.CancelledError)
        assert [None, None] == results[1:]
        assert 1 == len(cluster.asked)

    asyncio.run(story())


def test_only_so_many_tokens_wait_and_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviewed_tokens, "_WAITING_AT_MOST", 4)
    monkeypatch.setattr(reviewed_tokens, "_REMEMBERED", 2)

    async def story() -> None:
        cluster = Cluster()
        cluster.gate.clear()
        tokens = ReviewedTokens(cluster)
        calls = [asyncio.create_task(tokens.admit(b"Bearer a.good.%d" % number, None)) for number in range(5)]
        await until(calls[4].done)
        cluster.gate.set()
        results = await asyncio.gather(*calls, return_exceptions=True)

        assert isinstance(results[4], PillionError)
        assert ErrorCode.QUEUE_FULL is results[4].code
        tokens.check(b"Bearer a.good.3", None)
        with pytest.raises(ReviewNeeded):
            tokens.check(b"Bearer a.good.0", None)

    asyncio.run(story())


@pytest.mark.parametrize(
    "shown", [None, b"Basic abc", b"Bearer opaque", b"Bearer " + b"a" * 20000 + b".b.c", b"Bearer \xff.a.b"]
)
def test_what_cannot_be_a_token_is_refused_without_a_review(shown: bytes | None) -> None:
    async def story() -> None:
        cluster = Cluster()
        assert ErrorCode.UNAUTHENTICATED is await refusal(ReviewedTokens(cluster), shown)
        assert [] == cluster.asked

    asyncio.run(story())


def test_a_key_is_as_good_as_a_token_and_another_one_is_not_taken_for_a_token() -> None:
    async def story() -> None:
        cluster = Cluster()
        tokens = ReviewedTokens(cluster, ApiKey({"shop": "key"}))
        await tokens.admit(None, b"key")
        await tokens.admit(b"Bearer key", None)
        assert ErrorCode.UNAUTHENTICATED is await refusal(tokens, GOOD, b"other")
        assert [] == cluster.asked

    asyncio.run(story())


def test_all_tokens_of_a_user_have_the_user_s_name_also_when_they_were_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story() -> None:
        cluster = Cluster()
        tokens = ReviewedTokens(cluster, ApiKey({"shop": "key"}))
        shown = (b"Bearer a.first.x", b"Bearer a.renewed.x", b"Bearer b.first.x")
        for one in shown:
            await tokens.admit(one, None)

        names = [await tokens.name(one, None) for one in shown]
        assert ["user:account a", "user:account a", "user:account b"] == names
        assert [1] * 3 == [cluster.asked.count(one.removeprefix(b"Bearer ").decode()) for one in shown]
        monkeypatch.setattr(reviewed_tokens, "_REMEMBERED", 1)
        await tokens.admit(b"Bearer c.first.x", None)
        assert "user:account a" == await tokens.name(shown[0], None)
        assert "key:shop" == await tokens.name(None, b"key")
        with pytest.raises(PillionError, match="may not"):
            await tokens.name(BAD, None)

    asyncio.run(story())
