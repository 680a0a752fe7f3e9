"""What a check is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.conformance.probe import Probe

__all__ = ["Check", "Level", "Outcome", "Report", "Result", "Skipped", "Violation"]


@unique
class Level(StrEnum):
    """How binding a sentence is.

    ``MUST``: the specification says so, or defines the answer. ``SHOULD``: it leaves it open, and clients, proxies or
    another specification (HTTP, gRPC health checking) rely on it. ``OPTIONAL``: nice to have, no client breaks.
    """

    MUST = "MUST"
    SHOULD = "SHOULD"
    OPTIONAL = "optional"


@unique
class Outcome(StrEnum):
    """How a check ended. ``NOT_RUN``: the time for all checks was over."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Check:
    """One sentence of a specification, and the function that tests it.

    Args:
        id: stable name, ``group.what``.
        level: how binding it is.
        sentence: what the specification asks, in our words.
        source: where it stands.
        run: raises :class:`Violation` or :class:`Skipped`; returns where the server keeps to the sentence.
        per_model: once for each model, or once for the server.
    """

    id: str
    level: Level
    sentence: str
    source: str
    run: Callable[[Probe], None]
    per_model: bool

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]


class Violation(Exception):  # noqa: N818 - what it is called in reports
    """The server does not keep to the sentence."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(f"expected {expected}; got {got}")
        self.expected = expected
        self.got = got


class Skipped(Exception):  # noqa: N818 - no error at all
    """The check says nothing about this server or model; the text says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one check. ``sent`` and ``came`` are the exchange that failed, shortened for reading."""

    check: Check
    outcome: Outcome
    model: str = ""
    reason: str = ""
    expected: str = ""
    got: str = ""
    sent: str = ""
    came: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """All results about one server."""

    url: str
    grpc: str
    server: str
    models: tuple[str, ...]
    results: tuple[Result, ...]
    seconds: float

    def count(self, outcome: Outcome, level: Level | None = None) -> int:
        """How many checks ended so."""
        return sum(r.outcome is outcome and level in (None, r.check.level) for r in self.results)

    def conforms(self, *, strict: bool) -> bool:
        """Whether no sentence was broken: of level MUST, or with ``strict`` of any level; and all were tested."""
        levels = set(Level) if strict else {Level.MUST}
        broken = any(r.outcome is Outcome.FAILED and r.check.level in levels for r in self.results)
        return not broken and not self.count(Outcome.NOT_RUN)
