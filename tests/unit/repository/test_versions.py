from __future__ import annotations

import pytest

from pillion.repository.versions import newest_first


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        (["1", "10", "9"], ["10", "9", "1"]),
        (["1.9", "1.10", "1.2"], ["1.10", "1.9", "1.2"]),
        (["v2", "v10", "v1"], ["v10", "v2", "v1"]),
        (["2026-01-09", "2026-01-10", "2025-12-31"], ["2026-01-10", "2026-01-09", "2025-12-31"]),
        (["a", "1", "b2", "b10"], ["1", "b10", "b2", "a"]),
        (["01", "1"], ["1", "01"]),
    ],
)
def test_numbers_in_version_names_count_as_numbers(versions: list[str], expected: list[str]) -> None:
    assert expected == newest_first(versions)
