"""From the manifest's words about running a model to the runtime's."""

from __future__ import annotations

from typing import Any

import pytest

from pillion.execution_settings import execution_of
from pillion.resources import PredictorSpec
from pillion.runtimefile import ExecutionSettings

MODEL = {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://models/iris"}


@pytest.mark.parametrize(
    ("predictor", "expected"),
    [
        ({}, {}),
        ({"containerConcurrency": 0, "timeout": 20}, {"timeout_seconds": 20}),
        ({"containerConcurrency": 3}, {"max_in_flight": 3}),
        ({"execution": {"device": "cuda:1", "intraOpThreads": 2}}, {"device": "cuda:1", "intra_op_threads": 2}),
        ({"batcher": {}}, {"batching": "on"}),
        (
            {"batcher": {"maxBatchSize": 16, "maxLatency": 250}},
            {"batching": "on", "max_batch_size": 16, "max_batch_delay_seconds": 0.25},
        ),
        ({"batcher": {"timeout": 5}, "timeout": 20}, {"batching": "on", "timeout_seconds": 5}),
    ],
)
def test_what_the_manifest_says_reaches_the_runtime(predictor: dict[str, Any], expected: dict[str, Any]) -> None:
    assert ExecutionSettings(**expected) == execution_of(PredictorSpec.model_validate({"model": MODEL, **predictor}))
