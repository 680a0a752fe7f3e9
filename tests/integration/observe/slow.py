"""The model of gated_service.py, one call at a time."""

from __future__ import annotations

from pathlib import Path

from pillion.runtimefile import Code, DesiredModel, ExecutionSettings

__all__ = ["slow_model"]


def slow_model() -> DesiredModel:
    """As runtime.yaml has it."""
    here = Path(__file__).parent
    return DesiredModel(
        name="slow",
        path="",
        code=Code(module=str(here / "gated_service.py"), folder=str(here)),
        execution=ExecutionSettings(max_in_flight=1),
    )
