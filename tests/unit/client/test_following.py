"""What is decided while a training is followed."""

from __future__ import annotations

import json

import pytest

import pillion
from pillion.client.errors import ConnectionLost, DeadlineExceeded, NeverSent, NotFound, Unavailable
from pillion.client.events import Event
from pillion.client.exchange import Answer, Request, Send, Sleep
from pillion.client.following import Following
from pillion.client.services import Which

WHICH = Which("training", "t1")


def following(patience: float = 60.0) -> Following:
    core = pillion.Client("http://127.0.0.1:9", retries=0).core
    return Following(core, WHICH, "logs", patience)


def test_a_server_that_was_never_there_is_said_at_once() -> None:
    operation = following().begin()
    assert isinstance(next(operation), Send)
    with pytest.raises(NeverSent):
        operation.throw(NeverSent("not there"))


def test_one_that_is_found_missing_when_it_is_read_is_said_at_once_as_well() -> None:
    with pytest.raises(NeverSent, match="not there"):
        following().lost(NeverSent("not there"))

    reader = following()
    reader.heard(Event("log", {"text": "a"}, "1"))
    assert reader.lost(NeverSent("not there")) is not None


def test_after_a_loss_it_is_looked_for_ever_more_rarely_and_read_on_behind_what_was_seen() -> None:
    reader = following()
    told = reader.heard(Event("log", {"text": "a"}, "17"))
    assert told is not None
    assert ("log", {"text": "a"}) == (told.kind, told.data)
    lost = reader.lost(ConnectionLost("cut"))
    assert lost is not None
    assert "cut" == lost.data["reason"]

    operation = reader.begin()
    pauses = []
    effect = next(operation)
    for _ in range(8):
        assert isinstance(effect, Sleep)
        pauses.append(effect.seconds)
        sent = next(operation)
        assert isinstance(sent, Send)
        assert isinstance(sent.request, Request)
        assert "17" == sent.request.headers["last-event-id"]
        effect = operation.throw(NeverSent("not yet"))

    assert [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0] == pauses


def test_patience_ends() -> None:
    with pytest.raises(ConnectionLost, match="has ended the connection, and not the training"):
        following(patience=-1.0).lost(None)


def test_what_is_wrong_for_good_is_not_waited_for() -> None:
    reader = following()
    reader.lost(None)
    operation = reader.begin()
    next(operation)
    next(operation)
    with pytest.raises(NotFound):
        operation.throw(NotFound(404, "purged"))


def test_a_state_that_is_known_is_not_told_again_and_the_end_is_the_last() -> None:
    reader = following()
    running = Event("job", {"state": "RUNNING"})
    assert [True, False] == [reader.heard(running) is not None for _ in range(2)]
    assert reader.heard(Event("of a later version", {})) is None
    assert not reader.ended
    end = reader.heard(Event("end", {"state": "COMPLETED"}))
    assert ("ended", True) == (end.kind if end else None, reader.ended)


def test_who_waits_for_a_job_gives_a_server_up_that_has_been_away_for_too_long() -> None:
    job = pillion.Client("http://127.0.0.1:9", retries=0).core
    operation = job.wait(Which("prediction", "p1", "work"), None, None, 0)
    assert isinstance(next(operation), Send)
    with pytest.raises(NeverSent, match="not there") as raised:
        operation.throw(NeverSent("not there"))
    assert ["p1 may go on: nothing was heard of it for 0 s (patience=)"] == raised.value.__notes__


def test_within_its_patience_a_server_may_be_away_and_each_answer_begins_it_anew() -> None:
    job = pillion.Client("http://127.0.0.1:9", retries=0).core
    operation = job.wait(Which("prediction", "p1", "work"), None, None, 3600)
    next(operation)
    for state in ("RUNNING", "COMPLETED"):
        for said in (
            NeverSent("away"),
            ConnectionLost("away"),
            Unavailable(503, "away"),
            DeadlineExceeded(504, "away"),
        ):
            assert isinstance(operation.throw(said), Sleep)
            assert isinstance(next(operation), Send)
        answer = Answer({}, json.dumps({"prediction_id": "p1", "state": state}).encode())
        if state == "RUNNING":
            assert isinstance(operation.send(answer), Sleep)
            next(operation)
    with pytest.raises(StopIteration):
        operation.send(answer)


def test_the_time_that_progress_takes_is_not_counted_as_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("pillion.client.core.time.monotonic", lambda: now[0])

    def slow(_state: object) -> None:
        now[0] += 600

    operation = pillion.Client("http://127.0.0.1:9", retries=0).core.wait(
        Which("prediction", "p1", "work"), slow, None, 300
    )
    next(operation)
    answer = Answer({}, json.dumps({"prediction_id": "p1", "state": "RUNNING"}).encode())
    assert isinstance(operation.send(answer), Sleep)
    next(operation)
    assert isinstance(operation.throw(NeverSent("away")), Sleep)
    now[0] += 300
    next(operation)
    with pytest.raises(NeverSent):
        operation.throw(NeverSent("away"))
