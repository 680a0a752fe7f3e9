"""How a model's code is run."""

from typing import Annotated, Literal

from annotated_types import Ge, Le, MaxLen

from pillion.resources.annotations import Positive
from pillion.resources.base import ResourceModel
from pillion.resources.rules import TextRule
from pillion.runtimefile import DEVICE

__all__ = ["ExecutionSpec"]

_CPUS = r"[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*"
_CPU_LISTS = TextRule(
    pattern=f"^{_CPUS}(;{_CPUS})*$", message="write CPUs as in '0-3,8', a list for each worker as in '0-3;4-7'"
)

_MEMORY = TextRule(
    pattern="^[1-9][0-9]{0,15}([KMGT]i|[kMGT])?$", message="write an amount of memory as in '2Gi' or '500M'"
)

_DEVICE = TextRule(pattern=DEVICE, message="write a device as 'cpu', 'cuda', 'cuda:1' or 'auto'")


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

    device: Annotated[str, MaxLen(16), _DEVICE] | None = None
    """Where models compute. Default: `auto`, CUDA where there is a device."""

    intra_op_threads: Annotated[int, Ge(1), Le(256)] | None = None
    """Threads inside one call. Default: a share of the CPU quota."""

    cpus: Annotated[str, MaxLen(1024), _CPU_LISTS] | None = None
    """CPUs that the worker processes are bound to, as in `0-3,8`; `;` separates a list for each of them."""

    idempotent: bool | None = None
    """Whether a request is computed again when its worker dies over it. Default: true for artifacts."""

    max_calls_per_worker: Positive | None = None
    """Calls that a worker process answers before another takes its place."""

    max_rss_per_worker: Annotated[str, MaxLen(20), _MEMORY] | None = None
    """Memory that a worker process may hold before another takes its place, such as `2Gi`."""
