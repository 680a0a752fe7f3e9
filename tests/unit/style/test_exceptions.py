"""Every exception to the linter and the type checker says why, on its line."""

from __future__ import annotations

import pytest

from scripts.exceptions import unexplained


@pytest.mark.parametrize(
    "line",
    [
        "import a  # noqa: PLC0415 - start-up does not pay for it",
        "import a  # noqa: PLC0415, ICN001  # start-up does not pay for it",
        "import a  # noqa: PLC0415  (start-up does not pay for it)",
        "a = b  # type: ignore[assignment]  # fractions are fine",
        "a = b  # type: ignore[assignment]  # fractions are fine  # noqa: ERA001 - no code",
        "# ruff: noqa: ASYNC240  (a test may block its loop)",
        'a = "# noqa: in a text is no exception"',
    ],
)
def test_an_exception_with_a_rule_and_a_reason_passes(line: str) -> None:
    assert [] == unexplained(f"{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "import a  # noqa",
        "import a  # noqa - why",
        "import a  # noqa: PLC0415",
        "import a  # noqa: PLC0415 -",
        "a = b  # type: ignore",
        "a = b  # type: ignore[assignment]",
        "a = b  # type: ignore[assignment]  # noqa: ERA001 - only one of the two has a reason",
        "# ruff: noqa: ASYNC240",
    ],
)
def test_an_exception_without_a_rule_or_a_reason_is_named_by_its_line(line: str) -> None:
    assert [2] == unexplained(f"\n{line}\n")
