"""Finds what somebody meant: the known name nearest to the one they wrote."""

from __future__ import annotations

import typing
from difflib import get_close_matches

from pillion.resources.base import ResourceModel

if typing.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pillion.resources.rules import FieldPath


def nearest_of(given: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `given`; None where none is like it."""
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(given.lower().replace("_", ""), by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else None


def nearest_field(root: type[ResourceModel], path: FieldPath) -> str | None:
    """Return the field that was probably meant by the unknown one at `path`, with its address where it is elsewhere."""
    *parents, name = path
    model = model_at(root, tuple(parents))
    if model is None or not isinstance(name, str):
        return None
    near = nearest_of(name, (field.alias or key for key, field in model.model_fields.items()))
    if near is not None:
        return f"'{near}'"
    # Below what it was written in, before anywhere else.
    above = "".join(f"{part}." for part in parents if isinstance(part, str))
    return min(
        _addresses(root, name, 5), key=lambda address: (not address.startswith(above), len(address)), default=None
    )


def model_at(root: type[ResourceModel], path: FieldPath) -> type[ResourceModel] | None:
    """Return the model of the object at `path`; None where there is none of ours."""
    model: type[ResourceModel] | None = root
    for part in path:
        if isinstance(part, int):
            continue
        fields = {} if model is None else {field.alias: field for field in model.model_fields.values()}
        if part not in fields:
            return None
        model = model_within(fields[part].annotation)
    return model


def model_within(annotation: object) -> type[ResourceModel] | None:
    """Return the model in an annotation such as `list[Container] | None`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, ResourceModel):
        return annotation
    found = (model_within(argument) for argument in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)


def _addresses(model: type[ResourceModel], name: str, depth: int, above: str = "") -> Iterator[str]:
    for field in model.model_fields.values():
        address = f"{above}.{field.alias}".removeprefix(".")
        if field.alias == name:
            yield address
        inner = model_within(field.annotation)
        if inner is not None and depth > 0 and field.alias != "status":
            yield from _addresses(inner, name, depth - 1, address)
