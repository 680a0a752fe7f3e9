"""The troubleshooting page: a section for every reason that a condition can carry."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pillion.storage.errors import Reason as StorageReason
from pillion_operator.state.reasons import REMEDIES, Reason

PAGE = (Path(__file__).parents[3] / "docs" / "troubleshooting.md").read_text()
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]}
ASKING_NOTHING = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
REASONS = {reason.value for reason in (*Reason, *StorageReason)}


def test_every_reason_has_a_section_or_stands_among_those_that_ask_for_nothing() -> None:
    assert [] == sorted(REASONS - SECTIONS.keys() - ASKING_NOTHING)


def test_no_section_is_about_a_reason_that_there_is_not() -> None:
    assert [] == sorted((SECTIONS.keys() | ASKING_NOTHING) - REASONS)


def test_a_reason_with_a_remedy_has_a_section() -> None:
    wanted = {str(reason) for reason in REMEDIES} | {reason.value for reason in StorageReason}

    assert [] == sorted(wanted - SECTIONS.keys())
    assert [] == sorted(wanted & ASKING_NOTHING)


@pytest.mark.parametrize("reason", SECTIONS)
def test_a_section_says_what_it_means_how_to_see_it_and_what_to_do(reason: str) -> None:
    section = SECTIONS[reason]
    meaning = section.partition("- **See it:**")[0].partition("\n")[2].replace("- **Means:**", "").strip()

    assert len(meaning) > 20
    assert re.search(r"^- \*\*See it:\*\* \S", section, re.MULTILINE)
    assert re.search(r"^- \*\*Fix:\*\* \S", section, re.MULTILINE)
