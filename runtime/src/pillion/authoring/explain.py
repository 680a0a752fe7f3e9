"""``explain`` of a class: why ``predict`` said what it said, for the same inputs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pillion.authoring.errors import AuthoringError

if TYPE_CHECKING:
    from pillion.authoring.model import Model
    from pillion.authoring.predict import PredictSignature

__all__ = ["ExplainSignature", "explain_signature"]


@dataclass(frozen=True, slots=True)
class ExplainSignature:
    """The whole method."""

    inputs: frozenset[str]
    """Names of the inputs of ``predict`` that it takes."""
    asynchronous: bool


def explain_signature(cls: type[Model], predict: PredictSignature | None) -> ExplainSignature:
    """Read ``explain``; its inputs come as those of ``predict`` of the same names do.

    Raises:
        AuthoringError: there is no ``predict`` to explain, or it takes something else.
    """
    place = f"{cls.__name__}.explain"
    function: Any = inspect.unwrap(inspect.getattr_static(cls, "explain"))
    if isinstance(function, staticmethod | classmethod):
        raise AuthoringError(f"{place}: has to be a method that takes self")
    if predict is None:
        raise AuthoringError(f"{place}: explains predict, and there is none: mark it with @task, or write predict")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise AuthoringError(f"{place}: streaming (a method that yields) is not available: return all of it")
    known = [one.spec.name for one in predict.inputs]
    names = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise AuthoringError(f"{place}, parameter {parameter.name}: no *, ** or position-only parameters")
        if parameter.name in known:
            names.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise AuthoringError(
                f"{place}, parameter {parameter.name}: predict takes {', '.join(known)}, and explain the same"
            )
    asynchronous = any(map(inspect.iscoroutinefunction, (function, inspect.getattr_static(cls, "explain"))))
    return ExplainSignature(frozenset(names), asynchronous)
