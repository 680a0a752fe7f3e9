"""The JSON of an inference request as typed structures, one per datatype.

msgspec checks types, ranges and nesting in C while it decodes, so strictness costs nothing: for four floats this is
faster than orjson and a look at the values' types, and for a megabyte of JSON as well
(``bench/microbench_codecs.py``). The ``datatype`` key selects the structure, wherever it stands in the object.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Final, cast

import msgspec

from pillion.tensors import Datatype

__all__ = ["UNREAD", "InferBody", "InputBody", "OutputBody", "element_type", "infer_decoder", "nested"]

_FP32_MAX: Final = 3.4028235677973366e38
"""The largest float64 that rounds to a finite FP32."""

UNREAD: Final[Any] = msgspec.Raw()
"""``data`` of an FP16 or BF16 input that sent none."""

ParameterMap = dict[str, bool | int | float | str]


class OutputBody(msgspec.Struct):
    """An output the client asks for."""

    name: str
    parameters: ParameterMap | None = None


class InputBody(msgspec.Struct, tag_field="datatype"):
    """An input tensor; the subclasses differ in the type of ``data``."""

    name: str
    shape: list[int]
    parameters: ParameterMap | None = None
    data: Any = msgspec.UNSET


class InferBody(msgspec.Struct):
    """The document of an inference request. Keys that the protocol does not define are skipped."""

    inputs: list[InputBody]
    id: str | None = None
    outputs: list[OutputBody] | None = None
    parameters: ParameterMap | None = None


def element_type(datatype: Datatype, max_string: int) -> Any:  # noqa: ANN401  # a type expression, built at run time
    """The type of one element in JSON, bounds included; UINT64's upper bound is left to numpy.

    FP16 and BF16 have no JSON form in the protocol; what was sent is kept unread, to be refused with a remedy.
    """
    if datatype in (Datatype.FP16, Datatype.BF16):
        return msgspec.Raw
    if datatype is Datatype.BOOL:
        return bool
    if datatype is Datatype.BYTES:
        return Annotated[str, msgspec.Meta(max_length=max_string)]
    if datatype is Datatype.FP32:
        return Annotated[float, msgspec.Meta(ge=-_FP32_MAX, le=_FP32_MAX)]
    if datatype is Datatype.FP64:
        return float
    bits = int(datatype.lstrip("UINT"))
    if datatype is Datatype.UINT64:
        return Annotated[int, msgspec.Meta(ge=0)]
    if datatype.startswith("U"):
        return Annotated[int, msgspec.Meta(ge=0, le=2**bits - 1)]
    return Annotated[int, msgspec.Meta(ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)]


def nested(element: Any, depth: int) -> Any:  # noqa: ANN401  # type expressions, built at run time
    """A list of elements, or of such lists, down to ``depth`` levels."""
    if element is msgspec.Raw:
        return msgspec.Raw
    level: Any = list[element]
    for _ in range(depth - 1):
        level = list[element | level]
    return level


@lru_cache(maxsize=8)
def infer_decoder(
    max_depth: int, max_string: int, *, nullable: bool = False
) -> tuple[msgspec.json.Decoder[InferBody], dict[type[InputBody], Datatype]]:
    """The decoder of request documents for the given limits, and the datatype of each structure it makes.

    Building one for 16 levels takes ten milliseconds; they are kept. ``nullable`` lets null stand for any element.
    """
    variants: Any = None
    datatypes: dict[type[InputBody], Datatype] = {}
    for datatype in Datatype:
        element = element_type(datatype, max_string)
        if nullable and element is not msgspec.Raw:
            element = element | None
        data, absent = nested(element, max_depth), UNREAD
        if data is not msgspec.Raw:
            data, absent = data | msgspec.UnsetType, msgspec.UNSET
        struct = msgspec.defstruct(
            datatype.value,
            [("data", data, msgspec.field(default=absent))],
            bases=(InputBody,),
            tag_field="datatype",
            tag=datatype.value,
        )
        datatypes[cast("type[InputBody]", struct)] = datatype
        variants = struct if variants is None else variants | struct
    body = msgspec.defstruct("InferRequest", [("inputs", list[variants])], bases=(InferBody,))
    return msgspec.json.Decoder(body), datatypes
