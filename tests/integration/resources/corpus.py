"""The manifests of `accepted/` and `rejected/`, and what the comments at their heads say of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Rejected:
    """A manifest that is refused.

    Attributes:
        path: its file.
        field: the field that the refusal names.
        says: words of the refusal; empty where only the place is of interest.
        server_side_only: whether kubectl's client-side apply mends the fault before it is sent.
    """

    path: Path
    field: str
    says: str
    server_side_only: bool

    @classmethod
    def read(cls, path: Path) -> Rejected:
        """Read the comments at the head of the file."""
        head = dict(re.findall(r"^# (field|says|only): ?(.*)$", path.read_text(), re.MULTILINE))
        return cls(path, head["field"], head.get("says", ""), head.get("only") == "--server-side")


ACCEPTED = sorted((FOLDER / "accepted").glob("*.yaml"))
REJECTED = [Rejected.read(path) for path in sorted((FOLDER / "rejected").glob("*.yaml"))]
