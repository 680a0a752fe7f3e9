"""The model configuration extension: a model in the terms of Triton's ``config.pbtxt``.

Source: Triton Inference Server, "Model Configuration Extension" and model_config.proto. What clients read of it is how
tensors are shaped and whether the first dimension is the batch: ``dims`` leave the batch out where ``max_batch_size``
is above 0. The same dictionary is the REST answer and the fields of the gRPC message.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from pillion.tensors import Datatype

if TYPE_CHECKING:
    from pillion.dataplane.call import ModelMetadata, ModelStatus
    from pillion.tensors import TensorSpec

__all__ = ["config_document"]

_MOST_ROWS: Final = 2**31 - 1
"""``max_batch_size`` is an int32."""


def config_document(status: ModelStatus, max_elements: int) -> dict[str, Any]:
    """``GET /v2/models/{m}/config``; without tensors until the model has been loaded once.

    Args:
        status: of the model.
        max_elements: elements that one tensor of a request may have. It is what bounds the rows of a request here, so
            it is what ``max_batch_size`` comes from.
    """
    metadata = status.metadata
    rows = 0 if metadata is None else _rows(metadata, max_elements)
    inputs = () if metadata is None else metadata.inputs
    outputs = () if metadata is None else metadata.outputs
    return {
        "name": status.name,
        "platform": "" if metadata is None else metadata.platform,
        "backend": status.format,
        "max_batch_size": rows,
        "input": [{**_tensor(spec, rows), "optional": spec.optional} for spec in inputs],
        "output": [_tensor(spec, rows) for spec in outputs],
    }


def _rows(metadata: ModelMetadata, max_elements: int) -> int:
    """Rows that a request may have; 0 where the first dimension is not the number of rows in every tensor."""
    specs = (*metadata.inputs, *metadata.outputs)
    if not metadata.inputs or not metadata.outputs or any(spec.shape[:1] != (-1,) for spec in specs):
        return 0
    widest = max(math.prod(abs(dimension) for dimension in spec.shape[1:]) for spec in metadata.inputs)
    return max(1, min(_MOST_ROWS, max_elements // max(1, widest)))


def _tensor(spec: TensorSpec, rows: int) -> dict[str, Any]:
    kind = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": list(spec.shape[1:] if rows else spec.shape)}
