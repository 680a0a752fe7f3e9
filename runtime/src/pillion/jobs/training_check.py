"""Looking at the parameters of a training where only its own process knows the class: in the pod of a TrainingJob."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pillion.errors import ErrorCode, PillionError
from pillion.jobs.training import validate
from pillion.jobs.training_order import TrainingRequest

if TYPE_CHECKING:
    from pillion.authoring.training import TrainSignature
    from pillion.jobs.training_order import TrainingOrder, UncheckedData

__all__ = ["checked"]


def checked(order: TrainingOrder, signature: TrainSignature) -> TrainingOrder:
    """Return the order with its data at the parameter that takes them, and all parameters looked at.

    Raises:
        PillionError: with the field.
    """
    data = order.unchecked
    parameters = dict(order.parameters)
    if data is not None and data.uri:
        name = _taking(data, signature, parameters)
        if name in parameters:
            raise _wrong(f"parameters.{name}", "it is given twice: here, and as the dataset; remove one")
        parameters[name] = {"uri": data.uri, "file": data.file}
    given, sources = validate(signature, TrainingRequest("model", parameters))
    return msgspec.structs.replace(order, route=signature.name, parameters=given, sources=sources, unchecked=None)


def _taking(data: UncheckedData, signature: TrainSignature, given: dict[str, object]) -> str:
    names = [parameter.name for parameter in signature.data]
    listed = f"{signature.name} has: {', '.join(names)}" if names else f"{signature.name} takes no Stream"
    if data.parameter:
        if data.parameter in names:
            return data.parameter
        raise _wrong("dataset.parameter", f"there is no data parameter {data.parameter!r}; {listed}")
    left = [parameter.name for parameter in signature.data if parameter.name not in given]
    needed = [parameter.name for parameter in signature.data if parameter.required and parameter.name not in given]
    for candidates in (left, needed):
        if len(candidates) == 1:
            return candidates[0]
    raise _wrong("dataset.parameter", f"say which parameter takes the data; {listed}")


def _wrong(field: str, text: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {text}", field=field)
