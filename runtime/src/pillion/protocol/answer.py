"""What a client wants the answer to look like, as told in its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.dataplane.call import Parameters

__all__ = ["JSON_ANSWER", "NO_SHARED_MEMORY", "AnswerForm", "output_form", "refuse_shared_memory"]

_SHARED_MEMORY = "shared_memory_region"
NO_SHARED_MEMORY: Final = (
    "shared memory is not offered: clients and server do not share a machine's memory; send tensors as binary data"
)


class AnswerForm(msgspec.Struct, frozen=True):
    """Per output: in the JSON document, or as raw bytes behind it.

    ``binary_default`` is the request's ``binary_data_output``; ``binary`` holds the outputs that said ``binary_data``
    themselves; ``base64`` those that asked for ``content_type: base64``.
    """

    binary_default: bool = False
    binary: Mapping[str, bool] | None = None
    base64: frozenset[str] = frozenset()

    def is_binary(self, output: str) -> bool:
        """Whether this output travels as raw bytes."""
        return self.binary_default if self.binary is None else self.binary.get(output, self.binary_default)


JSON_ANSWER: Final = AnswerForm()
"""Everything in the JSON document: what a request without parameters means."""


def output_form(
    request_parameters: Parameters, outputs: list[tuple[str, Parameters]], *, in_request: str = "parameters"
) -> AnswerForm:
    """The form of the answer, from the parameters of the request and of each output it asks for.

    Consumes ``binary_data_output`` from ``request_parameters``: it is about the transport, not for the model.

    Raises:
        PillionError: ``INVALID_ARGUMENT`` for a value of the wrong type; ``UNIMPLEMENTED`` for an extension that would
            change the answer and is not supported (classification, shared memory).
    """
    default = _flag(request_parameters.pop("binary_data_output", False), f"{in_request}.binary_data_output")
    binary: dict[str, bool] = {}
    base64: set[str] = set()
    for index, (name, parameters) in enumerate(outputs):
        field = f"outputs[{index}].parameters"
        refuse_shared_memory(parameters, field)
        if "classification" in parameters:
            raise PillionError(
                ErrorCode.UNIMPLEMENTED,
                f"{field}.classification: the classification extension is not supported",
                field=f"{field}.classification",
                remedy="ask for the output itself and take the largest values",
            )
        if "binary_data" in parameters:
            binary[name] = _flag(parameters["binary_data"], f"{field}.binary_data")
        if parameters.get("content_type") == "base64":
            base64.add(name)
    if not default and not binary and not base64:
        return JSON_ANSWER
    return AnswerForm(binary_default=default, binary=binary or None, base64=frozenset(base64))


def refuse_shared_memory(parameters: Parameters, field: str) -> None:
    """Shared memory regions cannot be reached from another pod.

    Raises:
        PillionError: ``UNIMPLEMENTED`` when the parameters ask for one.
    """
    if _SHARED_MEMORY in parameters:
        raise PillionError(
            ErrorCode.UNIMPLEMENTED,
            f"{field}.{_SHARED_MEMORY}: shared memory is not supported",
            field=f"{field}.{_SHARED_MEMORY}",
            remedy="send the tensor as binary data in the body",
        )


def _flag(value: object, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: must be true or false", field=field)
