"""Modules of PyTorch with weights that are the same in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pillion.backends.api import LoadedModel, LoadOptions, backend_named
from pillion.tensors import Tensor, datatype_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NET_SOURCE", "Net", "Pair", "load", "predict", "rows", "tensor"]


class Net(torch.nn.Module):  # type: ignore[misc] # PyTorch is not installed where types are checked
    """Four numbers to three."""

    example_inputs = torch.zeros(1, 4)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        return self.fc(x)


NET_SOURCE = """import torch


class Net(torch.nn.Module):
    example_inputs = torch.zeros(1, 4)

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x)
"""
"""The same as a file of the user's. Without the seed: its weights are right only if they come from the artifact."""


class Pair(torch.nn.Module):  # type: ignore[misc] # as above
    """Two inputs, of which one may be left out, to a dictionary."""

    def forward(self, left: torch.Tensor, right: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        """Sum and product."""
        other = torch.ones_like(left) if right is None else right
        return {"sum": left + other, "product": left * other}


def rows(count: int = 2) -> np.ndarray[Any, Any]:
    """``count`` rows for :class:`Net`."""
    return np.arange(count * 4, dtype=np.float32).reshape(count, 4)


def tensor(name: str, data: Any, dtype: type[np.generic] | None = None) -> Tensor:
    """A tensor of the request, read-only as those are; a list is of single precision where nothing else is said."""
    array = np.array(data, dtype=dtype or (np.float32 if isinstance(data, list) else None))
    array.flags.writeable = False
    return Tensor(name, datatype_of(array.dtype), array)


def load(path: Path, **options: Any) -> LoadedModel:
    """The model in a file, its owner consenting."""
    return backend_named("torch").load(path, LoadOptions(allow_pickle=True, **options))


def predict(
    model: LoadedModel, *inputs: Tensor | None, outputs: tuple[str, ...] = ()
) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs by name; without names the model's own."""
    results = model.predict(inputs, outputs or model.default_outputs, None)
    return {result.name: result.data for result in results}
