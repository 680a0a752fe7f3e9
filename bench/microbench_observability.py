"""What observing adds to one request, inside of one process: ``python bench/microbench_observability.py``.

A request of the Open Inference Protocol through the dispatcher, the data plane and the iris model as ONNX, without a
network, in interleaved rounds: the median of the differences to a dispatcher that observes nothing, with the quartiles.
Those that are chosen go the ordinary way, which is part of their cost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import prometheus_client

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pillion.dataplane.plane import DataPlane
from pillion.metrics import RuntimeMetrics
from pillion.payload.log import PayloadLog
from pillion.payload.options import PayloadOptions
from pillion.repository.repository import ModelRepository
from pillion.runtimefile import DesiredModel, ExecutionSettings
from pillion.tracing.environment import TracingSettings
from pillion.tracing.sampling import sampler_named
from pillion.tracing.spans import SpanBatch
from pillion.tracing.tracer import Tracer
from pillion.transport.http.app import Fallback
from pillion.transport.http.direct import DirectAnswer
from pillion.transport.http.dispatcher import Dispatcher
from pillion.transport.http.options import DispatchOptions
from tests.models import train_iris

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from pillion.payload.event import Event
    from pillion.tracing.record import TraceRecord

ROUNDS = 400
CALLS = 100
PATH = b"/v2/models/iris/infer"
BODY = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
).encode()
HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
UNSAMPLED = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")


class _Traces:
    """Makes spans, as what sends them does, and sends nothing."""

    def __init__(self) -> None:
        self._batch = SpanBatch({})

    def offer(self, record: TraceRecord) -> None:
        self._batch.add(record)
        if self._batch.traces == 512:
            self._batch = SpanBatch({})


class _Events:
    def offer(self, event: Event) -> None:
        """Nothing: the sending is other threads'."""


def _scope(headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": "POST",
        "path": PATH.decode(),
        "raw_path": PATH,
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8080),
    }


async def _receive() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def _send(_: MutableMapping[str, Any]) -> None:
    """Nobody listens."""


async def _once(dispatcher: Dispatcher, headers: list[tuple[bytes, bytes]]) -> None:
    dispatcher.gather(1)
    outcome = dispatcher.begin(PATH, headers, BODY)
    dispatcher.flush()
    if outcome is None:
        raise ValueError("the dispatcher does not know the path: nothing was measured")
    answer = outcome if isinstance(outcome, DirectAnswer) else outcome.finish()
    if not isinstance(answer, DirectAnswer):
        await answer(_scope(headers), _receive, _send)


async def _timed(dispatcher: Dispatcher, headers: list[tuple[bytes, bytes]]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        await _once(dispatcher, headers)
    return (time.perf_counter() - started) / CALLS * 1e6


def _tracer(share: str) -> Tracer:
    return Tracer(TracingSettings(sampler=sampler_named("parentbased_traceidratio", share)), _Traces())


def _payloads(share: float) -> PayloadLog:
    return PayloadLog(PayloadOptions(url="http://sink", share=share), _Events())


async def main() -> None:
    plane = DataPlane(repository=ModelRepository(), metrics=RuntimeMetrics(prometheus_client.CollectorRegistry()))
    await plane.start()

    def dispatcher(**options: Any) -> Dispatcher:  # noqa: ANN401 - those of DispatchOptions
        return Dispatcher(plane, Fallback(plane, 0), DispatchOptions(**options))

    silent: Callable[[object], None] = lambda _: None  # noqa: E731 - the line's writing is the log's cost, not ours
    ways = {
        "off": (dispatcher(), HEADERS),
        "off, once more": (dispatcher(), HEADERS),
        "traces 1 %": (dispatcher(tracer=_tracer("0.01")), HEADERS),
        "traces, unsampled caller": (dispatcher(tracer=_tracer("1")), [*HEADERS, UNSAMPLED]),
        "traces 100 %": (dispatcher(tracer=_tracer("1")), HEADERS),
        "access log 1 %": (dispatcher(on_answer=silent, access=0.01), HEADERS),
        "access log 100 %": (dispatcher(on_answer=silent, access=1.0), HEADERS),
        "payload log 1 %": (dispatcher(payloads=_payloads(0.01)), HEADERS),
        "payload log 100 %": (dispatcher(payloads=_payloads(1.0)), HEADERS),
    }
    with tempfile.TemporaryDirectory() as folder:
        model = train_iris(Path(folder)).onnx
        await plane.apply([DesiredModel(name="iris", path=str(model), execution=ExecutionSettings(executor="inline"))])
    for way, headers in ways.values():
        await way(_scope(headers), _receive, _send)  # paths are known from their first request on
    rounds = [[await _timed(way, headers) for way, headers in ways.values()] for _ in range(ROUNDS)]
    await plane.stop(1)
    for place, name in enumerate(ways):
        added = sorted(row[place] - row[0] for row in rounds)
        print(
            f"{name:26} {median(row[place] for row in rounds):6.2f} us a request; added {median(added):6.2f} us"
            f" (quartiles {added[ROUNDS // 4]:.2f} and {added[ROUNDS * 3 // 4]:.2f})"
        )


if __name__ == "__main__":
    asyncio.run(main())
