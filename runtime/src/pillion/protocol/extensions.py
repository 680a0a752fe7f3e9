"""Extensions of the Open Inference Protocol that this server names in its metadata, for clients to look for."""

from __future__ import annotations

from typing import Final

__all__ = ["EXACT_TRAININGS", "EXTENSIONS"]

EXACT_TRAININGS: Final = "training_parameters_json"
"""Of servers whose StartTraining takes ``parameters_json``; others would leave it out without a word."""
EXTENSIONS: Final = (
    "binary_tensor_data",
    "generate",
    "model_repository",
    "model_configuration",
    "statistics",
    "classification",
    EXACT_TRAININGS,
)
