"""Valid requests made from a model's metadata: values, nesting, and the bytes of the binary form. Without numpy."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FORMATS", "RAW_ONLY", "SIZES", "Sample", "elements", "flat", "nested", "of_metadata", "raw", "unraw"]

FORMATS: Final[Mapping[str, str]] = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""How ``struct`` packs one element, little-endian."""
SIZES: Final[Mapping[str, int]] = {name: struct.calcsize(form) for name, form in FORMATS.items()} | {"BF16": 2}
RAW_ONLY: Final = frozenset({"FP16", "BF16"})
"""Datatypes that JSON and the typed contents of gRPC have no form for."""
_MOST_ELEMENTS: Final = 1 << 20
"""A tensor of fixed shape beyond this is not sent: the checker must not burden the server it asks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One input tensor: flat values of a shape."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: tuple[Any, ...]
    declared: tuple[int, ...]
    """The shape in the metadata, -1 where it may vary."""

    def rows(self, count: int) -> Sample:
        """The same rows ``count`` times along the first dimension."""
        return replace(self, shape=(self.shape[0] * count, *self.shape[1:]), values=self.values * count)

    def document(self, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """The input in a request's JSON."""
        body = {
            "name": self.name,
            "shape": list(self.shape),
            "datatype": self.datatype,
            "data": list(self.values),
        }
        return body | changes


def of_metadata(tensor: Mapping[str, Any]) -> Sample:
    """A small valid tensor for one entry of the metadata's ``inputs``: 1 for each dimension that may vary.

    Raises:
        ValueError: the entry cannot be read, or the tensor would be huge.
    """
    name, datatype, shape = tensor.get("name"), tensor.get("datatype"), tensor.get("shape")
    if not isinstance(name, str) or not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        raise ValueError(f"this entry of inputs has no name, or no shape of integers: {tensor!r}")
    if datatype != "BYTES" and datatype not in SIZES:
        raise ValueError(f"input {name!r} has a datatype that the protocol does not have: {datatype!r}")
    concrete = tuple(1 if size < 0 else size for size in shape)
    count = math.prod(concrete)
    if count > _MOST_ELEMENTS:
        raise ValueError(f"input {name!r} takes {count} elements, more than this program sends")
    return Sample(name, str(datatype), concrete, tuple(_value(str(datatype), i) for i in range(count)), tuple(shape))


def _value(datatype: str, index: int) -> Any:  # noqa: ANN401 - by datatype
    if datatype == "BYTES":
        return f"text {index}"
    if datatype == "BOOL":
        return index % 2 == 0
    if datatype in ("FP16", "FP32", "FP64"):
        return 0.5 + index % 4  # exact in every one of them
    return index % 2


def nested(values: Sequence[Any], shape: Sequence[int]) -> Any:  # noqa: ANN401 - lists of lists
    """The values in their multi-dimensional form, row-major."""
    if len(shape) <= 1:
        return list(values)
    step = math.prod(shape[1:])
    return [nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def flat(data: Any) -> list[Any]:  # noqa: ANN401 - JSON
    """The values of a tensor's ``data``, whichever of the two forms it has."""
    if not isinstance(data, list):
        return [data]
    found: list[Any] = []
    for item in data:
        found += flat(item) if isinstance(item, list) else [item]
    return found


def elements(shape: Sequence[int]) -> int:
    """How many elements a shape holds."""
    return math.prod(shape)


def raw(datatype: str, values: Sequence[Any]) -> bytes:
    """The bytes of the binary form: little-endian, BYTES with a length of four bytes before each element."""
    if datatype == "BYTES":
        texts = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def unraw(datatype: str, content: bytes) -> list[Any]:
    """The values in bytes of the binary form.

    Raises:
        ValueError: the bytes are no whole number of elements, or a length of BYTES lies.
    """
    if datatype == "BYTES":
        return _texts(content)
    if datatype == "BF16":
        content = b"".join(b"\0\0" + content[at : at + 2] for at in range(0, len(content), 2))
        datatype = "FP32"
    size = SIZES.get(datatype)
    if size is None or len(content) % size:
        raise ValueError(f"{len(content)} bytes are no whole number of elements of {datatype}")
    return list(struct.unpack(f"<{len(content) // size}{FORMATS[datatype]}", content))


def _texts(content: bytes) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(content):
        if at + 4 > len(content):
            raise ValueError("the bytes end within the length of an element of BYTES")
        (length,) = struct.unpack_from("<I", content, at)
        if at + 4 + length > len(content):
            raise ValueError(f"an element of BYTES claims {length} bytes, {len(content) - at - 4} are left")
        found.append(content[at + 4 : at + 4 + length].decode(errors="replace"))
        at += 4 + length
    return found
