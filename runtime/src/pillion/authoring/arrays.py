"""Numpy arrays in requests: from nested lists, by the dtype of the annotation."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Annotated, Any, Final, get_args, get_origin

import numpy as np
from pydantic import PlainValidator, WithJsonSchema

__all__ = ["array_annotation", "dtype_in", "to_array"]

_KINDS: Final = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""By kind of the dtype that is declared: kinds of what may be given for it."""
_ELEMENTS: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}


def dtype_in(annotation: Any) -> np.dtype[Any] | None:  # noqa: ANN401 - annotations are any object
    """The dtype of ``NDArray[np.float32]``; None for a bare ``np.ndarray`` and for ``NDArray[Any]``."""
    for argument in get_args(annotation):
        if get_origin(argument) is np.dtype:
            (scalar,) = get_args(argument)
            if isinstance(scalar, type) and issubclass(scalar, np.generic):
                try:
                    return np.dtype(scalar)
                except TypeError:  # an abstract one, such as np.floating
                    return None
    return None


def to_array(value: Any, dtype: np.dtype[Any] | None) -> np.ndarray[Any, np.dtype[Any]]:  # noqa: ANN401 - JSON value
    """An array of numbers or booleans.

    Raises:
        ValueError: rows of different lengths, text, or numbers that the dtype cannot hold.
    """
    try:
        found = np.asarray(value)
    except ValueError:
        raise ValueError("should be nested lists whose rows have one length") from None
    if found.dtype.kind not in "biuf":
        raise ValueError("should be nested lists of numbers")
    if dtype is None or found.dtype == dtype:
        return found
    if found.size and found.dtype.kind not in _KINDS.get(dtype.kind, ""):
        raise ValueError(f"should hold {dtype} values")
    with np.errstate(over="ignore"):
        converted = found.astype(dtype)
    # numpy wraps integers and makes infinities without a word.
    if dtype.kind in "iu" and found.size:
        limits = np.iinfo(dtype)
        fits = limits.min <= found.min() and found.max() <= limits.max
    else:
        fits = bool(np.array_equal(np.isfinite(found), np.isfinite(converted)))
    if not fits:
        raise ValueError(f"holds a number that does not fit into {dtype}")
    return converted


@lru_cache(maxsize=64)
def array_annotation(dtype: np.dtype[Any] | None) -> Any:  # noqa: ANN401 - an annotation
    """What pydantic validates an array by."""
    element = {"type": _ELEMENTS[dtype.kind]} if dtype is not None else {"type": ["number", "boolean"]}
    nested = {"type": "array", "items": {"anyOf": [element, {"type": "array"}]}}
    schema = nested | {"description": f"Nested lists of {dtype or 'numbers'}, outermost dimension first."}
    return Annotated[Any, PlainValidator(partial(to_array, dtype=dtype)), WithJsonSchema(schema)]
