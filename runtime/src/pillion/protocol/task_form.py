"""Tasks as forms: parts with dotted names become the document that JSON would have been, with the files beside it.

``-F inputs.audio=@x.wav -F 'inputs={"language": "en"}'`` is ``{"inputs": {"audio": (the file), "language": "en"}}``. A
part of JSON may be an object, which is merged; the same name again is one more item of a list. What a part without a
type of its own holds is said by the type that the task declares there: text for a ``str``, else JSON.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pillion.authoring.file import File
from pillion.authoring.files import as_json
from pillion.authoring.values import FileOf, Kind, ListOf, OptionalOf, Scalar
from pillion.errors import ErrorCode, PillionError
from pillion.json_values import document_bytes, json_document
from pillion.protocol.task_json import Envelope, arguments_of, envelope_of
from pillion.protocol.task_paths import below

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pillion.authoring.signature import TaskSignature
    from pillion.authoring.values import ValueType

__all__ = ["FormPart", "form_arguments", "form_body", "form_model"]

_DEEPEST: Final = 16
_JSON: Final = "application/json"
_TEXTS: Final = frozenset({Kind.STRING, Kind.TIMESTAMP})


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part."""

    name: str
    media_type: str
    content: bytes = b""
    file: File | None = None
    """What a part with a file name holds."""


def form_model(parts: Sequence[FormPart]) -> str | None:
    """The ``model_id`` of an envelope; None without one."""
    for part in parts:
        if part.name == "model_id":
            return _text(part, part.content).strip() or None
    return None


def form_arguments(parts: Sequence[FormPart], signature: TaskSignature, *, envelope: bool) -> dict[str, Any]:
    """The validated arguments, by the names of the signature.

    Args:
        parts: of the form.
        signature: of the task.
        envelope: whether names begin with ``inputs`` and ``parameters``, as in the JSON of the caikit family.

    Raises:
        InvalidArguments: with the path of each field.
        PillionError: parts that contradict one another, or are not what they say.
    """
    form = _Form(signature, _required(signature) if envelope else None)
    for part in parts:
        if not (envelope and part.name == "model_id"):
            form.add(part)
    if not envelope:
        return arguments_of(signature, document_bytes(form.document), form.files)
    opened: Envelope = envelope_of(form.document)
    return opened.arguments(signature, form.files)


def form_body(parts: Sequence[FormPart], signature: TaskSignature) -> bytes:
    """The JSON that says the same as a form with the names of an envelope: files in it as JSON has them.

    Raises:
        PillionError: parts that contradict one another, or are not what they say.
    """
    form = _Form(signature, _required(signature))
    for part in parts:
        if part.name != "model_id":
            form.add(part)
    model = form_model(parts)
    document = form.document if model is None else {"model_id": model, **form.document}
    return document_bytes(_with_files(document, form.files))


def _with_files(value: Any, files: Mapping[str, File]) -> Any:  # noqa: ANN401 - JSON
    match value:
        case dict():
            return {key: _with_files(inner, files) for key, inner in value.items()}
        case list():
            return [_with_files(inner, files) for inner in value]
        case str() if value in files:
            return as_json(files[value])
    return value


def _required(signature: TaskSignature) -> list[str]:
    return [parameter.name for parameter in signature.parameters if parameter.required]


@dataclass(slots=True)
class _Form:
    """The document in the making."""

    signature: TaskSignature
    required: list[str] | None
    """Of an envelope; None where names are those of parameters."""
    document: dict[str, Any] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    """By the text that stands for each in the document. Nobody outside knows those texts."""

    def add(self, part: FormPart) -> None:
        keys = part.name.split(".")
        if not all(keys) or len(keys) > _DEEPEST:
            raise _refused(part, "names are those of fields, with dots between")
        if self.required is not None and keys[:2] == ["inputs", *self.required] and self.type_at(keys) is None:
            del keys[1]  # `inputs` is the only parameter itself; people name it all the same
        declared = self.type_at(keys)
        value, several = self.value(part, declared)
        here = self.document
        for key in keys[:-1]:
            inner = here.setdefault(key, {})
            if not isinstance(inner, dict):
                raise _refused(part, "is given twice, once as a whole and once by its fields")
            here = inner
        self.put(here, keys[-1], value, part, several=several)

    def put(self, here: dict[str, Any], key: str, value: Any, part: FormPart, *, several: bool) -> None:  # noqa: ANN401 - JSON
        if key not in here:
            here[key] = [value] if several and not isinstance(value, list) else value
            return
        known = here[key]
        if isinstance(known, dict) and isinstance(value, dict):
            for name, inner in value.items():
                self.put(known, name, inner, part, several=False)
        elif isinstance(known, list) and several:
            known.extend(value if isinstance(value, list) else [value])
        else:
            raise _refused(part, "is given twice")

    def type_at(self, keys: Sequence[str]) -> ValueType | None:
        types = {parameter.name: parameter.type for parameter in self.signature.parameters}
        rest = list(keys)
        if self.required is not None:
            head = rest.pop(0)
            if head == "inputs" and len(self.required) == 1:
                rest.insert(0, self.required[0])
            elif not rest:
                return None
        here = types.get(rest[0])
        for key in rest[1:]:
            here = below(_inner(here), key)
        return here

    def value(self, part: FormPart, declared: ValueType | None) -> tuple[Any, bool]:
        """The JSON of a part, and whether it is one item of a list."""
        inner = _inner(declared)
        several = isinstance(inner, ListOf)
        if isinstance(inner, ListOf):
            inner = _inner(inner.item)
        if isinstance(inner, FileOf):
            token = f"\0file {len(self.files)}"
            self.files[token] = part.file or File(part.content, media_type=part.media_type or None)
            return token, several
        content = part.content if part.file is None else part.file.read()
        if isinstance(inner, Scalar) and inner.kind is Kind.BYTES:
            return base64.b64encode(content).decode(), several
        if part.media_type == _JSON:
            return self.json(part, content), several
        if isinstance(inner, Scalar) and inner.kind in _TEXTS and not (several and content.startswith(b"[")):
            return _text(part, content), several
        try:
            return json_document(content), several
        except ValueError:
            return _text(part, content), several

    def json(self, part: FormPart, content: bytes) -> Any:  # noqa: ANN401 - JSON
        try:
            return json_document(content)
        except ValueError as error:
            raise _refused(part, f"is not valid JSON: {error}") from None


def _inner(declared: ValueType | None) -> ValueType | None:
    while isinstance(declared, OptionalOf):
        declared = declared.item
    return declared


def _text(part: FormPart, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise _refused(part, "is not valid UTF-8") from None


def _refused(part: FormPart, why: str) -> PillionError:
    return PillionError(ErrorCode.INVALID_ARGUMENT, f"{part.name}: {why}", field=part.name)
