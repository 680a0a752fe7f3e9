"""The values that cross the seam between transports and the data plane.

Transports decode what they received into :class:`InferRequest` plus :class:`Call`, await
:meth:`InferencePlane.infer`, and encode the :class:`InferResponse` or translate the
:class:`~pillion.errors.PillionError`. They know nothing about queues, executors or backends, and the data plane knows
nothing about HTTP or gRPC. The values are made for every request, so they are msgspec's structures: those cost a fifth
of a dataclass.
"""

from __future__ import annotations

import itertools
import os
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from pillion.model import Libraries, ModelMetadata, ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pillion.dataplane.statistics import ModelStatistics
    from pillion.dataplane.times import Times
    from pillion.errors import PillionError
    from pillion.tensors import Tensor
    from pillion.tracing.nested import Trace

__all__ = [
    "Call",
    "ExplainResult",
    "InferRequest",
    "InferResponse",
    "InferencePlane",
    "Libraries",
    "ModelMetadata",
    "ModelState",
    "ModelStatus",
    "Parameters",
    "WireProtocol",
    "new_request_id",
]

_PROCESS: Final = os.urandom(8).hex()
_LAST_DIGITS: Final = tuple(f"{number:02x}" for number in range(256))


def _block(number: int) -> map[str]:
    return map(f"{_PROCESS}{number:014x}".__add__, _LAST_DIGITS)


_REQUEST_IDS: Final = itertools.chain.from_iterable(map(_block, itertools.count()))


def new_request_id() -> str:
    """32 hexadecimal digits: a random half for the process and a counter.

    All but its last two digits are written once for 256 requests, at a fifth of what writing them for each would cost.
    """
    return next(_REQUEST_IDS)


Parameters = dict[str, bool | int | float | str]
"""Protocol parameters: flat, scalar values."""


@unique
class WireProtocol(StrEnum):
    """How the request came in; the ``protocol`` label of metrics."""

    REST = "rest"
    GRPC = "grpc"
    V1 = "v1"
    MLFLOW = "mlflow"
    TASK = "task"
    """A task over HTTP; over gRPC it counts as ``GRPC``."""
    OPENAI = "openai"
    INTERNAL = "internal"


class Call(msgspec.Struct):
    """The circumstances of one request.

    ``deadline`` is a time on the monotonic clock of the data plane (seconds, ``time.monotonic`` by default); None
    means the model's default applies. ``request_id`` is taken from the caller or made by the transport, echoed and
    logged.
    """

    protocol: WireProtocol
    request_id: str
    deadline: float | None = None
    times: Times | None = None
    """Filled in on the way, where somebody wants to know (see :mod:`pillion.dataplane.times`)."""
    client: Callable[[], str] | None = None
    """Who calls, asked only while the call waits or runs and somebody looks."""
    priority: int = 0
    """As the request asks for it: 1 is the highest, 0 the default (see :mod:`pillion.dataplane.ranks`)."""
    background: bool = False
    """Nobody waits for the answer: its own deadline counts, however long requests may take."""
    callers: tuple[str, ...] = ()
    """The models whose code waits for the answer, the outermost first."""
    trace: Trace | None = None
    """Their place in a trace, where there is one."""


class InferRequest(msgspec.Struct):
    """One inference request: which model, the input tensors, and which outputs are wanted (empty: all default ones)."""

    model: str
    inputs: list[Tensor]
    version: str | None = None
    id: str | None = None
    outputs: tuple[str, ...] = ()
    parameters: Parameters = {}
    classes: dict[str, int] = {}
    """For transports: outputs to be answered as so many of their best classes, by name."""


class InferResponse(msgspec.Struct):
    """The answer: the model and version that computed it, and the output tensors in the order asked for."""

    model: str
    version: str
    outputs: list[Tensor]
    id: str | None = None
    parameters: Parameters = {}
    labels: Mapping[str, Sequence[str]] = {}
    """For transports: names of the classes of outputs that were asked for as their best ones."""


class ExplainResult(msgspec.Struct, frozen=True):
    """An explanation: plain data, of whatever form the model's author chose."""

    value: Any


class InferencePlane(Protocol):
    """What every transport may ask of the data plane."""

    async def infer(self, request: InferRequest, call: Call) -> InferResponse:
        """Run one request through admission, queue and executor.

        Cancelling the awaiting task cancels the request: it leaves the queue, and its slot is free at once. Up to its
        first wait the coroutine may be driven outside of any task, so nothing before that asks for the current one.

        Raises:
            PillionError: with the code that says why (see :class:`~pillion.errors.ErrorCode`).
        """
        ...

    async def explain(self, request: InferRequest, call: Call) -> ExplainResult:
        """The same way for why a model predicts what it predicts; only for those whose metadata says that they explain.

        Raises:
            PillionError: with the code that says why not.
        """
        ...

    def gather(self, requests: int) -> None:
        """So many requests are about to be begun, without a wait between them, and :meth:`flush` follows.

        Requests that are begun in one turn of the event loop may be computed together. That happens by itself once the
        loop has run what is ready; a transport that knows how many there are and when all have begun saves a turn.
        """
        ...

    def flush(self) -> None:
        """Compute now what the requests begun since :meth:`gather` wait for together."""
        ...

    def refused(self, error: PillionError, protocol: WireProtocol, model: str, version: str | None = None) -> None:
        """Count a request for ``model`` that a transport could not hand over: unreadable, too large, no input."""
        ...

    def ready(self) -> bool:
        """Whether every desired model is loaded and the server is not draining: never true with no model."""
        ...

    async def awake(self, name: str, deadline: float | None = None) -> None:
        """Return once a model that sleeps (:attr:`ModelStatus.asleep`) is in memory, could not be loaded, or
        ``deadline`` is over.

        Raises:
            PillionError: ``NOT_READY``; there is no room for it.
        """
        ...

    def statuses(self) -> Sequence[ModelStatus]:
        """Every known model version, by name and version."""
        ...

    def status(self, name: str, version: str | None = None) -> ModelStatus:
        """One model version; without ``version`` the one that answers requests.

        Raises:
            PillionError: ``UNKNOWN_MODEL``; the text starts "Request for unknown model".
        """
        ...

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model that are ready, oldest first.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        ...

    def statistics(self, name: str = "", version: str | None = None) -> Sequence[ModelStatistics]:
        """Counts and times of a model's versions, or of one of them; without ``name`` of all models that are ready.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        ...

    async def load(self, name: str) -> None:
        """Load (again) a model that is declared. Management only; the transport checks that it is enabled.

        Raises:
            PillionError: ``UNKNOWN_MODEL`` when it is not declared, ``NOT_READY`` with the reason when loading failed.
        """
        ...

    async def unload(self, name: str) -> None:
        """Unload a model after its requests in flight have ended. Management only.

        Raises:
            PillionError: ``UNKNOWN_MODEL``.
        """
        ...
