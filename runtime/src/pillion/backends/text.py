"""BYTES tensors to and from text arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["decode", "decode_column", "encode"]

_OBJECT = np.dtype(np.object_)


def decode(data: np.ndarray[Any, np.dtype[Any]], name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Elements of a BYTES tensor (``bytes``) as ``str``; same shape, dtype object.

    Raises:
        ValueError: an element is not UTF-8.
    """
    flat = np.empty(data.size, dtype=_OBJECT)
    for index, element in enumerate(data.ravel().tolist()):
        try:
            flat[index] = element.decode() if isinstance(element, bytes) else str(element)
        except UnicodeDecodeError as error:
            raise ValueError(f"input {name!r}: element {index} is not valid UTF-8") from error
    return flat.reshape(data.shape)


def decode_column(
    data: np.ndarray[Any, np.dtype[Any]], name: str, *, empty: object = ""
) -> np.ndarray[Any, np.dtype[Any]]:
    """The same for a column, whose values repeat: each distinct one is decoded once.

    Args:
        data: one dimension of ``bytes``.
        name: of the input, for the error.
        empty: what stands for an empty text.

    Raises:
        ValueError: an element is not UTF-8.
    """
    values = data.tolist()
    try:
        known: dict[object, object] = {value: value.decode() for value in set(values)}
    except (UnicodeDecodeError, AttributeError):
        return decode(data, name)
    known[b""] = empty
    column = np.empty(len(values), dtype=_OBJECT)
    column[:] = list(map(known.__getitem__, values))
    return column


def encode(data: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Text elements as UTF-8 ``bytes``; same shape, dtype object."""
    flat = np.empty(data.size, dtype=_OBJECT)
    for index, element in enumerate(data.ravel().tolist()):
        flat[index] = element if isinstance(element, bytes) else str(element).encode()
    return flat.reshape(data.shape)
