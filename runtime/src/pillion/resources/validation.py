"""What is wrong with a manifest, said to the person who wrote it: where, what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pydantic import JsonValue, ValidationError

from pillion.resources.base import API_VERSION, GROUP, JsonObject, ResourceModel
from pillion.resources.batchprediction import BatchPrediction
from pillion.resources.declaredmodel import Model
from pillion.resources.documents import Document, DocumentError, read_documents
from pillion.resources.graph_models import graph_problems
from pillion.resources.inferenceservice import InferenceService
from pillion.resources.nearest import nearest_field, nearest_of
from pillion.resources.rules import FieldPath, Key, nulls, violations
from pillion.resources.servingruntime import ClusterServingRuntime, ServingRuntime
from pillion.resources.trainingjob import TrainingJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

MODELS: Mapping[str, type[ResourceModel]] = {
    model.__name__: model
    for model in (InferenceService, ServingRuntime, ClusterServingRuntime, Model, TrainingJob, BatchPrediction)
}

_KSERVE_GROUP = "serving.kserve.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a manifest.

    Attributes:
        message: what is wrong, and mostly what to do.
        path: the field's address; empty for the document itself.
        line: its line in the source, counted from one; None where the manifest was not read from a text.
        source: the file's name, as given to `validate`.
        suggestion: the nearest known field or value, where there is one.
    """

    message: str
    path: FieldPath = ()
    line: int | None = None
    source: str = ""
    suggestion: str | None = None

    @property
    def field(self) -> str:
        """The field's address as Kubernetes writes it: `spec.predictor.containers[0].name`."""
        return field_name(self.path)

    def __str__(self) -> str:
        place = ":".join(part for part in (self.source, str(self.line or "")) if part)
        said = f"{self.message}; did you mean {self.suggestion}?" if self.suggestion else self.message
        return ": ".join(part for part in (place, self.field, said) if part)


def field_name(path: FieldPath) -> str:
    """Return the address as Kubernetes writes it."""
    text = "".join(f"[{part}]" if isinstance(part, (int, Key)) else f".{part}" for part in path)
    return text.removeprefix(".")


def validate(manifest: str | Mapping[str, JsonValue], *, source: str = "") -> list[Problem]:
    """Return everything that is wrong with a manifest; an empty list where nothing is.

    `manifest` is the text of a file, of one or several documents, or one document as an object. Documents of other
    groups than Pillion's are passed over: they are somebody else's to judge.
    """
    if not isinstance(manifest, str):
        return list(_of_document(Document(dict(manifest), 0), source, with_lines=False))
    problems: list[Problem] = []
    try:
        documents = list(read_documents(manifest))
        beside = [document.content for document in documents]
        for document in documents:
            problems.extend(_of_document(document, source, with_lines=True, beside=beside))
    except DocumentError as error:
        problems.append(Problem(message=error.message, line=error.line, source=source))
    return problems


def concerns(manifest: str) -> bool:
    """Whether a manifest has a document that :func:`validate` judges, in a text that can be read."""
    return any(model_of(document.content) is not None for document in read_documents(manifest))


def model_of(content: JsonValue) -> type[ResourceModel] | None:
    """Return the model of a document's kind; None where it is none of Pillion's."""
    if not isinstance(content, dict) or content.get("apiVersion") != API_VERSION:
        return None
    return MODELS.get(str(content.get("kind")))


def _of_document(
    document: Document, source: str, *, with_lines: bool, beside: Sequence[JsonValue] = ()
) -> Iterator[Problem]:
    found = sorted(_findings(document.content, beside), key=lambda finding: document.line_of(finding[0]))
    for path, message, suggestion in found:
        line = document.line_of(path) if with_lines else None
        yield Problem(message=message, path=path, line=line, source=source, suggestion=suggestion)


_Finding = tuple[FieldPath, str, str | None]


def _findings(content: JsonValue, beside: Sequence[JsonValue] = ()) -> Iterator[_Finding]:
    if not isinstance(content, dict):
        yield (), "a manifest is an object with apiVersion, kind, metadata and spec", None
        return
    model = model_of(content)
    if model is None:
        yield from _of_unknown_kind(content)
        return
    metadata = content.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("name") and not metadata.get("generateName"):
        yield ("metadata",), "needs 'name'", None
    try:
        parsed = model.from_manifest(content)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            yield _explained(model, details)
        return
    for path in nulls(parsed):
        yield path, "has no value; remove the line, or give one", None
    ruled = False
    for violation in violations(parsed):
        ruled = True
        yield violation.path, violation.rule.message, None
    if isinstance(parsed, InferenceService) and parsed.spec.graph is not None and not ruled:
        for problem in graph_problems(parsed, beside):
            # Of these, the name of a node is the key of a map.
            inside = (Key(part) if index == 1 else part for index, part in enumerate(problem.path))
            yield ("spec", "graph", *inside), problem.message, None


def _of_unknown_kind(content: JsonObject) -> Iterator[_Finding]:
    version, kind = content.get("apiVersion"), content.get("kind")
    for key, given in (("apiVersion", version), ("kind", kind)):
        if not isinstance(given, str) or not given:
            yield (key,) if key in content else (), f"needs '{key}', a text", None
            return
    group = cast("str", version).rpartition("/")[0]
    if group == _KSERVE_GROUP and kind in MODELS:
        yield ("apiVersion",), f"is KServe's; change it to {API_VERSION}, or run 'pillion convert -f'", None
    elif group == GROUP and version != API_VERSION:
        yield ("apiVersion",), f"no such version; write {API_VERSION}", None
    elif group == GROUP:
        yield ("kind",), f"no such kind; there are {', '.join(MODELS)}", nearest_of(str(kind), MODELS)
    elif group and nearest_of(group, (GROUP,)):
        yield ("apiVersion",), "no such group", API_VERSION


_KINDS_OF_VALUE = {
    "string_type": "a text",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _explained(model: type[ResourceModel], details: ErrorDetails) -> _Finding:
    # pydantic appends a mark where it is the key of a map that is wrong.
    path: FieldPath = tuple(part for part in details["loc"] if part != "[key]")
    given, context = details["input"], details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            return path, "unknown field", nearest_field(model, path)
        case "missing":
            return path[:-1], f"needs '{path[-1]}'", None
        case "literal_error":
            return path, f"must be one of {context['expected']}", nearest_of(str(given), _literals(context["expected"]))
        case "greater_than_equal":
            return path, f"is {given}, and must be at least {context['ge']}", None
        case "less_than_equal":
            return path, f"is {given}, and must be at most {context['le']}", None
        case "string_too_long":
            return path, f"has {len(cast('str', given))} characters, and may have {context['max_length']}", None
        case "too_long":
            return path, f"has {context['actual_length']} entries, and may have {context['max_length']}", None
        case "string_too_short" | "too_short":
            return path, "must not be empty", None
        case "string_pattern_mismatch":
            return path, f"must match {context['pattern']}", None
        case kind if kind in _KINDS_OF_VALUE:
            # A value may be a secret: of variables, only what kind of value it is may be told.
            shown = _described(given, kind, hidden=path[-1] == "value")
            return path, f"must be {_KINDS_OF_VALUE[kind]}, not {shown}", None
    return path, details["msg"], None


def _literals(expected: str) -> list[str]:
    return [part.strip("' ") for part in expected.replace(" or ", ",").split(",")]


def _described(given: object, wanted: str, *, hidden: bool) -> str:
    quote = "; put it in quotes" if wanted == "string_type" else ""
    match given:
        case bool():
            return f"{str(given).lower()}{quote}"
        case int() | float():
            return f"{'a number' if hidden else f'the number {given}'}{quote}"
        case str():
            bare = wanted == "int_type" and given.lstrip("-").isdigit()
            bare = bare or (wanted == "bool_type" and given in ("true", "false"))
            return f"{'a text' if hidden else f'the text {given[:60]!r}'}{'; remove the quotes' if bare else ''}"
        case list():
            return "a list"
        case dict():
            return "an object"
    return "nothing"
