"""``predict`` of a class: which tensors it takes and gives, from its annotations.

An array parameter is an input tensor, ``list[str]`` a tensor of texts, ``list[float]`` and ``list[int]`` tensors of one
dimension. A parameter without an annotation takes whatever comes. Several outputs are a TypedDict of arrays.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import is_typeddict

from pillion.authoring.arrays import dtype_in
from pillion.authoring.errors import AuthoringError
from pillion.tensors import Datatype, TensorSpec, datatype_of

if TYPE_CHECKING:
    from pillion.authoring.model import Model

__all__ = ["Form", "PredictInput", "PredictSignature", "predict_signature"]


@unique
class Form(Enum):
    """How the method wants a tensor, or gives one."""

    FREE = "free"
    """An array, as it comes."""
    ARRAY = "array"
    """An array of one dtype."""
    LIST = "list"
    """A flat list of Python's numbers."""
    TEXTS = "texts"
    """A flat list of str."""


@dataclass(frozen=True, slots=True)
class PredictInput:
    """One parameter."""

    spec: TensorSpec
    form: Form


@dataclass(frozen=True, slots=True)
class PredictSignature:
    """The whole method."""

    inputs: tuple[PredictInput, ...]
    outputs: tuple[TensorSpec, ...]
    named: bool
    """Whether it gives a dict of outputs rather than the one."""
    asynchronous: bool


def predict_signature(cls: type[Model]) -> PredictSignature:
    """Read ``predict``.

    Raises:
        AuthoringError: its parameters or its result are no tensors.
    """
    function: Any = inspect.unwrap(inspect.getattr_static(cls, "predict"))
    place = f"{cls.__name__}.predict"
    if isinstance(function, staticmethod | classmethod):
        raise AuthoringError(f"{place}: has to be a method that takes self")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AuthoringError(f"{place}: streaming (a method that yields) is not available yet")
    try:
        hints = typing.get_type_hints(function, localns=dict(vars(cls)))
    except Exception as error:
        raise AuthoringError(f"{place}: its annotations cannot be resolved: {error}") from error
    inputs = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise AuthoringError(f"{place}, parameter {parameter.name}: no *, ** or position-only parameters")
        optional = parameter.default is not parameter.empty
        inputs.append(_input(parameter.name, hints.get(parameter.name, Any), place, optional=optional))
    if not inputs:
        raise AuthoringError(f"{place}: takes no input: write predict(self, x)")
    # A decorator may have made an async method of a plain one, or may have forgotten to.
    asynchronous = any(map(inspect.iscoroutinefunction, (function, inspect.getattr_static(cls, "predict"))))
    outputs, named = _outputs(hints.get("return", Any), place)
    return PredictSignature(tuple(inputs), outputs, named, asynchronous)


def _input(name: str, annotation: Any, place: str, *, optional: bool) -> PredictInput:  # noqa: ANN401 - annotation
    form, datatype = _tensor(annotation, f"{place}, parameter {name}")
    return PredictInput(TensorSpec(name, datatype, (-1,), optional), form)


def _tensor(annotation: Any, place: str) -> tuple[Form, Datatype]:  # noqa: ANN401 - annotation
    if annotation is Any or annotation is np.ndarray:
        return Form.FREE, Datatype.FP64
    if typing.get_origin(annotation) is np.ndarray:
        dtype = dtype_in(annotation)
        if dtype is None:
            return Form.FREE, Datatype.FP64
        try:
            return Form.ARRAY, datatype_of(dtype)
        except ValueError as error:
            raise AuthoringError(f"{place}: {error}") from error
    if typing.get_origin(annotation) is list:
        (item,) = typing.get_args(annotation)
        if item is str:
            return Form.TEXTS, Datatype.BYTES
        known = {float: Datatype.FP64, int: Datatype.INT64, bool: Datatype.BOOL}.get(item)
        if known is not None:
            return Form.LIST, known
    shown = annotation.__name__ if isinstance(annotation, type) else annotation
    raise AuthoringError(
        f"{place}: predict takes and gives numpy arrays (NDArray[np.float32]), list[str], list[float] or list[int],"
        f" not {shown}: mark another method with @task for that"
    )


def _outputs(annotation: Any, place: str) -> tuple[tuple[TensorSpec, ...], bool]:  # noqa: ANN401 - annotation
    if is_typeddict(annotation):
        hints = typing.get_type_hints(annotation)
        return tuple(_output(name, hint, f"{place}, output {name}") for name, hint in hints.items()), True
    if annotation is dict or typing.get_origin(annotation) is dict:
        raise AuthoringError(f"{place}: several outputs are declared by a TypedDict, which names them")
    return (_output("output", annotation, f"{place}, return type"),), False


def _output(name: str, annotation: Any, place: str) -> TensorSpec:  # noqa: ANN401 - annotation
    _, datatype = _tensor(annotation, place)
    return TensorSpec(name, datatype, (-1,))
