"""What a client wants the answer to look like, as told in its request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.protocol.classification import classes_wanted
from pillion.protocol.parameters import refuse_shared_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.dataplane.call import Parameters

__all__ = ["JSON_ANSWER", "AnswerForm", "output_form", "wanted_classes"]


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
        PillionError: ``INVALID_ARGUMENT`` for a value of the wrong type; ``UNIMPLEMENTED`` for shared memory.
    """
    default = _flag(request_parameters.pop("binary_data_output", False), f"{in_request}.binary_data_output")
    binary: dict[str, bool] = {}
    base64: set[str] = set()
    for index, (name, parameters) in enumerate(outputs):
        field = f"outputs[{index}].parameters"
        refuse_shared_memory(parameters, field)
        if "binary_data" in parameters:
            binary[name] = _flag(parameters["binary_data"], f"{field}.binary_data")
        if parameters.get("content_type") == "base64":
            base64.add(name)
    if not default and not binary and not base64:
        return JSON_ANSWER
    return AnswerForm(binary_default=default, binary=binary or None, base64=frozenset(base64))


def wanted_classes(outputs: list[tuple[str, Parameters]]) -> dict[str, int]:
    """How many classes each output is asked as, by its name; outputs that are asked as they are are not in it.

    Raises:
        PillionError: ``INVALID_ARGUMENT``: no whole number.
    """
    wanted = {
        name: classes_wanted(parameters["classification"], f"outputs[{index}].parameters.classification")
        for index, (name, parameters) in enumerate(outputs)
        if "classification" in parameters
    }
    return {name: count for name, count in wanted.items() if count}


def _flag(value: object, field: str) -> bool:
    if isinstance(value, bool):
        return value
    raise PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: must be true or false", field=field)
