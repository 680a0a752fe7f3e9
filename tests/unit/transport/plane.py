"""A small in-process data plane for transport tests: real functions on real arrays, no queue, no executor.

Models: ``double`` (FP32 in, twice that out), ``echo`` (any datatype, back as it came), ``slow`` (waits until
released, counts who was cancelled), ``nan``, ``broken`` (raises), ``table`` (two inputs), ``loading`` (not ready).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from pillion.dataplane.call import ExplainResult, InferResponse, ModelMetadata, ModelState, ModelStatus, WireProtocol
from pillion.dataplane.statistics import BatchRuns, Durations, ModelStatistics
from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, Tensor, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.dataplane.call import Call, InferRequest

MATRIX = (TensorSpec("x", Datatype.FP32, (-1, 4)),)
METADATA = {
    "double": ModelMetadata("test_double", MATRIX, (TensorSpec("y", Datatype.FP32, (-1, 4)),), explains=True),
    "echo": ModelMetadata("test_echo", (TensorSpec("x", Datatype.BYTES, (-1,)),), ()),
    "slow": ModelMetadata("test_slow", MATRIX, ()),
    "nan": ModelMetadata("test_nan", MATRIX, (TensorSpec("y", Datatype.FP32, (-1, 4)),)),
    "broken": ModelMetadata("test_broken", MATRIX, ()),
    "table": ModelMetadata(
        "test_table",
        (TensorSpec("age", Datatype.INT64, (-1, 1)), TensorSpec("town", Datatype.BYTES, (-1, 1))),
        (TensorSpec("age", Datatype.INT64, (-1, 1)), TensorSpec("town", Datatype.BYTES, (-1, 1))),
    ),
}


class SmallPlane:
    """Implements :class:`~pillion.dataplane.call.InferencePlane`."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.requests: list[InferRequest] = []
        self.cancelled = 0
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.is_ready = True
        self.failure: Exception | None = None
        self.refusals: list[tuple[ErrorCode, WireProtocol, str]] = []
        self.loaded: list[str] = []
        self.unloaded: list[str] = []

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        self.calls.append(call)
        self.requests.append(request)
        status = self.status(request.model, request.version)
        if self.failure is not None:
            raise self.failure
        if status.state is not ModelState.READY:
            raise PillionError(ErrorCode.NOT_READY, f"Model {request.model!r} is loading", retry_after=2)
        return InferResponse(request.model, status.version, await self._outputs(request))

    async def explain(self, request: InferRequest, call: Call) -> ExplainResult:
        self.calls.append(call)
        self.requests.append(request)
        return ExplainResult([{"weight": float(value)} for value in request.inputs[0].data.sum(axis=1)])

    async def _outputs(self, request: InferRequest) -> list[Tensor]:
        match request.model:
            case "double":
                return [Tensor("y", Datatype.FP32, request.inputs[0].data * np.float32(2))]
            case "nan":
                return [Tensor("y", Datatype.FP32, np.full_like(request.inputs[0].data, np.nan))]
            case "broken":
                raise ZeroDivisionError("a secret path /srv/model")
            case "slow":
                self.entered.set()
                try:
                    await self.release.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
        return [Tensor(tensor.name, tensor.datatype, tensor.data) for tensor in request.inputs]

    def gather(self, requests: int) -> None:
        """Nothing is gathered here."""

    def flush(self) -> None:
        """Nothing is gathered here."""

    def refused(self, error: PillionError, protocol: WireProtocol, model: str, version: str | None = None) -> None:
        self.refusals.append((error.code, protocol, model))

    def ready(self) -> bool:
        return self.is_ready

    async def awake(self, name: str, deadline: float | None = None) -> None:
        """Nothing sleeps here."""

    def statuses(self) -> Sequence[ModelStatus]:
        return [
            *(ModelStatus(name, "1", ModelState.READY, metadata=metadata) for name, metadata in METADATA.items()),
            ModelStatus("double", "2", ModelState.READY, metadata=METADATA["double"]),
            ModelStatus("loading", "1", ModelState.LOADING),
        ]

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        for status in self.statuses():
            if status.name == name and version in (None, status.version):
                return status
        raise PillionError(ErrorCode.UNKNOWN_MODEL, f"Request for unknown model: {name!r} version {version!r}")

    def versions(self, name: str) -> tuple[str, ...]:
        self.status(name)
        return tuple(s.version for s in self.statuses() if s.name == name and s.state is ModelState.READY)

    def statistics(self, name: str = "", version: str | None = None) -> Sequence[ModelStatistics]:
        if name:
            self.status(name, version)
        return [
            ModelStatistics(
                status.name,
                status.version,
                1700000000.5,
                inferences=3,
                executions=2,
                success=Durations(3, 0.006),
                fail=Durations(1, 0.001),
                queue=Durations(2, 0.002),
                prepare=Durations(2, 0.0005),
                compute=Durations(2, 0.003),
                divide=Durations(2, 0.0004),
                batches={1: BatchRuns(1, 0.0001, 0.001, 0.0), 2: BatchRuns(1, 0.0002, 0.002, 0.0003)},
            )
            for status in self.statuses()
            if (name in (status.name, "")) and version in (None, status.version) and status.metadata is not None
        ]

    async def load(self, name: str) -> None:
        self.status(name)
        self.loaded.append(name)

    async def unload(self, name: str) -> None:
        self.status(name)
        self.unloaded.append(name)
