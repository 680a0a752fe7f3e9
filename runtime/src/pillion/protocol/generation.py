"""What clients of every protocol for language models may ask of a text, brought to the parameters of ``generate``.

An option that the model's ``generate`` has no parameter for is refused by its name, rather than dropped: an answer that
ignores ``temperature`` looks like one that obeys it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from pydantic import ValidationError

from pillion.errors import ErrorCode, PillionError
from pillion.protocol.task_json import invalid_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.text import Generator

__all__ = ["STOP", "arguments", "asks_for", "invalid", "json_object", "stops"]

STOP: Final = "stop"
"""The option of models that end at a text by themselves."""
_MOST_STOPS: Final = 16
_LONGEST_NAMES: Final = ("max_tokens", "max_completion_tokens", "max_new_tokens", "max_output_tokens")
"""Names of one option: the tokens of an answer at most."""


def arguments(
    generator: Generator, asked: Mapping[str, Any], options: Mapping[str, Any], stops: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments of one call, validated.

    Args:
        generator: of the model.
        asked: ``{"prompt": text}`` or ``{"messages": [...]}``.
        options: by the names that the request has; a null is an option left out.
        stops: texts before which the answer is cut. Who asks sees to it; a model that takes ``stop`` is told as well.

    Raises:
        InvalidArguments: with the name of each option that does not fit.
        PillionError: ``INVALID_ARGUMENT``: an option that the model does not take.
    """
    task = generator.task
    given = dict(asked)
    rest: dict[str, Any] = {}
    if stops and STOP in generator.options:
        given[STOP] = list(stops)
    for name, value in options.items():
        if value is None:
            continue
        known = _own_name(generator, name)
        if known is not None:
            if known in given:
                raise invalid(name, f"it says the same as {known}: send one of them")
            given[known] = value
        elif generator.open:
            rest[name] = value
        else:
            takes = ", ".join(generator.options) or "none"
            raise invalid(name, f"the model does not take this option; it takes: {takes}", remedy="leave it out")
    if rest:
        given["parameters"] = rest
    try:
        return task.arguments.validate_json(orjson.dumps(given))
    except ValidationError as error:
        raise invalid_arguments(error, task) from None


def _own_name(generator: Generator, name: str) -> str | None:
    if name in generator.options:
        return name
    if name in _LONGEST_NAMES:
        return next((own for own in _LONGEST_NAMES if own in generator.options), None)
    return None


def asks_for(generator: Generator, prompt: str) -> dict[str, Any]:
    """A text to continue, for a model that takes one; else as what a user says."""
    return {"prompt": prompt} if generator.prompt else {"messages": [{"role": "user", "content": prompt}]}


def stops(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    """The texts before which an answer is cut.

    Raises:
        PillionError: ``INVALID_ARGUMENT``.
    """
    given: Sequence[Any] = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) and one for one in given):
        raise invalid("stop", "it is a text, or a list of texts, none of them empty")
    if len(given) > _MOST_STOPS:
        raise invalid("stop", f"{len(given)} texts, and at most {_MOST_STOPS} are taken")
    return tuple(given)


def json_object(body: bytes | memoryview) -> dict[str, Any]:
    """The body's JSON object.

    Raises:
        PillionError: ``INVALID_ARGUMENT``.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise PillionError(
            ErrorCode.INVALID_ARGUMENT,
            f"the body is not valid JSON: {error}",
            field="body",
            remedy="send a JSON object",
        ) from None
    if not isinstance(document, dict):
        raise invalid("body", "it is not a JSON object")
    return document


def invalid(field: str, problem: str, *, remedy: str | None = None) -> PillionError:
    """The refusal of one field."""
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{field}: {problem}", field=field, remedy=remedy)
