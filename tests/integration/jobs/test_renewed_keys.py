"""Callers whose key is renewed while the server runs: they find the jobs again that they handed in before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc

from pillion.protocol.protos import runtime_pb2 as pb
from tests.integration.jobs.following import served, submit
from tests.integration.server.test_tls import Mounted
from tests.waiting import until_now

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.own_python.program import Program

BODY = {"inputs": "good", "parameters": {}}


def by_rest(program: Program, key: str) -> str:
    return submit(program, "classify", "good", "-H", f"X-API-Key: {key}", "-H", "Idempotency-Key: report-7")


def by_grpc(program: Program, key: str) -> str:
    request = pb.SubmitJobRequest(task="classify", body=json.dumps(BODY).encode())
    with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
        call: Any = channel.unary_unary(
            "/pillion.runtime.JobService/SubmitJob",
            request_serializer=lambda sent: sent.SerializeToString(),
            response_deserializer=pb.Job.FromString,
        )
        metadata = (("authorization", f"Bearer {key}"), ("idempotency-key", "report-7"))
        identity: str = call(request, metadata=metadata, timeout=60).prediction_id
    return identity


def test_a_key_that_is_renewed_under_its_name_keeps_its_jobs_and_another_caller_has_its_own(tmp_path: Path) -> None:
    keys = Mounted(tmp_path / "keys")
    keys.put(shop="first-of-the-shop", bank="key-of-the-bank")
    with served(tmp_path / "program", PILLION_AUTH__API_KEYS=str(keys.folder)) as program:
        job = by_rest(program, "first-of-the-shop")
        theirs = by_rest(program, "key-of-the-bank")

        keys.put(shop="second-of-the-shop", bank="key-of-the-bank")
        asked = ("/v2", None, "-H", "X-API-Key: second-of-the-shop")
        until_now(lambda: program.curl(*asked)[0] == 200, 30)

        assert job == by_rest(program, "second-of-the-shop") == by_grpc(program, "second-of-the-shop")
        assert job != theirs == by_grpc(program, "key-of-the-bank")


def test_a_caller_does_not_see_the_jobs_of_others(tmp_path: Path) -> None:
    keys = Mounted(tmp_path / "keys")
    keys.put(shop="key-of-the-shop")
    with served(tmp_path / "program", PILLION_AUTH__API_KEYS=str(keys.folder)) as program:
        by_rest(program, "key-of-the-shop")
        status, answer = program.curl("/management/jobs", None, "-H", "X-API-Key: key-of-the-shop")

    assert 403 == status
    assert "Looking at everybody's jobs is switched off on this port, whose callers have keys" in answer["details"]
