"""What a conversion has to say to the person who asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import JsonValue

    from pillion.resources.base import JsonObject
    from pillion.resources.conversion.edits import Edit

__all__ = ["Conversion", "Converted", "Remark", "Subject"]


class Subject(StrEnum):
    """What a remark is about."""

    CHANGED = "changed"
    """A line reads differently now and means the same."""
    REMOVED = "removed"
    """A line has no counterpart and was taken out."""
    NO_EFFECT = "no effect"
    """A line was kept, and nothing acts on it in this release."""
    HINT = "hint"
    """Something that the author may have to add or know."""
    KEPT = "kept"
    """An object was passed through as it is."""
    REFUSED = "refused"
    """An object cannot be converted."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One line for standard error.

    Attributes:
        subject: what it is about.
        text: what is so and why, a sentence without a closing full stop.
        remedy: what to do about it; empty where there is nothing to do.
        field: the field's address, as in the source.
        line: the line in the source, counted from one.
        source: the file's name.
    """

    subject: Subject
    text: str
    remedy: str = ""
    field: str = ""
    line: int = 0
    source: str = ""

    def __str__(self) -> str:
        place = ":".join(part for part in (self.source, str(self.line or "")) if part)
        said = f"{self.text}; {self.remedy}" if self.remedy else self.text
        return ": ".join(part for part in (place, str(self.subject), self.field, said) if part)

    def to_json(self) -> dict[str, JsonValue]:
        """Return it for programs."""
        return {
            "subject": self.subject.value,
            "source": self.source,
            "line": self.line,
            "field": self.field,
            "text": self.text,
            "remedy": self.remedy,
        }


@dataclass(frozen=True, slots=True)
class Converted:
    """What one document becomes: the edits that make it ours, and the remarks on them."""

    edits: Sequence[Edit] = ()
    remarks: Sequence[Remark] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a file becomes.

    Attributes:
        text: the converted documents as YAML, in their order.
        objects: the same as objects.
        remarks: in the order of the documents.
    """

    text: str
    objects: Sequence[JsonObject] = ()
    remarks: Sequence[Remark] = field(default=())

    @property
    def refused(self) -> list[Remark]:
        """Why the whole cannot be used; empty where it can."""
        return [remark for remark in self.remarks if remark.subject is Subject.REFUSED]
