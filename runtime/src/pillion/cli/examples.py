"""A real request for a model, from the file ``*.example.json`` beside it: what ``pillion serve`` prints a call with.

Of ``iris.skops`` it is ``iris.example.json`` in the same folder, of a folder ``example.json`` in it. The file holds
the body of a request: ``{"instances": [...]}``, ``{"inputs": [...]}``, or the rows alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pillion.runtimefile import DesiredModel

__all__ = ["example_file", "examples", "read_example"]

_MOST_BYTES: Final = 8192
"""Of an example that is printed: more than that nobody pastes."""


def example_file(model: Path) -> Path:
    """Where the example of a model is, if there is one."""
    return model / "example.json" if model.is_dir() else model.with_name(f"{model.stem}.example.json")


def read_example(file: Path) -> dict[str, object]:
    """The body of a request.

    Raises:
        ValueError: not a request; the text says why.
        OSError: it cannot be read.
    """
    text = file.read_text(encoding="utf-8")
    if len(text) > _MOST_BYTES:
        raise ValueError(f"longer than {_MOST_BYTES} characters")
    try:
        body = json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if isinstance(body, list) and body:
        return {"instances": body}
    if isinstance(body, dict) and any(isinstance(body.get(key), list) and body[key] for key in ("instances", "inputs")):
        return body
    raise ValueError('neither a list of rows nor an object with "instances" or "inputs"')


def examples(models: Iterable[DesiredModel]) -> tuple[dict[str, dict[str, object]], list[str]]:
    """The example of each model that has one, by the model's name, and a sentence for each file that is not one."""
    found: dict[str, dict[str, object]] = {}
    refused: list[str] = []
    for model in models:
        file = example_file(Path(model.path))
        if not file.is_file():
            continue
        try:
            found[model.name] = read_example(file)
        except (OSError, ValueError) as error:
            refused.append(f"{file.name} is not used as an example: {error}")
    return found, refused
