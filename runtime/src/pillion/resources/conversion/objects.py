"""One object: KServe's becomes ours, with a remark on every line that does not carry over."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import yaml
from pydantic import ValidationError

from pillion.resources.base import API_VERSION, JsonObject
from pillion.resources.conversion.addresses import address_of, before_renames, path_of
from pillion.resources.conversion.companions import KSERVE_GROUP, companion_remarks
from pillion.resources.conversion.edits import Edit, Put, Remove, Rename, changed_content, changed_text
from pillion.resources.conversion.graphs import GRAPH_KIND, GRAPH_VERSION, graph_service
from pillion.resources.conversion.leftovers import leftover_paths, renamed_annotations
from pillion.resources.conversion.remarks import Remark, Subject
from pillion.resources.conversion.remedies import UNMAPPED
from pillion.resources.conversion.runtimes import RUNTIME_KINDS, runtime_remarks
from pillion.resources.conversion.services import no_effect, serving_edits
from pillion.resources.conversion.trained_models import TRAINED_MODEL_KIND, TRAINED_MODEL_VERSION, added_model
from pillion.resources.inferenceservice import InferenceService
from pillion.resources.nearest import nearest_field
from pillion.resources.servingruntime import ClusterServingRuntime, ServingRuntime
from pillion.resources.validation import MODELS, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pillion.resources.conversion.services import RuntimeFacts
    from pillion.resources.rules import FieldPath
    from pillion.resources.validation import Problem

__all__ = ["ObjectConversion", "convert_object", "leading_comments"]

_VERSIONS: Final = {
    "InferenceService": f"{KSERVE_GROUP}/v1beta1",
    **dict.fromkeys(RUNTIME_KINDS, f"{KSERVE_GROUP}/v1alpha1"),
}
#: Unknown fields hide nothing but each other: a handful of rounds finds all.
_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class ObjectConversion:
    """What one object becomes; each remark with the path in the source that it is about.

    `kept` is its text where that could be kept up, `comments` stand before one that is written anew.
    """

    content: JsonObject
    remarks: Sequence[tuple[FieldPath, Remark]] = ()
    kept: str | None = None
    comments: str = ""

    @property
    def text(self) -> str:
        """Its document. To write one anew takes longer than all the rest, and not everybody reads it."""
        return self.kept or self.comments + yaml.safe_dump(self.content, sort_keys=False, allow_unicode=True, width=120)


@dataclass(slots=True)
class _State:
    """An object on its way: its content, and its text as long as that could be kept up."""

    content: JsonObject
    text: str | None

    def change(self, edits: Sequence[Edit]) -> None:
        if not edits:
            return
        self.text = None if self.text is None else changed_text(self.text, self.content, edits)
        self.content = changed_content(self.content, edits)


def convert_object(content: JsonObject, runtimes: RuntimeFacts, text: str | None) -> ObjectConversion:
    """Return what the object becomes; `text` is its document, None where it has none of its own."""
    kind = str(content.get("kind"))
    if kind == GRAPH_KIND and content.get("apiVersion") == GRAPH_VERSION:
        return _anew("InferenceService", *graph_service(content), text)
    if kind == TRAINED_MODEL_KIND and content.get("apiVersion") == TRAINED_MODEL_VERSION:
        return _anew("Model", *added_model(content), text)
    if kind not in _VERSIONS or content.get("apiVersion") != _VERSIONS[kind]:
        remarks = [(path_of(remark.field), remark) for remark in companion_remarks(content)]
        return ObjectConversion(content, remarks, kept=text)
    edits, remarks_ = _edits(kind, content, runtimes)
    renames = [edit for edit in edits if isinstance(edit, Rename)]
    state = _State(content, text)
    state.change(edits)
    remarks_ += _without_unknown_fields(kind, state)
    remarks_ += _verdict(kind, state.content)
    placed = [_as_in_source(remark, renames) for remark in remarks_]
    if state.text is None and text is not None:
        lost = Remark(Subject.CHANGED, "is written anew; comments inside of it are left out")
        if "#" in text:
            placed.append(((), lost))
        return ObjectConversion(state.content, placed, comments=leading_comments(text))
    return ObjectConversion(state.content, placed, kept=state.text)


def _anew(kind: str, content: JsonObject, remarks: list[Remark], text: str | None) -> ObjectConversion:
    """What becomes an object of another kind is written anew."""
    if not any(remark.subject is Subject.REFUSED for remark in remarks):
        remarks += _verdict(kind, content)
    placed = [(path_of(remark.field), remark) for remark in remarks]
    return ObjectConversion(content, placed, comments=leading_comments(text or ""))


def _edits(kind: str, content: JsonObject, runtimes: RuntimeFacts) -> tuple[list[Edit], list[Remark]]:
    edits: list[Edit] = [Put(("apiVersion",), API_VERSION)]
    edits += [Remove(path) for path in leftover_paths(content)]
    annotations, remarks = renamed_annotations(content)
    edits += annotations
    if kind == "InferenceService":
        part = serving_edits(content, runtimes)
        edits += part.edits
        remarks += part.remarks
    return edits, remarks


def _without_unknown_fields(kind: str, state: _State) -> list[Remark]:
    remarks: list[Remark] = []
    model = MODELS[kind]
    for _ in range(_ROUNDS):
        try:
            model.from_manifest(state.content)
        except ValidationError as error:
            unknown = [_path(e["loc"]) for e in error.errors(include_url=False) if e["type"] == "extra_forbidden"]
        else:
            return remarks
        if not unknown:
            return remarks
        for path in unknown:
            reason, remedy = UNMAPPED.get(str(path[-1]), ("there is no such field here", ""))
            near = nearest_field(model, path)
            remarks.append(Remark(Subject.REMOVED, reason, remedy or (f"see {near}" if near else ""), address_of(path)))
        state.change([Remove(_whole(path)) for path in unknown])
    return remarks


def _path(location: tuple[int | str, ...]) -> FieldPath:
    return tuple(part for part in location if part != "[key]")


def _whole(path: FieldPath) -> FieldPath:
    """Return what has to go with the field: an explainer is nothing without its kind."""
    return path[:2] if path[:2] == ("spec", "explainer") and path[2:] in {("alibi",), ("aix",)} else path


def _verdict(kind: str, content: JsonObject) -> list[Remark]:
    """Return why the object would be refused here, or what of it has no effect."""
    problems = validate(content)
    if problems:
        return [_refusal(problem) for problem in problems]
    typed = MODELS[kind].from_manifest(content)
    match typed:
        case InferenceService():
            return list(no_effect(typed))
        case ServingRuntime() | ClusterServingRuntime():
            return list(runtime_remarks(typed))
    return []


def _refusal(problem: Problem) -> Remark:
    meant = f"did you mean {problem.suggestion}?" if problem.suggestion else ""
    return Remark(Subject.REFUSED, problem.message, meant, address_of(problem.path))


def _as_in_source(remark: Remark, renames: Sequence[Rename]) -> tuple[FieldPath, Remark]:
    path = before_renames(path_of(remark.field), renames)
    return path, replace(remark, field=address_of(path))


def leading_comments(text: str) -> str:
    """Return the comments before the object of a document."""
    lines = text.splitlines(keepends=True)
    count = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    return "".join(lines[:count]).lstrip("\n")
