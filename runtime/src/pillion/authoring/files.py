"""Types that travel as files: :class:`~pillion.File`, images, and classes that read and write themselves."""

from __future__ import annotations

import base64
import binascii
import io
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import PlainValidator, ValidationInfo, WithJsonSchema

from pillion.authoring.errors import ResultError
from pillion.authoring.file import OCTETS, File
from pillion.authoring.values import FileOf, ListOf, MapOf, OptionalOf, Record, TupleOf, UnionOf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pillion.authoring.values import ValueType

__all__ = ["as_json", "file_annotation", "file_type", "files_in", "received"]

_JSON = {
    "description": "A file: base64 in JSON, or a part of a form.",
    "anyOf": [
        {"type": "string", "contentEncoding": "base64"},
        {
            "type": "object",
            "required": ["data"],
            "additionalProperties": False,
            "properties": {
                "data": {"type": "string", "contentEncoding": "base64"},
                "filename": {"type": ["string", "null"]},
                "media_type": {"type": "string"},
            },
        },
    ],
}
_FIELDS = frozenset({"data", "filename", "media_type"})


def file_type(annotation: object) -> FileOf | None:
    """The description of a type that travels as a file; None for any other."""
    if annotation is File:
        return FileOf("File", _same, _file)
    if not isinstance(annotation, type):
        return None
    if annotation.__name__ == "Image" and annotation.__module__ == "PIL.Image":
        return FileOf("Image", _open_image, _image_file, "image/*")
    reads, writes = getattr(annotation, "from_file", None), getattr(annotation, "to_file", None)
    if not callable(reads) and not callable(writes):
        return None
    write: Callable[[Any], File] | None = None if writes is None else _writer(annotation)
    return FileOf(annotation.__name__, reads if callable(reads) else None, write)


def file_annotation(described: FileOf) -> Any:  # noqa: ANN401 - an annotation
    """What pydantic validates a file by: what the transport received, or its bytes as base64 in JSON."""

    def read(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - as sent
        file = received(value, info.context)
        if described.read is None:
            raise ValueError(f"{described.name} cannot be read from a file")
        return described.read(file)

    return Annotated[Any, PlainValidator(read), WithJsonSchema(_JSON)]


def received(value: Any, received: Any = None) -> File:  # noqa: ANN401 - as sent; what the transport has by names of its own
    """The file that a value stands for.

    Raises:
        ValueError: it stands for none.
    """
    if isinstance(value, File):
        return value
    if isinstance(value, str):
        if received is not None and value in received:
            file: File = received[value]
            return file
        return File(_decoded(value))
    if isinstance(value, dict) and isinstance(value.get("data"), str) and value.keys() <= _FIELDS:
        filename, media_type = value.get("filename"), value.get("media_type")
        if isinstance(filename, str | None) and isinstance(media_type, str | None):
            return File(_decoded(value["data"]), filename=filename, media_type=media_type)
    raise ValueError("should be a file: a part of a form, or base64 text in JSON")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("should be a file: this text is not base64") from None


def as_json(file: File) -> dict[str, Any]:
    """A file inside of a JSON document."""
    data = base64.b64encode(file.read()).decode()
    return {"data": data, "filename": file.filename, "media_type": file.media_type}


def _same(file: File) -> File:
    return file


def _file(value: Any) -> File:  # noqa: ANN401 - what a method returned
    if isinstance(value, File):
        if not value.in_memory and not value.path.is_file():
            raise ResultError(f"is a File of {value.path}, and there is no such file")
        return value
    raise ResultError(f"is {type(value).__name__}, and a pillion.File is declared")


def _open_image(file: File) -> Any:  # noqa: ANN401 - an image of Pillow's, which need not be installed
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - installed where a class names it

    try:
        image = Image.open(io.BytesIO(file.read()))
        image.load()  # now, where it can be said that the request is at fault
    except UnidentifiedImageError:
        raise ValueError("should be an image, and is in no known format") from None
    except (Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise ValueError(f"should be an image, and cannot be read: {error}") from None
    return image


def _image_file(value: Any) -> File:  # noqa: ANN401 - what a method returned
    from PIL import Image  # noqa: PLC0415 - as above

    if not isinstance(value, Image.Image):
        raise ResultError(f"is {type(value).__name__}, and an Image is declared")
    form = value.format or "PNG"
    target = io.BytesIO()
    try:
        value.save(target, form)
    except OSError as error:  # a mode that the format does not know
        raise ResultError(f"cannot be written as {form}: {error}") from None
    return File(target.getvalue(), filename=f"image.{form.lower()}", media_type=Image.MIME.get(form, OCTETS))


def _writer(cls: type[Any]) -> Callable[[Any], File]:
    def write(value: Any) -> File:  # noqa: ANN401 - what a method returned
        if not isinstance(value, cls):
            raise ResultError(f"is {type(value).__name__}, and {cls.__name__} is declared")
        made = value.to_file()
        return File(made) if isinstance(made, bytes | bytearray) else _file(made)

    return write


def files_in(declared: ValueType, seen: frozenset[int] = frozenset()) -> Iterator[FileOf]:
    """The files that a value may hold, at any depth."""
    match declared:
        case FileOf():
            yield declared
        case OptionalOf(item) | ListOf(item) | MapOf(item):
            yield from files_in(item, seen)
        case TupleOf(items):
            for item in items:
                yield from files_in(item, seen)
        case UnionOf(members):
            for member in members:
                yield from files_in(member.type, seen)
        case Record(fields=fields) if id(declared) not in seen:
            for field in fields:
                yield from files_in(field.type, seen | {id(declared)})
