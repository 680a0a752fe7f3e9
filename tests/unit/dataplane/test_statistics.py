from __future__ import annotations

from pillion.dataplane.call import ModelState, ModelStatus, WireProtocol
from pillion.dataplane.statistics import BatchRuns, Durations, model_statistics
from pillion.metrics import OK, ModelMetrics


def test_requests_that_shared_calls_are_more_than_the_calls() -> None:
    metrics = ModelMetrics("m", "1")
    shared, alone = metrics.batches_of(8), metrics.batches_of(1)
    shared.runs, shared.prepared, shared.computed, shared.divided = 1, 0.125, 0.5, 0.25
    alone.runs, alone.prepared, alone.computed = 1, 0.125, 0.25
    for _ in range(9):
        metrics.request(WireProtocol.REST, OK, 1.0)
    metrics.request(WireProtocol.GRPC, "invalid_argument", 0.125)

    told = model_statistics(ModelStatus("m", "1", ModelState.READY), metrics)

    assert (9, 2) == (told.inferences, told.executions)
    assert Durations(9, 9.0) == told.success
    assert Durations(1, 0.125) == told.fail
    assert (Durations(9, 1.125), Durations(9, 4.25), Durations(9, 2.0)) == (told.prepare, told.compute, told.divide)
    assert {8: BatchRuns(1, 0.125, 0.5, 0.25), 1: BatchRuns(1, 0.125, 0.25, 0.0)} == told.batches
    assert 0.0 == told.last_inference
