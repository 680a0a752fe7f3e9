"""Whole numbers that doubles do not hold, and a server over gRPC that would leave them out."""

from __future__ import annotations

import pytest

import pillion
from pillion.client.errors import InvalidInput
from pillion.client.exchange import Answer, GrpcCall, Send
from pillion.protocol.documents import server_document
from pillion.protocol.protos import open_inference_pb2 as oip
from pillion.protocol.protos import runtime_pb2 as pb

LARGE = {"model_name": "m", "parameters": {"epochs": 2**53 + 1}}


def sent(effect: object) -> GrpcCall:
    assert isinstance(effect, Send)
    assert isinstance(effect.request, GrpcCall)
    return effect.request


def test_a_server_that_would_lose_the_parameters_is_sent_none() -> None:
    with pillion.Client("grpc://127.0.0.1:9", retries=0) as client:
        operation = client.core.train("Fit", LARGE, "key")
        assert "ServerMetadata" == sent(next(operation)).method
        old = oip.ServerMetadataResponse(name="pillion", version="0.1.0", extensions=["statistics"])
        with pytest.raises(
            InvalidInput, match=r"2\^53 .* this server \(pillion 0\.1\.0\).*update it, or go by http://"
        ):
            operation.send(Answer({}, live=old))


def test_one_of_now_is_sent_them_and_small_ones_are_sent_at_once() -> None:
    with pillion.Client("grpc://127.0.0.1:9", retries=0) as client:
        operation = client.core.train("Fit", LARGE, "key")
        next(operation)
        begun = sent(operation.send(Answer({}, live=oip.ServerMetadataResponse(**server_document()))))
        assert ("StartTraining", '{"epochs":9007199254740993}') == (begun.method, begun.message.parameters_json)
        with pytest.raises(StopIteration):
            operation.send(Answer({}, live=pb.Job(training_id="t")))

        placed = client.core.train("Fit", {"model_name": "m", "parameters": {}, "output_path": "/out"}, "key")
        assert "/out" == sent(next(placed)).message.output_path
        small = client.core.train("Fit", {"model_name": "m", "parameters": {"epochs": 5}}, "key")
        assert "StartTraining" == sent(next(small)).method
