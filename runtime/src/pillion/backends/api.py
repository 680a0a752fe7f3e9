"""What a backend is: the code that turns a file of one format into a model that takes and returns tensors.

Backends are registered by name and imported only when a model of theirs is loaded, so that a runtime without
scikit-learn still serves ONNX. Nothing here imports a model library.
"""

from __future__ import annotations

from enum import StrEnum, unique
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.text import TextMethods
    from pillion.execution.api import Interrupt
    from pillion.execution.stream import StreamSource
    from pillion.model import Libraries, ModelMetadata
    from pillion.tensors import Datatype, Tensor, TensorSpec

__all__ = [
    "BACKENDS",
    "ON_DEVICES",
    "WITH_THREADS",
    "Backend",
    "CheckedModel",
    "ConfiguredModel",
    "ExplainRun",
    "ExplainedModel",
    "InputRule",
    "LoadFailure",
    "LoadOptions",
    "LoadedModel",
    "ModelLoadError",
    "Predictor",
    "StreamModel",
    "TaskModel",
    "TaskRun",
    "backend_named",
    "canonical_name",
]

BACKENDS: Final[Mapping[str, str]] = {
    "sklearn": "pillion.backends.sklearn",
    "onnx": "pillion.backends.onnx",
    "xgboost": "pillion.backends.xgboost",
    "lightgbm": "pillion.backends.lightgbm",
    "torch": "pillion.backends.torch",
    "huggingface": "pillion.backends.huggingface",
    "embeddings": "pillion.backends.embeddings",
}
"""Module of each backend; it defines ``BACKEND``. The names are those of ``format`` in ``runtime.yaml``."""

_ALIASES: Final[Mapping[str, str]] = {
    "scikit-learn": "sklearn",
    "skops": "sklearn",
    "onnxruntime": "onnx",
    "pytorch": "torch",
    "transformers": "huggingface",
    "sentence-transformers": "embeddings",
}
ON_DEVICES: Final = frozenset({"torch", "huggingface", "embeddings", "onnx", "xgboost"})
"""Backends that compute elsewhere than on the processor, where there is such a device."""
WITH_THREADS: Final = ON_DEVICES | {"lightgbm"}
"""Backends that bound the threads inside one call for each model."""
_EXTRAS: Final[Mapping[str, str]] = {"embeddings": "huggingface"}
"""The extra that brings a backend's library, where it has another name."""


@unique
class LoadFailure(StrEnum):
    """Why an artifact cannot be served, where others than people act on it. The values are reasons of conditions."""

    UNSAFE_FORMAT = "UnsafeFormat"
    """Loading it could run code, and nobody allowed that."""
    UNTRUSTED_TYPES = "UntrustedTypes"
    """It is made of types that nobody trusted."""
    UNTRUSTED_CODE = "UntrustedCode"
    """It is code, and nobody said that it may run."""
    LIBRARY_MISMATCH = "LibraryMismatch"
    """It was saved by another version of the library, and this one cannot read it."""


class ModelLoadError(Exception):
    """An artifact cannot be served. The text is one sentence for the model's owner; ``remedy`` says what to do."""

    def __init__(self, message: str, remedy: str | None = None, cause: LoadFailure | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.cause = cause
        self.files: tuple[str, ...] = ()
        """Files of the user's code whose change may mend it."""

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class LoadOptions(msgspec.Struct, frozen=True):
    """What the owner allowed and asked for."""

    allow_pickle: bool = False
    """Whether formats that can run code (pickles, programs of PyTorch) may be loaded, by policies and owner."""
    trusted_types: frozenset[str] = frozenset()
    """Types, as ``package.module.Name``, that a skops file may hold besides those that are always trusted."""
    columns: tuple[str, ...] = ()
    """Names of the input's columns as the artifact's packaging tells them, for a model that does not know them."""
    saved: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Versions of the libraries that saved it, as the packaging tells them."""
    tokenizer: Path | None = None
    """Folder of the tokenizer, where that is not the model's."""
    native_threads: int = 1
    """Threads the library may use inside one call."""
    device: str | None = None
    """Where it computes: ``cpu``, ``cuda``, ``cuda:1``; None or ``auto`` for CUDA where there is a device."""
    parameters: Mapping[str, JsonValue] = msgspec.field(default_factory=dict)

    def intra_op_threads(self) -> int:
        """Threads inside an operator: ``parameters.intraOpThreads``, else :attr:`native_threads`.

        Raises:
            ModelLoadError: it is no number of threads.
        """
        asked = self.parameters.get("intraOpThreads")
        if asked is None:
            return self.native_threads
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= 256:
            raise ModelLoadError(f"parameters.intraOpThreads is {asked!r}", "give a whole number from 1 to 256")
        return asked

    def asked_device(self) -> str | None:
        """The device: ``parameters.device``, else :attr:`device`."""
        asked = self.parameters.get("device", self.device)
        return None if asked is None else str(asked)


class InputRule(msgspec.Struct, frozen=True):
    """What one input must look like. Stricter or laxer than its declaration, as the library behind allows.

    Args:
        spec: the declaration that metadata shows; -1 for a dimension that may vary.
        accepts: datatypes that are taken; the model converts them.
        symbols: name of each varying dimension, "" for none. Dimensions of one name must agree within a request.
        free_rank: the artifact does not say the rank: every shape is passed on.
        shapes: further shapes that are taken, in the notation of ``spec.shape``.
    """

    spec: TensorSpec
    accepts: frozenset[Datatype]
    symbols: tuple[str, ...] = ()
    free_rank: bool = False
    shapes: tuple[tuple[int, ...], ...] = ()


class Predictor(Protocol):
    """The part of a model that runs."""

    def predict(
        self, inputs: Sequence[Tensor | None], outputs: tuple[str, ...], interrupt: Interrupt | None
    ) -> list[Tensor]:
        """Compute ``outputs`` (never empty, all known), in that order.

        Args:
            inputs: one tensor per rule, in the order of the rules, already validated; None for an optional one that
                was left out. The arrays may be read-only views of a request's buffer.
            outputs: names of the outputs wanted.
            interrupt: set its ``action`` where the library can stop a running call; None on the event loop.

        Raises:
            PillionError: with a code of its own.
            ValueError, TypeError: the input is at fault; the caller is told so.
            Exception: anything else is the model's failure.
        """
        ...


class LoadedModel(Predictor, Protocol):
    """A model in memory. ``predict`` may be called by several threads at once."""

    @property
    def metadata(self) -> ModelMetadata:
        """Platform, inputs and outputs."""
        ...

    @property
    def rules(self) -> tuple[InputRule, ...]:
        """One rule per input, in the order of ``metadata.inputs``."""
        ...

    @property
    def default_outputs(self) -> tuple[str, ...]:
        """What is computed when the request names no output."""
        ...

    @property
    def any_input_name(self) -> bool:
        """Whether a single input tensor is taken whatever its name. Only for models with one input."""
        ...

    @property
    def libraries(self) -> Libraries | None:
        """Libraries that wrote and loaded the artifact, where known."""
        ...

    def close(self) -> None:
        """Free what the model holds outside Python's memory.

        Called once, when no request holds the model; calls that were given up may still be running.
        """
        ...


class TaskRun(Predictor, Protocol):
    """One call of a task, on its way through an executor. It takes and gives no tensors."""

    @property
    def value(self) -> Any:  # noqa: ANN401 - plain data, of the type that the task declares
        """What the method gave, as plain data; set when the run has ended."""
        ...


class TaskModel(LoadedModel, Protocol):
    """A model with tasks: a class of the user's."""

    @property
    def tasks(self) -> Mapping[str, TaskSignature]:
        """By name."""
        ...

    def begin(self, task: TaskSignature, arguments: Mapping[str, Any]) -> TaskRun:
        """One call, not begun yet."""
        ...


class BatchRun(Predictor, Protocol):
    """Many calls of a task as one, on their way through an executor."""

    @property
    def values(self) -> list[Any]:
        """What the method gave for each, as plain data, or the exception for one that failed; set at the end."""
        ...


class BatchModel(TaskModel, Protocol):
    """A model with tasks that take many calls at once."""

    def begin_batch(self, task: TaskSignature, calls: Sequence[Mapping[str, Any]]) -> BatchRun:
        """Many calls as one, not begun yet."""
        ...


class ExplainRun(Predictor, Protocol):
    """One explanation on its way through an executor. It takes the model's inputs and gives no tensors."""

    @property
    def value(self) -> Any:  # noqa: ANN401 - plain data, of no declared type
        """What the method gave, as plain data; set when the run has ended."""
        ...


class CheckedModel(Protocol):
    """One whose author says whether it can work."""

    def check_health(self) -> Predictor:
        """A question: its call raises where the model is unhealthy, and gives nothing where it is not."""
        ...


class ConfiguredModel(Protocol):
    """One that can take another config while it serves."""

    def reconfigure(self, config: Mapping[str, Any]) -> Predictor:
        """The call that takes it, not begun yet.

        Raises:
            ModelLoadError: its class has no such method.
        """
        ...


class ExplainedModel(LoadedModel, Protocol):
    """A model whose metadata says that it explains."""

    def begin_explanation(self) -> ExplainRun:
        """One explanation, not begun yet."""
        ...


class StreamModel(LoadedModel, Protocol):
    """A model with results that come one by one, or one that clients of language models can call."""

    @property
    def text(self) -> TextMethods:
        """Its ``generate`` and ``embed``."""
        ...

    def stream(self, task: TaskSignature, arguments: Mapping[str, Any]) -> StreamSource:
        """One call of a task that streams, or of ``generate``; not begun yet."""
        ...


class Backend(Protocol):
    """Loads artifacts of one library."""

    def load(self, path: Path, options: LoadOptions) -> LoadedModel:
        """Load one file. Blocking: called in a thread.

        Raises:
            ModelLoadError: with sentence and remedy.
            Exception: whatever the library raises; its last line is shown to the owner.
        """
        ...


def canonical_name(name: str) -> str:
    """The registered name for what people write as a model format.

    Raises:
        ModelLoadError: no such format.
    """
    known = _ALIASES.get(name.lower(), name.lower())
    if known not in BACKENDS:
        raise ModelLoadError(f"model format {name!r} is not known", f"use one of: {', '.join(sorted(BACKENDS))}")
    return known


def backend_named(name: str) -> Backend:
    """The backend of that name, its library imported now.

    Raises:
        ModelLoadError: no such backend, or its library is not installed.
    """
    known = canonical_name(name)
    try:
        return cast("Backend", import_module(BACKENDS[known]).BACKEND)
    except ModuleNotFoundError as error:
        raise ModelLoadError(
            f"model format {known!r} needs {error.name}, which is not installed",
            f"pip install 'pillion[{_EXTRAS.get(known, known)}]'",
        ) from error
