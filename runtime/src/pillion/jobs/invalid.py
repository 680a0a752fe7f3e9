"""What is wrong with the parameters of a training, as sentences that start with the field's path in the body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pillion.errors import InvalidArguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from pillion.authoring.training import TrainSignature

__all__ = ["invalid_parameter", "invalid_parameters"]

_SHOWN: Final = 5
_ABOVE: Final = "parameters"


def invalid_parameters(error: ValidationError, signature: TrainSignature) -> InvalidArguments:
    """All that pydantic found."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [
        {"loc": [_ABOVE, *detail["loc"]], "msg": _sentence(detail, signature), "type": detail["type"]}
        for detail in details
    ]
    shown = [f"{_path([_ABOVE, *detail['loc']])}: {_sentence(detail, signature)}" for detail in details[:_SHOWN]]
    more = f"; and {len(details) - _SHOWN} more" if len(details) > _SHOWN else ""
    return InvalidArguments("; ".join(shown) + more, field=_path([_ABOVE, *details[0]["loc"]]), problems=problems)


def invalid_parameter(name: str, said: str, kind: str) -> InvalidArguments:
    """One that we found ourselves."""
    location = [_ABOVE, *name.split(".")]
    problem = {"loc": location, "msg": said, "type": kind}
    return InvalidArguments(f"{_path(location)}: {said}", field=_path(location), problems=[problem])


def _sentence(detail: ErrorDetails, signature: TrainSignature) -> str:
    match detail["type"]:
        case "missing":
            return "is missing"
        case "extra_forbidden" if len(detail["loc"]) == 1:
            return f"training {signature.name!r} has no such parameter; it has: {signature.names}"
        case "extra_forbidden":
            return "there is no such field"
        case "value_error" | "assertion_error":
            return detail["msg"].partition(", ")[2] or detail["msg"]
        case _:
            return detail["msg"].removeprefix("Input ")


def _path(location: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
