"""Names on the wire."""

from __future__ import annotations

from typing import Final

__all__ = ["INFERENCE_SERVICE"]

INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
