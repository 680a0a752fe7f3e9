"""Loads the manifests of a file as typed objects that know their lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pillion.resources.documents import Document, read_documents
from pillion.resources.validation import Problem, model_of, validate

if TYPE_CHECKING:
    from pillion.resources.base import JsonObject, ResourceModel


class ManifestError(ValueError):
    """The manifests are not usable; `problems` says why, each with its place and remedy."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object of a file.

    Attributes:
        resource: the typed object; None for kinds that are not Pillion's.
        document: what was written, and where.
        source: the file's name.
    """

    resource: ResourceModel | None
    document: Document
    source: str = ""

    @property
    def content(self) -> JsonObject:
        """The object as it was written."""
        return cast("JsonObject", self.document.content)

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.content.get("kind", ""))

    @property
    def name(self) -> str:
        """The object's name; empty where it has none."""
        metadata = self.content.get("metadata")
        return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""

    def line_of(self, *path: str | int) -> int:
        """Return the line of a field, or of the nearest one around it, counted from one."""
        return self.document.line_of(path)


def load_manifests(text: str, *, source: str = "") -> list[Manifest]:
    """Return the objects of a file, in its order, those of other groups untyped among them.

    Raises `ManifestError` with every problem where there is one.
    """
    problems = validate(text, source=source)
    if problems:
        raise ManifestError(problems)
    loaded: list[Manifest] = []
    for document in read_documents(text):
        model = model_of(document.content)
        typed = None if model is None else model.from_manifest(cast("JsonObject", document.content))
        loaded.append(Manifest(typed, document, source))
    return loaded
