"""The list of checks, in the order in which they are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillion.conformance.model import Check, Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from pillion.conformance.probe import Probe

__all__ = ["MUST", "OPTIONAL", "SHOULD", "Registry"]

MUST, SHOULD, OPTIONAL = Level.MUST, Level.SHOULD, Level.OPTIONAL


class Registry:
    """Checks of one module."""

    def __init__(self, document: str) -> None:
        self._document = document
        self.checks: list[Check] = []

    def check(
        self,
        name: str,
        level: Level,
        sentence: str,
        section: str,
        *,
        per_model: bool = True,
    ) -> Callable[[Callable[[Probe], None]], Callable[[Probe], None]]:
        """Add the decorated function as the check ``name``.

        ``section`` is of the module's document, or names another one by a colon.
        """

        def add(run: Callable[[Probe], None]) -> Callable[[Probe], None]:
            self.add(name, level, sentence, section, run, per_model=per_model)
            return run

        return add

    def add(
        self,
        name: str,
        level: Level,
        sentence: str,
        section: str,
        run: Callable[[Probe], None],
        *,
        per_model: bool = True,
    ) -> None:
        """Add one that was made by a function."""
        source = section if ":" in section else f"{self._document}: {section}"
        self.checks.append(Check(name, level, sentence, source, run, per_model))
