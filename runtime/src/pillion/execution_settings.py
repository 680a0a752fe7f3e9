"""What a manifest says of how a model's code is run, as ``runtime.yaml`` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.runtimefile import ExecutionSettings

if TYPE_CHECKING:
    from pillion.resources import PredictorSpec

__all__ = ["execution_of"]


def execution_of(predictor: PredictorSpec) -> ExecutionSettings:
    """The settings of the predictor's models.

    ``batcher`` is KServe's: its size and latency bound batches that the runtime makes anyway where a model gains by
    them, and its time-out is one more bound of the request's.
    """
    most = predictor.container_concurrency or None
    settings = _where(predictor)
    batcher = predictor.batcher
    if batcher is None:
        return msgspec.structs.replace(settings, max_in_flight=most, timeout_seconds=predictor.timeout)
    bounds = [seconds for seconds in (predictor.timeout, batcher.timeout) if seconds]
    return msgspec.structs.replace(
        settings,
        max_in_flight=most,
        timeout_seconds=min(bounds, default=None),
        batching="on",
        max_batch_size=batcher.max_batch_size,
        max_batch_delay_seconds=(batcher.max_latency or 0) / 1000,
    )


def _where(predictor: PredictorSpec) -> ExecutionSettings:
    """On the loop, in threads or in processes."""
    given = predictor.execution
    if given is None:
        return ExecutionSettings()
    return ExecutionSettings(
        executor=given.executor or "auto",
        processes=given.processes,
        affinity=given.affinity or "none",
        accelerate=given.accelerate,
        device=given.device,
        intra_op_threads=given.intra_op_threads,
        cpus=given.cpus,
        idempotent=given.idempotent,
        max_calls_per_worker=given.max_calls_per_worker,
        max_rss_per_worker=_bytes(given.max_rss_per_worker),
    )


def _bytes(quantity: str | None) -> int | None:
    """Of an amount of memory as the resource's schema has it, such as ``2Gi``."""
    if quantity is None:
        return None
    number = quantity.rstrip("KMGTki")
    unit = quantity[len(number) :]
    step = 1024 if unit.endswith("i") else 1000
    return int(number) * int(step ** " KMGT".index(unit[:1].upper() or " "))
