"""How a model's code is run."""

from typing import Annotated, Literal

from annotated_types import Ge, Le

from pillion.resources.base import ResourceModel

__all__ = ["ExecutionSpec"]


class ExecutionSpec(ResourceModel):
    """Where a model's calls run."""

    executor: Literal["auto", "inline", "thread", "process"] | None = None
    """On the event loop, in threads, or in worker processes that each load the model. Default: measured."""

    processes: Annotated[int, Ge(1), Le(256)] | None = None
    """Worker processes of a pod. Default: one per CPU."""

    affinity: Literal["none", "spread"] | None = None
    """`spread` binds each worker process to CPUs of its own."""

    accelerate: Literal["none", "onnx"] | None = None
    """`onnx`: compute scikit-learn models by ONNX Runtime where equal and faster."""

    idempotent: bool | None = None
    """Whether a request is computed again when its worker dies over it. Default: true for artifacts."""
