"""What is known of a model: its declaration, its state, its status. Values only."""

from __future__ import annotations

from enum import StrEnum, unique
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.tensors import TensorSpec

__all__ = ["Acceleration", "Libraries", "ModelMetadata", "ModelState", "ModelStatus"]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a loaded model says of itself, read from the artifact: never guessed from requests."""

    platform: str
    """Framework and format in the protocol's style, for example ``sklearn_skops`` or ``onnx_onnxruntime``."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    columns: tuple[TensorSpec, ...] = ()
    """The columns of the only input, a matrix, where they have names: it may be sent as these tensors instead."""
    ignored: tuple[str, ...] = ()
    """Inputs that are taken and not looked at: columns that the model was given in training and does not use."""
    explains: bool = False
    """Whether it can say why it predicts what it predicts."""
    labels: Mapping[str, tuple[str, ...]] = {}
    """For outputs whose columns are classes: what these are called, in the order of the columns."""


class Libraries(msgspec.Struct, frozen=True):
    """Which libraries wrote the artifact and which load it: version by name, as packages are called."""

    saved: Mapping[str, str]
    """Empty where the artifact does not say; a version is empty where it tells only the name."""
    loading: Mapping[str, str]


class Acceleration(msgspec.Struct, frozen=True):
    """What became of the wish to have a model computed by a faster library."""

    by: str
    """The library's format (``onnx``), or empty where the model is served as it is."""
    note: str
    """What it gains, or why it is served as it is."""


@unique
class ModelState(StrEnum):
    """Life of one model version. The names are those of the repository extension's index where it has one."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"
    """Failed to load, or unloaded; ``reason`` says which."""


class ModelStatus(msgspec.Struct, frozen=True):
    """One model version as the repository sees it now."""

    name: str
    version: str
    state: ModelState
    reason: str = ""
    """Why it is not ready, in one sentence with the remedy. Empty when READY, unless a newer artifact of the same
    version could not be loaded and the former one serves on: then it says so."""
    cause: str = ""
    """One word for that reason where programs act on it: a :class:`~pillion.backends.api.LoadFailure`."""
    metadata: ModelMetadata | None = None
    """None until it has been loaded once."""
    format: str = ""
    uri: str = ""
    digest: str = ""
    changed_at: float = 0.0
    """Unix time of the last change of state, seconds."""
    libraries: Libraries | None = None
    """None until it has been loaded once."""
    acceleration: Acceleration | None = None
    """None where none was asked for."""
    path: str = ""
    """What it is loaded from on this machine."""
    asleep: bool = False
    """It is loaded by the next request, and was not by one before, or has made room since."""
    last_used: float | None = None
    """Unix time of the last request, seconds; None before the first."""
