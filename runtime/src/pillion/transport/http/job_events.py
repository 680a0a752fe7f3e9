"""Following a training: what it prints, or the numbers that it logs, as server-sent events until it has ended.

Each event has an ``id``, the place behind it: a client that was cut off goes on there by ``Last-Event-ID``. The last
event is ``end``, with the job as it is then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from pillion.jobs.log import read_log
from pillion.jobs.training_runner import LOG
from pillion.transport.http.errors import task_error_body
from pillion.transport.http.events import event
from pillion.transport.http.job_documents import job_document

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pillion.errors import PillionError
    from pillion.jobs.engine import JobEngine
    from pillion.jobs.states import JobKind

__all__ = ["JobEvents"]

_BEAT: bytes = b": still here\n\n"


class JobEvents:
    """See :class:`~pillion.transport.http.events.Events`."""

    def __init__(self, engine: JobEngine, identity: str, kind: JobKind, name: str, place: int, request_id: str) -> None:
        self._engine = engine
        self._identity = identity
        self._kind = kind
        self._name = name
        self._place = place
        self._request_id = request_id

    async def chunks(self) -> AsyncGenerator[bytes]:
        """What was written so far, then what comes, then the end."""
        yield _BEAT  # so that a client knows that it is heard, before there is anything to read
        folder = self._engine.folders.of(self._identity)
        shown = None
        with self._engine.changes.following(self._identity) as changed:
            while True:
                changed.clear()
                # Looked at before the text is read: what was written before the end is read after it.
                job = await self._engine.get(self._identity, self._kind)
                while True:
                    text, place = read_log(folder, self._name, self._place)
                    whole = text if self._name == LOG else text[: text.rfind(b"\n") + 1]
                    if not whole:
                        break
                    self._place = place - len(text) + len(whole)
                    yield self._told(whole)
                document = job_document(job)
                if job.ended:
                    yield event(orjson.dumps(document), "end")
                    return
                if document != shown:
                    shown = document
                    yield event(orjson.dumps(document), "job")
                if self._engine.stopping:
                    return
                await changed.wait()

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
