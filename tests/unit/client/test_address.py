"""Where a server is said to be."""

from __future__ import annotations

import pytest

from pillion import Client


@pytest.mark.parametrize("url", ["http://[::1", "http://a..b", "grpc://[::1", "http://a:99999", f"http://{'a' * 64}"])
def test_a_url_that_leads_nowhere_is_named(url: str) -> None:
    with pytest.raises(ValueError, match=r"^url: ") as wrong:
        Client(url)
    assert type(wrong.value) is ValueError
    assert url in str(wrong.value)
