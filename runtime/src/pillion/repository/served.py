"""A model version that is in memory and takes requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from pillion.backends.labels import with_labels
from pillion.execution import garbage
from pillion.policy import ConsentPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.backends.api import LoadedModel
    from pillion.execution.api import Executor
    from pillion.model import Acceleration, ModelMetadata
    from pillion.runtimefile import DesiredModel

__all__ = ["RepositorySettings", "Served", "described"]


class RepositorySettings(msgspec.Struct, frozen=True):
    """How models are loaded, run and let go."""

    cpus: int | None = None
    """CPUs this process may use; by default its quota and affinity."""
    concurrent_loads: int = 2
    unload_grace_seconds: float = 60.0
    """How long an unload waits for the requests in flight on the old model; they are cut off after it. As long may
    requests of worker processes keep a new config waiting; then it is refused."""
    warm_up_seconds: float = 0.05
    """Time spent on measuring a model after its first call."""
    warm_up_calls: int = 100
    pickle_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """What this process says of formats that can run code; what is said of a single model comes beside it."""
    code_policy: ConsentPolicy = ConsentPolicy.PER_OBJECT
    """The same of classes that were fetched like a model."""
    accelerate: Literal["none", "onnx"] = "none"
    """For models that say nothing of it."""
    device: str = "auto"
    """The same; models that compute on the processor alone leave it aside."""
    intra_op_threads: int | None = None
    """The same; None: a share of the CPUs."""
    memory_budget: int | None = None
    """Bytes for models that are loaded at their first request, together with all others; None: as they come."""
    measure: bool = False
    """Whether what a model takes of the memory is noted without a budget as well."""
    health_period_seconds: float = 10.0
    """Seconds between two questions of how a model is, where its class has ``check_health``."""
    health_timeout_seconds: float = 10.0
    health_failures: int = 3
    """Failures in a row after which it is loaded anew; 0: never."""
    classes: Mapping[str, type[Any]] = msgspec.field(default_factory=dict)
    """Classes that the embedding program hands over, by the name of the model."""


def described(model: LoadedModel, labels: tuple[str, ...] = ()) -> ModelMetadata:
    """The model's metadata, with the outputs marked as optional that come only when a request names them, and the
    names of classes that its folder holds.

    The protocol (inference_rest.md, "Inference Request JSON Object") has all outputs returned where none is named; a
    client has to be able to tell those that are not.
    """
    metadata, always = with_labels(model.metadata, labels), frozenset(model.default_outputs)
    if always.issuperset(spec.name for spec in metadata.outputs):
        return metadata
    outputs = tuple(msgspec.structs.replace(spec, optional=spec.name not in always) for spec in metadata.outputs)
    return msgspec.structs.replace(metadata, outputs=outputs)


class Served:
    """One loaded model with its executor and the count of requests that hold it.

    The data plane increments :attr:`references` for each request and calls :meth:`release` at its end; the repository
    closes the model when the last one has left. Event loop's thread only.
    """

    __slots__ = (
        "_idle",
        "acceleration",
        "configuring",
        "desired",
        "executor",
        "last_used",
        "metadata",
        "model",
        "references",
        "shares_calls",
        "threads",
    )

    def __init__(
        self,
        desired: DesiredModel,
        model: LoadedModel,
        executor: Executor,
        threads: int,
        *,
        shares_calls: bool = False,
        acceleration: Acceleration | None = None,
        labels: tuple[str, ...] = (),
    ) -> None:
        self.desired = desired
        self.model = model
        self.metadata = described(model, labels)
        """What clients are told of the model."""
        self.executor = executor
        self.threads = threads
        """Calls that the executor runs at the same time."""
        self.shares_calls = shares_calls
        """Whether requests may be computed by one call."""
        self.acceleration = acceleration
        """What became of the wish for a faster library; None where there was none."""
        self.references = 0
        self.configuring: asyncio.Future[Any] | None = None
        """A call of its ``reconfigure`` that has not ended in time, or is being made."""
        self.last_used: float | None = None
        """Monotonic time of the last request."""
        self._idle: asyncio.Event | None = None

    def start(self) -> None:
        """It takes requests from now on, on the running event loop."""
        begin = getattr(self.executor, "start", None)
        if begin is not None:
            begin()

    def release(self) -> None:
        """One request has left."""
        self.references -= 1
        if self.references == 0 and self._idle is not None:
            self._idle.set()

    async def idle(self, seconds: float) -> bool:
        """Wait until no request holds the model, at most ``seconds``; whether that came true."""
        if self.references == 0:
            return True
        self._idle = asyncio.Event()
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """Let go of threads and memory. Requests still holding the model must have ended."""
        self.executor.close()
        self.model.close()
        garbage.thaw()  # or cycles inside the model would be kept for ever
