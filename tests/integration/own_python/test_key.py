"""Tasks are asked for the same key as models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.integration.own_python.program import serving

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
from pillion import Model, task

class Mood(Model):
    @task
    def classify(self, text: str) -> int:
        return len(text)
"""


def test_tasks_answer_who_shows_the_key_and_nobody_else(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    with serving(tmp_path, "service.py:Mood", PILLION_API_KEY="k-123") as program:
        for path in ("/classify", "/mood/classify", "/nothing"):
            assert 401 == program.curl(path, {"text": "abc"})[0]
        assert 401 == program.curl("/api/v1/task/classify", {"inputs": "abc"})[0]
        assert (200, 3) == program.curl("/classify", {"text": "abc"}, "--header", "X-API-Key: k-123")
        with grpc.insecure_channel(f"127.0.0.1:{program.ports['grpc']}") as channel:
            call: Any = channel.unary_unary("/mood.MoodService/ClassifyPredict")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=60)
            assert grpc.StatusCode.UNAUTHENTICATED is refused.value.code()
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=60, metadata=(("x-api-key", "k-123"),))
            assert grpc.StatusCode.INVALID_ARGUMENT is refused.value.code()
