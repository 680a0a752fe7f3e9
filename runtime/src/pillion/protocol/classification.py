"""The classification extension: an output as its best classes instead of its scores.

Source: Triton Inference Server, "Classification Extension". An output asked for with ``classification: k`` is answered
as BYTES: for each row the k greatest scores in falling order, each as ``score:index``, and ``score:index:label`` where
the classes have names (see :mod:`pillion.backends.labels`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from pillion.errors import ErrorCode, PillionError
from pillion.tensors import Datatype, Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.dataplane.call import InferResponse

__all__ = ["classes_wanted", "classify"]

_SCORES: Final = frozenset(Datatype) - {Datatype.BYTES, Datatype.BOOL, Datatype.BF16}


def classes_wanted(value: object, field: str) -> int:
    """How many classes the parameter asks for; 0 for the scores themselves.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: must be a whole number of classes", field=field)
    return value


def classify(response: InferResponse, classes: Mapping[str, int]) -> None:
    """Put the best classes in the place of the outputs they are asked of.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: such an output is not scores in rows.
    """
    response.outputs = [
        _classified(output, classes[output.name], response.labels.get(output.name, ()))
        if output.name in classes
        else output
        for output in response.outputs
    ]


def _classified(output: Tensor, count: int, labels: Sequence[str]) -> Tensor:
    scores = output.data
    if output.datatype not in _SCORES or scores.ndim < 2:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"outputs: {output.name!r} is {output.datatype} of shape {list(scores.shape)},"
            " and classification needs numbers in rows",
            field="outputs.parameters.classification",
            remedy="ask for the output without it",
        )
    rows, width = scores.shape[0], math.prod(scores.shape[1:])
    flat = scores.reshape(rows, width)
    # Reversed twice: of equal scores the first class comes first, and no sign is turned that unsigned numbers lack.
    order = width - 1 - np.argsort(flat[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    form = "%f:%d" if scores.dtype.kind == "f" else "%d:%d"
    found = np.empty(order.shape, dtype=object)
    for row, indices in enumerate(order.tolist()):
        found[row] = [(form % (flat[row, index], index) + _named(labels, index)).encode() for index in indices]
    return Tensor(output.name, Datatype.BYTES, found)


def _named(labels: Sequence[str], index: int) -> str:
    return f":{labels[index]}" if index < len(labels) else ""
