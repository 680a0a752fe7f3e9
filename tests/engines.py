"""What carries gRPC calls: tests of what clients see run over each."""

from __future__ import annotations

from typing import Final

__all__ = ["ENGINES", "ENGINE_VARIABLE"]

ENGINES: Final = ("grpcio", "asyncio")
ENGINE_VARIABLE: Final = "PILLION_GRPC__ENGINE"
