"""Python's values as JSON and as parts of forms, and answers as values."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json, to_jsonable_python

from pillion.authoring.file import File
from pillion.client.exchange import Part
from pillion.protocol.task_file import filename_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pillion.client.exchange import Answer

__all__ = ["as_file", "encoded", "file_of", "json_text", "jsonable", "parts_of", "value_of"]


def encoded(value: object) -> bytes:
    """JSON; dataclasses, pydantic models, numpy arrays and files as they are.

    Raises:
        TypeError: something in it cannot be sent.
    """
    return to_json(value, fallback=_fallback, bytes_mode="base64", inf_nan_mode="constants")


def jsonable(value: object) -> Any:  # noqa: ANN401 - JSON
    """The same, as lists, dicts, texts and numbers."""
    return to_jsonable_python(value, fallback=_fallback, bytes_mode="base64")


def as_file(value: object) -> File | None:
    """The file that a value is: a :class:`~pillion.File`, or an image of Pillow, as PNG unless it has a format."""
    if isinstance(value, File):
        return value
    if hasattr(value, "save") and hasattr(value, "tobytes") and type(value).__module__.partition(".")[0] == "PIL":
        image: Any = value
        kind = image.format or "PNG"
        stream = io.BytesIO()
        image.save(stream, format=kind)
        return File(stream.getvalue(), filename=f"image.{kind.lower()}", media_type=f"image/{kind.lower()}")
    return None


def parts_of(arguments: Mapping[str, object]) -> tuple[Part, ...]:
    """A form of arguments, where there is a file among them; empty where there is none."""
    files = {name: file for name, value in arguments.items() if (file := as_file(value)) is not None}
    if not files:
        return ()
    return tuple(
        Part(name, files[name], files[name].filename or name, files[name].media_type)
        if name in files
        else Part(name, encoded(value), None, "application/json")
        for name, value in arguments.items()
    )


def value_of(answer: Answer) -> Any:  # noqa: ANN401 - by the task
    """What a task gave: JSON, or a :class:`~pillion.File`."""
    disposition = answer.headers.get("content-disposition")
    if disposition is None:
        return answer.json()
    return File(answer.body, filename=filename_in(disposition), media_type=answer.headers.get("content-type"))


def file_of(value: Any) -> Any:  # noqa: ANN401 - JSON in
    """The file that JSON says; any other value as it is."""
    if not isinstance(value, dict) or not isinstance(value.get("data"), str):
        return value
    content = base64.b64decode(value["data"])
    return File(content, filename=value.get("filename"), media_type=value.get("media_type"))


def _fallback(value: Any) -> Any:  # noqa: ANN401 - a file, an array or a numpy scalar
    file = as_file(value)
    if file is not None:
        data = base64.b64encode(file.read()).decode()
        return {"data": data, "filename": file.filename, "media_type": file.media_type}
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")


def json_text(value: object) -> str:
    """A field of a form: texts as they are, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
