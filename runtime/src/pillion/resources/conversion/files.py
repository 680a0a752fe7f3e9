"""Whole files: their documents one after the other, converted, passed through or refused."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from pillion.resources.conversion.graphs import GRAPH_KIND
from pillion.resources.conversion.objects import ObjectConversion, convert_object, leading_comments
from pillion.resources.conversion.remarks import Conversion, Remark, Subject
from pillion.resources.conversion.runtimes import runtime_facts
from pillion.resources.documents import Document, DocumentError, read_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pillion.resources.base import JsonObject
    from pillion.resources.conversion.services import RuntimeFacts

__all__ = ["convert"]

_SERVICE: Final = "InferenceService"
#: At the start of a line it ends a document, whatever stands around it. Source: YAML 1.2, 9.1.2.
_MARKER: Final = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Part:
    """The text of a file from one document marker to the next."""

    source: str
    marker: str
    body: str
    lines_before: int
    document: Document | None = None
    problem: Remark | None = None

    @property
    def objects(self) -> list[JsonObject]:
        """The objects of the document: several where it is a list."""
        content = None if self.document is None else self.document.content
        if not isinstance(content, dict):
            return []
        items = content.get("items")
        if str(content.get("kind")).endswith("List") and isinstance(items, list):
            return [item for item in items if isinstance(item, dict)]
        return [content]

    @property
    def is_list(self) -> bool:
        """Whether the document holds its objects in `items`."""
        return self.document is not None and self.objects != [self.document.content]


@dataclass(slots=True)
class _Result:
    text: str = ""
    objects: list[JsonObject] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


def convert(files: Sequence[tuple[str, str]]) -> Conversion:
    """Return what the files, given as pairs of name and text, become as objects of Pillion.

    Comments and order are kept where they can be. Runtimes count for the services of all files. Nothing is raised:
    what cannot be used is among the remarks as refused, and then the text is not for use.
    """
    parts = [part for name, text in files for part in _parts(name, text)]
    runtimes = runtime_facts(content for part in parts for content in part.objects)
    result = _Result()
    for number, part in enumerate(parts):
        first_of_file = number > 0 and part.lines_before == 0
        # Two files are two documents.
        if first_of_file and not part.marker and result.text.strip():
            result.text = f"{result.text.rstrip()}\n---\n"
        _add(result, part, runtimes)
    result.remarks += _twice(parts)
    return Conversion(result.text, tuple(result.objects), tuple(result.remarks))


def _twice(parts: Sequence[_Part]) -> Iterator[Remark]:
    """Graphs that would take the place of a service, for both become InferenceServices."""
    services = {_identity(content) for part in parts for content in part.objects if content.get("kind") == _SERVICE}
    for part in parts:
        for content in part.objects:
            if content.get("kind") == GRAPH_KIND and _identity(content) in services:
                text = f"an InferenceService has the name of the {GRAPH_KIND}, which becomes one, too"
                line = part.lines_before + (part.document.line if part.document is not None else 1)
                yield Remark(Subject.REFUSED, text, "rename one of them", "metadata.name", line, part.source)


def _identity(content: JsonObject) -> tuple[str, str]:
    metadata = content.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    return str(given.get("namespace") or ""), str(given.get("name") or "")


def _add(result: _Result, part: _Part, runtimes: RuntimeFacts) -> None:
    if part.problem is not None:
        result.remarks.append(part.problem)
        return
    if part.document is None:
        result.text += part.marker + part.body
        return
    single = not part.is_list
    done = [
        (prefix, convert_object(content, runtimes, part.body if single else None)) for prefix, content in _places(part)
    ]
    for prefix, conversion in done:
        result.objects.append(conversion.content)
        result.remarks += _placed(conversion, part, prefix)
    if single:
        result.text += part.marker + done[0][1].text
    else:
        opening = f"{part.marker}\n" if part.marker else ""
        result.text += opening + leading_comments(part.body) + "---\n".join(conversion.text for _, conversion in done)


def _places(part: _Part) -> Iterator[tuple[tuple[str | int, ...], JsonObject]]:
    for index, content in enumerate(part.objects):
        yield (("items", index) if part.is_list else ()), content


def _placed(conversion: ObjectConversion, part: _Part, prefix: tuple[str | int, ...]) -> Iterable[Remark]:
    document = part.document or Document(None, 1)
    placed = (
        replace(remark, line=part.lines_before + document.line_of((*prefix, *path)), source=part.source)
        for path, remark in conversion.remarks
    )
    return sorted(placed, key=lambda remark: remark.line)


def _parts(source: str, text: str) -> Iterator[_Part]:
    starts = [match.start() for match in _MARKER.finditer(text)]
    edges = [0, *(start for start in starts if start > 0), len(text)]
    for start, end in itertools.pairwise(edges):
        marker = "---" if start in starts else ""
        yield _read(_Part(source, marker, text[start + len(marker) : end], text.count("\n", 0, start)))


def _read(part: _Part) -> _Part:
    written = [line for line in part.body.splitlines() if line.strip() and not line.lstrip().startswith(("#", "%"))]
    if not written:
        return part
    try:
        documents = list(read_documents(part.body))
    except DocumentError as error:
        line = part.lines_before + error.line
        return replace(part, problem=Remark(Subject.REFUSED, error.message, line=line, source=part.source))
    if len(documents) > 1 or (documents and not isinstance(documents[0].content, dict)):
        text = "is no object; a manifest has apiVersion, kind, metadata and spec"
        line = part.lines_before + documents[-1].line
        return replace(part, problem=Remark(Subject.REFUSED, text, line=line, source=part.source))
    return replace(part, document=documents[0] if documents else None)
