"""Following a training: what it prints, or the numbers that it logs, as server-sent events until it has ended.

Each event has an ``id``, the place behind it: a client that was cut off goes on there by ``Last-Event-ID``. The last
event is ``end``, with the job as it is then. While nothing happens a comment comes now and then, so that neither the
client nor a proxy between takes the connection for dead.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import orjson

from pillion.jobs.following import Beat, Became, Wrote
from pillion.jobs.training_runner import LOG
from pillion.transport.http.errors import task_error_body
from pillion.transport.http.events import event
from pillion.transport.job_documents import job_document

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pillion.errors import PillionError
    from pillion.jobs.training_keeper import TrainingKeeper

__all__ = ["JobEvents"]

_BEAT: Final = b": still here\n\n"
_BEAT_SECONDS: Final = 15.0


class JobEvents:
    """See :class:`~pillion.transport.http.events.Events`."""

    def __init__(self, keeper: TrainingKeeper, identity: str, name: str, place: int, request_id: str) -> None:
        self._keeper = keeper
        self._identity = identity
        self._name = name
        self._place = place
        self._request_id = request_id

    async def chunks(self) -> AsyncGenerator[bytes]:
        """What was written so far, then what comes, then the end."""
        yield _BEAT  # so that a client knows that it is heard, before there is anything to read
        shown = None
        told = self._keeper.following(self._identity, self._name, self._place, _BEAT_SECONDS)
        async with contextlib.aclosing(told):
            async for one in told:
                match one:
                    case Wrote(text, place):
                        self._place = place
                        yield self._told(text)
                    case Became(job):
                        document = job_document(job)
                        if job.ended or document != shown:
                            yield event(orjson.dumps(document), "end" if job.ended else "job")
                        shown = document
                    case Beat():
                        yield _BEAT

    def _told(self, text: bytes) -> bytes:
        if self._name == LOG:
            data = orjson.dumps({"text": text.decode(errors="replace")})
            return b"id: %d\n" % self._place + event(data, "log")
        lines = text.splitlines()
        told = [event(line, "metrics") for line in lines]
        return b"".join(told[:-1]) + b"id: %d\n" % self._place + told[-1]

    def failed(self, error: PillionError) -> bytes:
        """The event of an error."""
        return event(task_error_body(error, self._request_id), "error")

    def close(self) -> None:
        """Nothing is held between chunks that its generator does not let go."""
