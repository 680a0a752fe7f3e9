"""A training that is followed over gRPC, by a server that hangs meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import pillion
from pillion.client import grpc as transport
from pillion.client.aio_handles import AsyncJob
from pillion.client.handles import Job
from pillion.client.services import Which
from pillion.protocol.protos import runtime_pb2 as pb
from tests.waiting import until_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHICH = Which("training", "t1")
RUNNING = pb.TrainingEvent(job=pb.Job(training_id="t1", kind="training", state=pb.JobState.RUNNING))
ENDED = pb.TrainingEvent(job=pb.Job(training_id="t1", kind="training", state=pb.JobState.COMPLETED))


class Served:
    """Follows a training: what each stream says before it falls silent, one after the other, then the end."""

    def __init__(self, *says: pb.TrainingEvent | None) -> None:
        self._says = list(says)
        self.behind: list[int] = []
        self.silent: Callable[[], object] = lambda: None
        """Called when a stream says nothing at all."""

    def follow(self, request: pb.FollowTrainingRequest, context: Any) -> Iterator[pb.TrainingEvent]:
        self.behind.append(request.after)
        if not self._says:
            yield ENDED
            return
        gone = threading.Event()
        context.add_callback(gone.set)
        if (said := self._says.pop(0)) is not None:
            yield said
        else:
            self.silent()
        gone.wait(60)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Served, str]]:
    says = Served(*request.param)
    method = grpc.unary_stream_rpc_method_handler(
        says.follow,
        request_deserializer=pb.FollowTrainingRequest.FromString,
        response_serializer=pb.TrainingEvent.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("pillion.runtime.TrainingManagement", {"FollowTraining": method})
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((service,))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield says, f"grpc://127.0.0.1:{port}"
        finally:
            server.stop(None).wait()


class Timer:
    """One that goes off when the test says."""

    made: list[Timer]
    daemon = False

    def __init__(self, _seconds: float, due: Callable[[], None]) -> None:
        self.due = due
        self.made.append(self)

    @classmethod
    def goes_off(cls, number: int) -> None:
        """That one goes off, as soon as it is made: a server may be asked before."""
        until_now(lambda: len(cls.made) > number)
        cls.made[number].due()

    def start(self) -> None:
        """Wait for the test."""

    def cancel(self) -> None:
        """As above."""


WROTE = pb.TrainingEvent(place=17, log="a")


@pytest.mark.parametrize("served", [(WROTE, None)], indirect=True)
def test_a_quiet_stream_is_begun_anew_and_a_server_that_does_not_answer_that_is_lost(
    served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says, url = served
    Timer.made = []
    monkeypatch.setattr(threading, "Timer", Timer)
    says.silent = lambda: Timer.goes_off(1)
    with pillion.Client(url) as client:
        events = Job(client, WHICH).follow("logs")
        assert "log" == next(events).kind
        Timer.goes_off(0)
        assert ["lost", "ended"] == [event.kind for event in events]
    assert [0, 17, 17] == says.behind


@pytest.mark.parametrize("served", [(RUNNING, RUNNING, None, RUNNING)], indirect=True)
async def test_the_asynchronous_client_does_the_same(
    served: tuple[Served, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says, url = served
    monkeypatch.setattr(transport, "_RENEWED_SECONDS", 0.5)
    async with pillion.AsyncClient(url) as client:
        kinds = [event.kind async for event in AsyncJob(client, WHICH).follow()]
    assert ["state", "ended"] == [kind for kind in kinds if kind != "lost"]
    assert "lost" in kinds
    assert 5 <= len(says.behind)
