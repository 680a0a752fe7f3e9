"""numpy arrays as tensors of the Open Inference Protocol, raw both ways. Imported where arrays are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pillion.client.errors import ClientError
from pillion.tensors import Datatype, datatype_of, dtype_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Array", "Metadata", "Spec", "inputs_of", "parsed", "raw", "shaped"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Spec: TypeAlias = "Mapping[str, Any]"
"""What a model declares of an input or output: name, datatype, shape."""
Metadata: TypeAlias = "Mapping[str, Any]"


def raw(array: Array, datatype: str) -> memoryview | bytes:
    """The bytes of a tensor: those of the array itself where they are in order, without a copy."""
    if datatype == Datatype.BYTES:
        pieces: list[bytes] = []
        for item in array.ravel().tolist():
            data = item if isinstance(item, bytes) else ("" if item is None else str(item)).encode()
            pieces += (len(data).to_bytes(4, "little"), data)
        return b"".join(pieces)
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data if little.size else b""


def parsed(data: bytes | memoryview, datatype: str, shape: Sequence[int]) -> Array:
    """The array of a raw tensor, over the same memory (read-only); texts are objects, ``bytes`` each.

    Raises:
        ClientError: the bytes do not fit the shape.
    """
    try:
        if datatype != Datatype.BYTES:
            return np.frombuffer(data, dtype=dtype_of(Datatype(datatype)).newbyteorder("<")).reshape(shape)
        items, at = [], 0
        view = memoryview(data)
        while at < len(view):
            size = int.from_bytes(view[at : at + 4], "little")
            items.append(bytes(view[at + 4 : at + 4 + size]))
            at += 4 + size
        return _objects(items, shape)
    except ValueError as error:
        raise ClientError(f"the answer's {datatype} of shape {list(shape)} has {len(data)} bytes: {error}") from None


def shaped(values: Any, datatype: str, shape: Sequence[int]) -> Array:  # noqa: ANN401 - elements in JSON
    """The array of a tensor that came as JSON."""
    if datatype == Datatype.BYTES:
        flat = np.asarray(values, dtype=object).ravel().tolist()
        return _objects([item.encode() if isinstance(item, str) else item for item in flat], shape)
    return np.asarray(values, dtype=dtype_of(Datatype(datatype))).reshape(shape)


def inputs_of(data: object, specs: Sequence[Spec]) -> dict[str, tuple[str, Array]]:
    """Arrays by the names of a model's inputs, each with its datatype.

    Args:
        data: an array, or nested lists, for a model with one input; a mapping of them by name; a DataFrame.
        specs: of the model's inputs.

    Raises:
        ValueError: names that the model does not have, or lacks; data that does not fit the datatype.
    """
    columns = _columns(data)
    names = [str(spec["name"]) for spec in specs]
    if columns is not None and len(specs) == 1 and set(columns) != set(names) and not isinstance(data, dict):
        columns = {names[0]: np.asarray(data)}  # a table for a model of one matrix
    if columns is None:
        if len(specs) != 1:
            raise ValueError(f"the model has the inputs {', '.join(names)}: give a dict of arrays, or a DataFrame")
        columns = {names[0]: data}
    unknown = [str(name) for name in columns if name not in names]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: the model has no such input; it has: {', '.join(names)}")
    table = not isinstance(data, dict)
    return {
        str(spec["name"]): (str(spec["datatype"]), _array(columns[str(spec["name"])], spec, column=table))
        for spec in specs
        if str(spec["name"]) in columns  # what is missing and not optional, the server says
    }


def _columns(data: object) -> dict[str, Any] | None:
    if isinstance(data, dict):
        return {str(name): value for name, value in data.items()}
    if is_frame(data):
        frame: Any = data
        return {str(name): frame[name].to_numpy() for name in frame.columns}
    return None


def is_frame(data: object) -> bool:
    """Whether it is a DataFrame of pandas, which is not imported to find out."""
    return type(data).__name__ == "DataFrame" and type(data).__module__.partition(".")[0] == "pandas"


def _array(values: Any, spec: Spec, *, column: bool) -> Array:  # noqa: ANN401 - what the caller has
    datatype = Datatype(spec["datatype"])
    array = np.asarray(values)
    if datatype is not Datatype.BYTES and array.dtype != dtype_of(datatype):
        try:
            array = np.asarray(values, dtype=dtype_of(datatype))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{spec['name']}: does not fit {datatype}: {error}") from None
    shape = spec["shape"]
    if array.ndim == 1 and len(shape) == 2 and shape[1] == 1 and (column or shape[0] == -1):
        return array.reshape(-1, 1)
    return array


def guessed(data: Mapping[str, Any]) -> dict[str, tuple[str, Array]]:
    """Arrays by name with the datatypes that they have."""
    arrays = {name: np.asarray(values) for name, values in data.items()}
    return {name: (datatype_of(array.dtype), array) for name, array in arrays.items()}


def texts(array: Array) -> Array:
    """Bytes as text, where all of them are."""
    if array.dtype != object:
        return array
    try:
        items = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        return array
    return _objects(items, array.shape)


def _objects(items: list[Any], shape: Sequence[int]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array.reshape(shape)
